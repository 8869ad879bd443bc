/** The contract's word on root keys as it comes from a real chain through the real webhook, and as a policy file leaves it open. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createAuthClient } from "../../auth-eth/api.ts";
import { createApp } from "../../auth-eth/app.ts";
import { createFileAuthority } from "../../auth-eth/file-authority.ts";
import { createMetrics } from "../../auth-eth/metrics.ts";
import { createRequestLog } from "../../auth-eth/request-log.ts";
import { listen } from "../../auth-eth/server.ts";
import { createWebhookPolicy } from "../../kms/authorization/policy.ts";
import { toHex } from "../../kms/bytes.ts";
import { caSpki, generateRootKeys, k256Pubkey } from "../../kms/keys/root-keys.ts";
import { needNothingRegistered, needTheRegistered } from "../../kms/replication/registered-keys.ts";
import { startChain, type TestChain } from "../auth-eth/support/chain.ts";
import { startWebhook } from "../auth-eth/support/webhook.ts";
import { refusal } from "./support/refusals.ts";
import { random, sourceKeys } from "./support/source-kms.ts";

const others = generateRootKeys(random);
let chain: TestChain;
let webhook: Awaited<ReturnType<typeof startWebhook>>;

beforeAll(async () => {
  chain = await startChain();
  webhook = await startWebhook({ ETH_RPC_URL: chain.rpcUrl, KMS_CONTRACT_ADDR: chain.kmsAuth.address });
}, 60_000);
afterAll(async () => {
  await webhook.close();
  await chain.close();
});

function behind(url: string) {
  const client = createAuthClient({ url, deadlineMs: 10_000 });
  const warnings: string[] = [];
  return { authority: createWebhookPolicy(client), warn: (message: string) => void warnings.push(message), warnings, client };
}

test("before, after and behind a registration on the chain", async () => {
  const node = behind(webhook.url);
  await needNothingRegistered(node);
  expect((await refusal(needTheRegistered(node, sourceKeys))).code).toBe("denied.no-keys-registered");

  const registration = { k256Pubkey: `0x${toHex(k256Pubkey(sourceKeys))}`, caPubkey: `0x${toHex(caSpki(sourceKeys))}` } as const;
  await chain.kmsAuth.write.setKmsInfo([{ ...registration, quote: "0x", eventlog: "0x" }]);
  await needTheRegistered(node, sourceKeys);
  expect((await refusal(needTheRegistered(node, others))).code).toBe("unproven.root-keys");
  expect((await refusal(needNothingRegistered(node))).code).toBe("denied.keys-registered");

  await chain.kmsAuth.write.setKmsInfo([
    { ...registration, caPubkey: `0x${toHex(caSpki(others))}`, quote: "0x", eventlog: "0x" },
  ]);
  expect((await refusal(needTheRegistered(node, sourceKeys))).code).toBe("unproven.root-keys");
  expect(node.warnings).toEqual([]);
  node.client.close();
});

test("a policy file has no place for keys: without a contract in it nothing is compared, and that is said", async () => {
  const dir = await mkdtemp(join(tmpdir(), "kms-registered-"));
  const path = join(dir, "policy.json");
  await writeFile(path, "{}");
  const log = createRequestLog({ info: () => undefined, warn: () => undefined });
  const authority = createFileAuthority({ path, log: { warn: () => undefined } });
  const app = createApp({ authority, log, metrics: createMetrics(), kmsContractAddr: "", maxConcurrent: 4 });
  const listener = await listen(app, "127.0.0.1", 0);
  const node = behind(listener.url);
  await needNothingRegistered(node);
  await needTheRegistered(node, sourceKeys);
  expect(node.warnings).toHaveLength(2);
  node.client.close();
  await listener.close();
  await rm(dir, { recursive: true });
});
