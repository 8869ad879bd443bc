import { randomBytes, X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createAuthority } from "../../kms/authorization/authority.ts";
import type { Decision, PolicyInfo } from "../../kms/authorization/policy.ts";
import { utf8 } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import { caSpki, k256Pubkey } from "../../kms/keys/root-keys.ts";
import { loadKeySet, readBootstrapInfo } from "../../kms/keys/store.ts";
import { createOwnEvidence, type OwnEvidence } from "../../kms/own-evidence.ts";
import { readCertificate } from "../../kms/ra-tls/extensions.ts";
import { type BootstrapSettings, createBootstrap } from "../../kms/replication/bootstrap.ts";
import { parseBootstrapInfo } from "../../kms/replication/bootstrap-info.ts";
import { oneAtATime } from "../../kms/replication/one-at-a-time.ts";
import { reissueCertificates } from "../../kms/replication/reissue.ts";
import { simulatedTd } from "../support/simulated-td.ts";
import { appraised } from "./support/boots.ts";
import { refusal } from "./support/refusals.ts";

const day = 86_400_000;
const td = simulatedTd();
const unused = { verify: () => Promise.reject(new Error("not reached")) };
const info = async () => ({ vmConfig: td.vmConfig });
const ownEvidence = createOwnEvidence({ attest: async (data) => td.attest(data), info }, unused);
const description = {
  isDev: false,
  gatewayAppId: "",
  kmsContractAddress: `0x${"aa".repeat(20)}`,
  chainId: 1n,
  appImplementation: "",
  ethRpcUrl: undefined,
};
const broken: OwnEvidence = createOwnEvidence(
  { attest: () => Promise.reject(new KmsError("unavailable.guest-agent", "no socket")), info },
  unused,
);

let dir: string;
let certDir: string;
let decision: Decision;
let clock: number;
let registered: PolicyInfo["registeredKeys"];
let warnings: string[];
const now = () => new Date(clock);
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "kms-bootstrap-"));
  certDir = join(dir, "certs");
  decision = { allowed: true, gatewayAppId: "" };
  clock = Date.now();
  registered = null;
  warnings = [];
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function bootstrap(changes: Partial<BootstrapSettings> = {}) {
  const policy = { ask: async () => decision, info: async () => ({ ...description, registeredKeys: registered }) };
  const authority = createAuthority({ policy, measure: undefined, selfBoot: async () => appraised(), clock: () => 0 });
  const random = (length: number) => new Uint8Array(randomBytes(length));
  const warn = (message: string) => warnings.push(message);
  const settings = { certDir, attestRpcCert: true, enforceSelfAuthorization: true, authority, ownEvidence, random, now };
  return createBootstrap({ ...settings, alone: oneAtATime(), warn, ...changes });
}

function files(): string[] {
  return existsSync(certDir) ? readdirSync(certDir).sort() : [];
}

describe("bootstrap", () => {
  test("stores a KMS whose files agree with the answer", async () => {
    const answer = await bootstrap().manual("kms.example.com");
    const stored = await loadKeySet(certDir);
    expect(answer.ca_pubkey).toEqual(caSpki(stored.rootKeys));
    expect(answer.k256_pubkey).toEqual(k256Pubkey(stored.rootKeys));
    expect(stored.domain).toBe("kms.example.com");
    expect(parseBootstrapInfo(await readBootstrapInfo(certDir))).toEqual(answer);
    expect(readFileSync(join(certDir, "bootstrap-info.json"), "utf8")).toMatch(
      /^\{"ca_pubkey":"[0-9a-f]{182}","k256_pubkey":"[0-9a-f]{66}","attestation":"[0-9a-f]+"\}$/,
    );
    const leaf = readCertificate(new Uint8Array(new X509Certificate(stored.rpcCertPem).raw));
    expect(leaf).toMatchObject({ usage: "kms:rpc", spki: stored.rpcSpki });
    expect(leaf.evidence?.platform.kind).toBe("tdx");
  });

  test("of two at once one is made and the other refused", async () => {
    const maker = bootstrap();
    const results = await Promise.allSettled([maker.manual("a"), maker.manual("b"), maker.auto("c")]);
    expect(results.map((result) => result.status).sort()).toEqual(["fulfilled", "rejected", "rejected"]);
    expect((await loadKeySet(certDir)).domain).toBe("a");
  });

  test.each([
    ["root-ca.key", "denied.already-bootstrapped"],
    ["root-k256.key", "denied.already-bootstrapped"],
    ["rpc.crt", "fault.key-store"],
  ])("never begins over a folder that holds %s", async (name, code) => {
    mkdirSync(certDir);
    writeFileSync(join(certDir, name), "kept");
    for (const work of [bootstrap().manual("a"), bootstrap().auto("a")]) {
      expect((await refusal(work)).code).toBe(code);
    }
    expect(files()).toEqual([name]);
    expect(readFileSync(join(certDir, name), "utf8")).toBe("kept");
  });

  test("nor over a bootstrap-info.json without keys", async () => {
    mkdirSync(certDir);
    writeFileSync(join(certDir, "bootstrap-info.json"), "");
    expect(await refusal(bootstrap().manual("a"))).toEqual({
      code: "denied.already-bootstrapped",
      message: "KMS has already been bootstrapped",
    });
  });

  test.each([
    ["a denial", { allowed: false, reason: "no", unavailable: false } as const, ownEvidence, "denied.self", "boot denied: no"],
    [
      "a policy that cannot be read",
      { allowed: false, reason: "down", unavailable: true } as const,
      ownEvidence,
      "unavailable.webhook",
      "down",
    ],
    [
      "a missing guest agent",
      { allowed: true, gatewayAppId: "" } as const,
      broken,
      "unavailable.guest-agent",
      "Failed to generate keys: ",
    ],
  ])("leaves nothing behind after %s", async (_, verdict, evidence, code, text) => {
    decision = verdict;
    const refused = await refusal(bootstrap({ ownEvidence: evidence }).manual("a"));
    expect(refused.code).toBe(code);
    expect(refused.message).toContain(text);
    expect(files()).toEqual([]);
  });

  test("needs evidence for the root keys even where the server certificate carries none", async () => {
    const refused = await refusal(bootstrap({ ownEvidence: broken, attestRpcCert: false }).manual("a"));
    expect(refused.code).toBe("unavailable.guest-agent");
    expect(files()).toEqual([]);
  });

  test("refuses evidence that the guest agent made over something else", async () => {
    const wrong = createOwnEvidence({ attest: async () => td.attest(new Uint8Array(64)), info }, unused);
    expect((await refusal(bootstrap({ ownEvidence: wrong }).manual("a"))).code).toBe("unproven.report-data");
    const garbage = createOwnEvidence({ attest: async () => utf8("x"), info }, unused);
    expect((await refusal(bootstrap({ ownEvidence: garbage }).manual("a"))).code).toBe("malformed.envelope");
    expect(files()).toEqual([]);
  });

  test("by itself keeps bootstrap-info.json, except where no guest agent is wanted", async () => {
    await bootstrap().auto("a");
    expect(files()).toContain("bootstrap-info.json");
    rmSync(certDir, { recursive: true });
    await bootstrap({ ownEvidence: broken, attestRpcCert: false, enforceSelfAuthorization: false }).auto("a");
    expect(files()).not.toContain("bootstrap-info.json");
    expect(files()).toHaveLength(8);
  });
});

