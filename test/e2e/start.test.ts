/** `./run start` from end to end: its document, the keys and certificates behind it, and what the running stack answers. */
import { execFileSync, spawnSync } from "node:child_process";
import { createPrivateKey } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createPublicClient, getAddress, hexToBytes, http, parseAbi } from "viem";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { bootstrapReportData } from "../../kms/attestation/report-data.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { fromHex, toHex } from "../../kms/bytes.ts";
import { deriveDhSecret, deriveK256, k256Point, purposes, signaturePrefixes } from "../../kms/keys/kdf.ts";
import { recoverSigner65, sign65 } from "../../kms/keys/signature.ts";
import { alive, StartedStack } from "./started-stack.ts";

const runTimeoutMs = 180_000;
const address = z.string().regex(/^0x[0-9a-fA-F]{40}$/);
const hex = (bytes: number) => z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`));
const documentSchema = z.strictObject({
  ok: z.literal(true),
  notice: z.string().includes("simulation"),
  chainId: z.literal(31337),
  rpcUrl: z.url(),
  kmsAuth: address,
  appImplementation: address,
  authUrl: z.url(),
  kmsUrl: z.url({ protocol: /^https$/ }),
  caCertFile: z.string(),
  certDir: z.string(),
  bootstrapInfoFile: z.string(),
  kms: z.strictObject({ mrAggregated: hex(32), deviceId: hex(32), osImageHash: hex(32), k256Pubkey: hex(33) }),
  app: z.strictObject({
    appId: hex(20),
    instanceId: hex(20),
    composeHash: hex(32),
    keys: z.strictObject({ disk_crypt_key: hex(32), env_crypt_key: hex(32), k256_key: hex(32), k256_signature: hex(65) }),
  }),
  refusals: z.array(z.strictObject({ step: z.int(), code: z.string(), reason: z.string() })),
  timingsMs: z.record(z.string(), z.number()),
});
const abi = parseAbi([
  "function hardening() view returns (uint256)",
  "function kmsInfo() view returns (bytes k256Pubkey, bytes caPubkey, bytes quote, bytes eventlog)",
]);
type Document = z.output<typeof documentSchema>;

let stateDir: string;

beforeAll(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "e2e-state-"));
});
afterAll(() => rm(stateDir, { recursive: true, force: true }));

describe("start --once --json", () => {
  let run: StartedStack;
  let document: Document;
  let words: string;

  beforeAll(async () => {
    run = await StartedStack.start("--once", "--json", "--state-dir", stateDir);
    const { status, stdout, stderr } = await run.ended();
    expect(status, stderr).toBe(0);
    words = stderr;
    document = documentSchema.parse(JSON.parse(stdout));
  }, runTimeoutMs);
  afterAll(() => run.dispose());

  test("tells twelve steps with a tick and a duration, in words on stderr", () => {
    const lines = words.split("\n").filter((line) => line !== "");
    expect(lines).toHaveLength(12);
    for (const [index, line] of lines.entries()) expect(line).toMatch(new RegExp(`^✔ +${index + 1} .* \\d+\\.\\d\\d s$`));
    expect(Object.keys(document.timingsMs)).toHaveLength(12);
  });

  test("records the three refusals with their reasons", () => {
    expect(document.refusals).toEqual([
      { step: 6, code: "denied.self", reason: "KMS is not allowed to bootstrap: boot denied: OS image is not allowed" },
      { step: 11, code: "denied.policy", reason: "App not allowed: Boot denied: Compose hash not allowed" },
      { step: 12, code: "denied.policy", reason: "App not allowed: Boot denied: Compose hash not allowed" },
    ]);
  });

  test("released the keys that the derivation gives from the root keys in the certificate folder", () => {
    const rootKey = createPrivateKey(readFileSync(join(document.certDir, "root-ca.key"))).export({ format: "jwk" });
    const caScalar = new Uint8Array(Buffer.from(rootKey.d ?? "", "base64url"));
    const k256Root = new Uint8Array(readFileSync(join(document.certDir, "root-k256.key")));
    const appId = fromHex(document.app.appId, "app id");
    const instanceId = fromHex(document.app.instanceId, "instance id");
    const k256Key = deriveK256(k256Root, [appId, purposes.k256]);
    expect(document.app.keys).toEqual({
      disk_crypt_key: toHex(deriveDhSecret(caScalar, [appId, instanceId, purposes.disk])),
      env_crypt_key: toHex(deriveDhSecret(caScalar, [appId, purposes.env])),
      k256_key: toHex(k256Key),
      k256_signature: toHex(sign65(k256Root, signaturePrefixes.appKey, appId, k256Point(k256Key))),
    });
    const signature = fromHex(document.app.keys.k256_signature, "signature");
    const signer = recoverSigner65(signature, signaturePrefixes.appKey, appId, k256Point(k256Key));
    expect(toHex(signer)).toBe(document.kms.k256Pubkey);
  });

  test("left certificates that openssl accepts and names as the reference does", () => {
    const leaf = join(document.certDir, "rpc.crt");
    expect(execFileSync("openssl", ["verify", "-CAfile", document.caCertFile, leaf], { encoding: "utf8" })).toContain(": OK");
    const subject = execFileSync("openssl", ["x509", "-in", document.caCertFile, "-noout", "-subject"], { encoding: "utf8" });
    expect(subject.trim()).toBe("subject=O = Dstack, CN = Dstack KMS CA");
    const parsed = execFileSync("openssl", ["asn1parse", "-in", leaf], { encoding: "utf8" });
    expect(parsed).toMatch(/UTF8STRING +:Dstack KMS CA/);
  });

  test("kept the state and left no socket, temporary file or process", async () => {
    const kept = readdirSync(stateDir);
    expect(kept).toEqual(expect.arrayContaining(["bootstrap-info.json", "certs", "kms.toml", "logs"]));
    expect(readdirSync(document.certDir)).toHaveLength(10); // eight, rpc-domain and the lock
    expect(await run.leftovers()).toEqual([]);
  });
});

describe("a second start with the same state folder, without --once", () => {
  let run: StartedStack;
  let document: Document;

  beforeAll(async () => {
    run = await StartedStack.start("--json", "--state-dir", stateDir);
    await run.saying("Ctrl-C");
    document = documentSchema.parse(run.document());
  }, runTimeoutMs);
  afterAll(() => run.dispose());

  test("answers GetMeta to curl -k with every field", () => {
    const { stdout } = spawnSync("curl", ["-sk", `${document.kmsUrl}/prpc/KMS.GetMeta?json`], { encoding: "utf8" });
    const bootstrapInfo = z.strictObject({ ca_pubkey: hex(91), k256_pubkey: hex(33), attestation: z.string().min(1000) });
    z.strictObject({
      ca_cert: z.literal(readFileSync(document.caCertFile, "utf8")),
      allow_any_upgrade: z.literal(false),
      k256_pubkey: z.literal(document.kms.k256Pubkey),
      bootstrap_info: bootstrapInfo,
      is_dev: z.literal(false),
      gateway_app_id: z.string(),
      kms_contract_address: z.literal(document.kmsAuth),
      chain_id: z.literal(31337),
      app_auth_implementation: z.literal(document.appImplementation),
    }).parse(JSON.parse(stdout));
  });

  test("answers health and the webhook's own information", async () => {
    const health = spawnSync("curl", ["-s", "--cacert", document.caCertFile, `${document.kmsUrl}/health`], { encoding: "utf8" });
    expect(health.stdout).toBe("OK");
    const info = z.object({ kmsContractAddr: z.string() }).parse(await (await fetch(document.authUrl)).json());
    expect(info.kmsContractAddr).toBe(document.kmsAuth);
  });

  test("has a strict trust domain on its chain, with root keys that their quote binds, and a strict app", async () => {
    const client = createPublicClient({ transport: http(document.rpcUrl), cacheTime: 0 });
    const switches = async (contract: string) =>
      client.readContract({ address: getAddress(contract), abi, functionName: "hardening" });
    expect(await switches(document.kmsAuth)).toBe(127n);
    expect(await switches(`0x${document.app.appId}`)).toBe(3n);
    const [k256, ca, quote] = await client.readContract({ address: getAddress(document.kmsAuth), abi, functionName: "kmsInfo" });
    expect(k256).toBe(`0x${document.kms.k256Pubkey}`);
    const { body } = parseQuote(hexToBytes(quote));
    expect(toHex(body.reportData)).toBe(toHex(bootstrapReportData(hexToBytes(ca), hexToBytes(k256))));
  });

  test("refuses a third start on the folder in use", async () => {
    const third = await StartedStack.start("--once", "--json", "--state-dir", stateDir);
    const { status, stdout } = await third.ended();
    await third.dispose();
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, step: 0, code: "fault.start" });
  });

  test("ends with exit 0 on Ctrl-C and leaves nothing running", async () => {
    const components = await run.components();
    expect(components.map(({ command }) => command.replace(/.*\/(\S+\.ts).*/, "$1"))).toHaveLength(6);
    run.signal("SIGINT");
    const { status } = await run.ended();
    expect(status).toBe(0);
    expect(await alive(components)).toEqual([]);
    expect(await run.leftovers()).toEqual([]);
  });
});
