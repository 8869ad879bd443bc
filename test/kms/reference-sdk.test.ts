/** The published JavaScript SDK of the reference takes our answers, and what it encrypts opens with our key. */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeEvidence } from "../../kms/attestation/evidence.ts";
import { fromHex, fromUtf8, toHex } from "../../kms/bytes.ts";
import { createRaTlsClient, fetchTempCa } from "../../kms/ra-tls/client.ts";
import { createGuestAgent } from "../../kms/ra-tls/guest-agent.ts";
import { makeRaTlsIdentity } from "../../kms/ra-tls/identity.ts";
import { readAppKeys } from "../../scripts/lib/app-keys.ts";
import { openEnv } from "../../scripts/lib/env-cipher.ts";
import { type ServedKms, serveKms } from "../scripts/support/served-kms.ts";
import { ask } from "../support/http-client.ts";
import { askReferenceSdk, installReferenceSdk } from "../support/reference-sdk.ts";

let kms: ServedKms;
let appId: string;
/** As the deploy tools ask: one HTTP request, the server certificate unchecked. */
let envKey: { publicKey: string; signature: string; signatureV1: string; timestamp: number };

beforeAll(async () => {
  installReferenceSdk();
  kms = await serveKms();
  appId = toHex(kms.app.appId);
  const answer = await ask(kms.url, "/prpc/GetAppEnvEncryptPubKey?json", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ app_id: appId }),
    tls: { rejectUnauthorized: false },
  });
  const { public_key, signature, signature_v1, timestamp } = JSON.parse(answer.text);
  envKey = { publicKey: public_key, signature, signatureV1: signature_v1, timestamp };
}, 120_000);
afterAll(() => kms.close());

describe("verifyEnvEncryptPublicKey", () => {
  test("recovers our root key from both signatures, with and without 0x before the app id", async () => {
    const { publicKey, signature, signatureV1, timestamp } = envKey;
    const timed = { publicKey, signature: signatureV1, timestamp };
    expect(await askReferenceSdk("verify", { ...timed, appId })).toBe(`0x${kms.k256Root}`);
    expect(await askReferenceSdk("verify", { ...timed, appId: `0x${appId}` })).toBe(`0x${kms.k256Root}`);
    expect(await askReferenceSdk("verifyLegacy", { publicKey, signature, appId })).toBe(`0x${kms.k256Root}`);
  });

  test("recovers another key for another app, and nothing from an old answer", async () => {
    const { publicKey, signatureV1: signature, timestamp } = envKey;
    const other = await askReferenceSdk("verify", { publicKey, signature, timestamp, appId: "11".repeat(20) });
    expect(other).not.toBe(`0x${kms.k256Root}`);
    expect(await askReferenceSdk("verify", { publicKey, signature, timestamp: timestamp - 301, appId })).toBeNull();
  });
});

test("encryptEnvVars writes what the app's env_crypt_key opens", async () => {
  const items = [
    { key: "FOO", value: "bar" },
    { key: "EMPTY", value: "" },
    { key: "TEXT", value: 'ünïcödé "quoted"\nline' },
  ];
  const sealed = fromHex(String(await askReferenceSdk("encrypt", { items, publicKey: envKey.publicKey })), "sealed");
  const agent = createGuestAgent(kms.agent);
  const tempCa = await fetchTempCa(kms.url);
  const identity = await makeRaTlsIdentity(agent, tempCa, new Date());
  const client = createRaTlsClient({ baseUrl: kms.url, rootCaPem: tempCa.caCertPem, identity });
  const keys = readAppKeys(await client.call("GetAppKey", { api_version: 1, vm_config: "" }));
  const plaintext = openEnv(sealed, fromHex(keys.env_crypt_key, "env_crypt_key", 32));
  expect(JSON.parse(fromUtf8(plaintext, "environment", "fault.internal"))).toEqual({ env: items });
});

describe("its client of the guest agent", () => {
  test("reads what our simulated agent answers, as the KMS does", async () => {
    const endpoint = kms.agent.replace("unix:", "");
    const reportData = "ab".repeat(64);
    expect(await askReferenceSdk("isReachable", { endpoint })).toBe(true);
    expect(await askReferenceSdk("info", { endpoint })).toMatchObject({
      app_id: appId,
      tcb_info: { compose_hash: expect.any(String) },
    });
    const { attestation } = (await askReferenceSdk("attest", { endpoint, reportData })) as { attestation: string };
    expect(toHex(decodeEvidence(fromHex(attestation, "attestation")).stack.reportData)).toBe(reportData);
    expect(await askReferenceSdk("getQuote", { endpoint, reportData })).toMatchObject({ report_data: reportData });
  });

  test("hashes an app-compose as the app id is cut from it", async () => {
    const compose = { name: "client" };
    const digest = createHash("sha256").update(JSON.stringify(compose)).digest("hex");
    expect(await askReferenceSdk("composeHash", { compose })).toBe(digest);
    expect(toHex(kms.app.composeHash)).toBe(digest);
  });
});