describe("bootstrap, where the contract", () => {
  test.each([
    ["manual", "bootstrap"],
    ["auto", "auto-bootstrap"],
  ] as const)("has keys, makes no others by %s", async (way, act) => {
    registered = { k256Pubkey: "02aa", caPubkey: "3059" };
    expect(await refusal(Promise.resolve(bootstrap()[way]("a")))).toEqual({
      code: "denied.keys-registered",
      message:
        `KMS is not allowed to ${act}: KmsAuth has the root keys of a KMS, k256Pubkey 02aa, caPubkey 3059: ` +
        "onboard from a KMS that has them, or restore them from a backup",
    });
    expect(files()).toEqual([]);
  });

  test("cannot be described, is refused, also without self authorization", async () => {
    const info = () => Promise.reject(new KmsError("unavailable.webhook", "down"));
    const authority = createAuthority({
      policy: { ask: async () => decision, info },
      measure: undefined,
      selfBoot: undefined,
      clock: () => 0,
    });
    const refused = await refusal(bootstrap({ authority, enforceSelfAuthorization: false }).manual("a"));
    expect(refused).toEqual({ code: "unavailable.webhook", message: "KMS is not allowed to bootstrap: down" });
    expect(files()).toEqual([]);
  });

  test("has none, goes on without a word; behind a webhook that does not say, with a warning", async () => {
    await bootstrap().manual("a");
    expect(warnings).toEqual([]);
    rmSync(certDir, { recursive: true });
    registered = undefined;
    await bootstrap().auto("a");
    expect(warnings).toEqual(["the webhook does not report the registered root keys: they are not compared"]);
  });
});

describe("reissue", () => {
  const reissue = async (evidence = ownEvidence, attestRpcCert = true) =>
    reissueCertificates({ certDir, attestRpcCert, ownEvidence: evidence, now }, await loadKeySet(certDir));

  test("makes the server certificate anew at every start and leaves the CAs alone", async () => {
    await bootstrap().manual("kms.example.com");
    const before = await loadKeySet(certDir);
    const after = await reissue();
    expect(after.rpcCertPem).not.toBe(before.rpcCertPem);
    expect([after.rootCaCertPem, after.tempCaCertPem]).toEqual([before.rootCaCertPem, before.tempCaCertPem]);
    const stored = await loadKeySet(certDir);
    expect(stored.rpcCertPem).toBe(after.rpcCertPem);
    expect(new X509Certificate(after.rpcCertPem).verify(new X509Certificate(after.rootCaCertPem).publicKey)).toBe(true);
  });

  test("renews CA certificates within a year of their end, with the same keys", async () => {
    await bootstrap().manual("kms.example.com");
    const before = await loadKeySet(certDir);
    clock += (3650 - 364) * day;
    const after = await reissue();
    for (const name of ["rootCaCertPem", "tempCaCertPem"] as const) {
      const [old, fresh] = [new X509Certificate(before[name]), new X509Certificate(after[name])];
      expect(fresh.validToDate.getTime()).toBeGreaterThan(old.validToDate.getTime());
      expect(fresh.publicKey.equals(old.publicKey)).toBe(true);
      expect([fresh.subject, fresh.serialNumber]).toEqual([old.subject, old.serialNumber]);
    }
    expect((await loadKeySet(certDir)).rootCaCertPem).toBe(after.rootCaCertPem);
  });

  test("writes nothing when evidence cannot be made", async () => {
    await bootstrap().manual("kms.example.com");
    const before = await loadKeySet(certDir);
    expect((await refusal(reissue(broken))).code).toBe("unavailable.guest-agent");
    expect((await loadKeySet(certDir)).rpcCertPem).toBe(before.rpcCertPem);
    const plain = await reissue(broken, false);
    expect(readCertificate(new Uint8Array(new X509Certificate(plain.rpcCertPem).raw)).evidence).toBeUndefined();
  });
});
