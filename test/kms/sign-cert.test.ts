/** SignCert on simulated evidence: its checks in order, the boot it asks the policy about, and the chain byte by byte. */
import "reflect-metadata";
import { createHash, X509Certificate } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { appraiseBoot } from "../../kms/attestation/appraise.ts";
import type { BootInfo } from "../../kms/attestation/boot-info.ts";
import { decodeEvidence, encodeEvidence, stripEvidence } from "../../kms/attestation/evidence.ts";
import { bindEvidence, reportData } from "../../kms/attestation/report-data.ts";
import { parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { type VerifiedEvidence, verifyEvidenceWith } from "../../kms/attestation/verifier.ts";
import type { Authority } from "../../kms/authorization/authority.ts";
import type { AuthorizedBoot } from "../../kms/authorization/authorized-boot.ts";
import { fromHex, toHex, utf8 } from "../../kms/bytes.ts";
import { makeRootCa } from "../../kms/ca/kms-certificates.ts";
import { KmsError } from "../../kms/errors.ts";
import { deriveP256, p256Spki } from "../../kms/keys/kdf.ts";
import { RootKeys } from "../../kms/keys/root-keys.ts";
import { signCert } from "../../kms/methods/sign-cert.ts";
import { decodeAppInfo } from "../../kms/ra-tls/app-info.ts";
import { oidOf, readCertificate } from "../../kms/ra-tls/extensions.ts";
import { collateralJson } from "../../scripts/devnet/platform.ts";
import { csrVersion1, csrVersion2, freshTestKey, signDer, type WantedCertificate, wanted } from "../support/csr.ts";
import { openssl } from "../support/programs.ts";
import { scratchFolder } from "../support/scratch.ts";
import { simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";
import { bootInfo } from "./support/boots.ts";
import { refusal } from "./support/refusals.ts";

const now = () => new Date("2026-11-21T10:20:30.456Z");
const platform = simulatedPlatform();
const collateral = parseCollateral(collateralJson(platform.collateral(now())));
const anchor = loadTrustAnchor(platform.rootDer);
const rootKeys = new RootKeys(new Uint8Array(32).fill(1), new Uint8Array(32).fill(2));
const td = simulatedTd({ platform, instanceSeed: new Uint8Array(20).fill(3), keyProvider: '{"name":"kms","id":"00"}' });
const key = freshTestKey();
const bound = reportData("ratls-cert", key.spki);
const { file } = scratchFolder();

type AskedAuthority = Pick<Authority, "authorizeSelf" | "authorizeApp">;

let rootCaCertPem: string;
let steps: string[];
let asked: BootInfo[];
beforeAll(async () => {
  rootCaCertPem = await makeRootCa(rootKeys, now());
});
beforeEach(() => {
  steps = [];
  asked = [];
});

/** The order of the calls is what is watched; the authority itself has its own tests. */
function authority(changes: Partial<AskedAuthority> = {}): AskedAuthority {
  return {
    authorizeSelf: async () => {
      steps.push("self");
      return undefined;
    },
    authorizeApp: async ({ info }) => {
      steps.push("app");
      asked.push(info);
      return { info, gatewayAppId: "", role: "app", decidedAt: now() } as unknown as AuthorizedBoot;
    },
    ...changes,
  };
}

const verifier = {
  verify: async (evidence: Parameters<typeof verifyEvidenceWith>[0]): Promise<VerifiedEvidence> => {
    steps.push("verify");
    return verifyEvidenceWith(evidence, collateral, anchor, now());
  },
};

const services = (changes: Partial<AskedAuthority> = {}) => ({
  authority: authority(changes),
  verifier,
  rootKeys,
  rootCaCertPem,
  gates: { sevSnpKeyRelease: false, awsNitroTpmKeyRelease: false },
  now,
});

function request(want: Partial<WantedCertificate> = {}, envelope = td.attest(bound), from = td.vmConfig) {
  const csr = csrVersion2({ spki: key.spki, want: { ...wanted, ...want } }, envelope);
  return { apiVersion: 2, csr, signature: signDer(csr, key), vmConfig: from };
}

function requestVersion1(want: Partial<WantedCertificate> = {}, log = jsonLog()) {
  const csr = csrVersion1({ spki: key.spki, want: { ...wanted, ...want } }, td.quote(bound), utf8(log));
  return { apiVersion: 1, csr, signature: signDer(csr, key), vmConfig: td.vmConfig };
}

function jsonLog(): string {
  return JSON.stringify(
    td.eventLog().map(({ imr, eventType, digest, event, eventPayload }) => ({
      imr,
      event_type: eventType,
      digest: toHex(digest),
      event,
      event_payload: toHex(eventPayload),
    })),
  );
}

async function chain(input: ReturnType<typeof request>): Promise<[string, string, string]> {
  const { certificate_chain } = await signCert(services(), input);
  const [leaf = "", appCa = "", root = ""] = certificate_chain;
  expect(certificate_chain).toHaveLength(3);
  return [leaf, appCa, root];
}

const extensionsOf = (pem: string) =>
  new x509.X509Certificate(pem).extensions.map(({ type, critical, value }) => [type, critical, toHex(new Uint8Array(value))]);
const wrapped = (payload: Uint8Array | string) => {
  const bytes = typeof payload === "string" ? utf8(payload) : payload;
  return `04${bytes.length.toString(16).padStart(2, "0")}${toHex(bytes)}`;
};

describe("the checks stand in order:", () => {
  const refuse = (code: ConstructorParameters<typeof KmsError>[0], message: string) => async () => {
    throw new KmsError(code, message);
  };

  test("self authorization comes before the version", async () => {
    const selfDenied = services({ authorizeSelf: refuse("denied.self", "KMS self authorization failed: x") });
    expect((await refusal(signCert(selfDenied, { ...request(), apiVersion: 9 }))).code).toBe("denied.self");
  });

  test.each([0, 3, 4_294_967_295])("version %d is not supported, whatever the request is", async (apiVersion) => {
    const bad = { ...request(), apiVersion, csr: new Uint8Array() };
    const message = `Unsupported API version: ${apiVersion}`;
    expect(await refusal(signCert(services(), bad))).toEqual({ code: "malformed.api-version", message });
    expect(steps).toEqual(["self"]);
  });

  test("then the request is decoded, its signature verified, its evidence bound, and only then verified", async () => {
    const good = request();
    const message = (text: string) => expect.stringContaining(text);
    expect(await refusal(signCert(services(), { ...good, csr: new Uint8Array() }))).toEqual({
      code: "malformed.csr",
      message: message("Failed to parse csr: confirm"),
    });
    expect(await refusal(signCert(services(), { ...good, signature: new Uint8Array() }))).toEqual({
      code: "unproven.csr-signature",
      message: "Failed to verify csr signature: Invalid signature",
    });
    for (const foreign of [new Uint8Array(64), reportData("ratls-cert", freshTestKey().spki), reportData("app-data", key.spki)]) {
      expect(await refusal(signCert(services(), request({}, td.attest(foreign))))).toEqual({
        code: "unproven.report-data",
        message: "Quote verification failed: report data mismatch",
      });
    }
    expect(steps).not.toContain("verify");
    const evidence = td.evidence(bound);
    const short = { ...evidence, stack: { ...evidence.stack, runtimeEvents: evidence.stack.runtimeEvents.slice(1) } };
    expect(await refusal(signCert(services(), request({}, encodeEvidence(short))))).toEqual({
      code: "unproven.event-log",
      message: expect.stringMatching(/^Quote verification failed: RTMR3 mismatch, quoted: /),
    });
    expect(steps).not.toContain("app");
  });

  test("then the VM configuration is read and the policy asked, without a prefix of its own", async () => {
    expect(await refusal(signCert(services(), request({}, td.attest(bound), "{")))).toEqual({
      code: "malformed.vm-config",
      message: "Failed to parse vm config",
    });
    const denied = services({ authorizeApp: refuse("denied.policy", "Boot denied: Compose hash not allowed") });
    expect(await refusal(signCert(denied, request()))).toEqual({
      code: "denied.policy",
      message: "Boot denied: Compose hash not allowed",
    });
  });

  test("then the release gates", async () => {
    const info = bootInfo({ teeVariant: "dstack-aws-nitro-tpm" });
    const gated = services({ authorizeApp: async () => ({ info }) as unknown as AuthorizedBoot });
    expect(await refusal(signCert(gated, request()))).toEqual({
      code: "denied.release-gate",
      message: "aws nitro-tpm key release is not enabled",
    });
  });

  test("dates that end before they begin make no certificate", async () => {
    const code = "malformed.certificate";
    for (const want of [
      { notBefore: 2_000_000_000n, notAfter: 1_999_999_999n },
      { notAfter: 1n },
      { notBefore: 9_000_000_000n },
    ]) {
      expect((await refusal(signCert(services(), request(want)))).code).toBe(code);
    }
  });
});

test("the policy is asked about the boot, not about what runs since", async () => {
  await chain(request());
  const evidence = verifyEvidenceWith(bindEvidence(decodeEvidence(td.attest(bound)), bound), collateral, anchor, now());
  const boottime = appraiseBoot(evidence, { vmConfig: td.vmConfig, mode: "boottime" }).info;
  const runtime = appraiseBoot(evidence, { vmConfig: td.vmConfig, mode: "runtime" }).info;
  expect(asked).toEqual([boottime]);
  expect(boottime.keyProviderInfo).toHaveLength(0);
  expect(boottime.mrAggregated).not.toEqual(runtime.mrAggregated);
  expect(boottime.mrSystem).not.toEqual(runtime.mrSystem);
});

describe("the chain", () => {
  test("is leaf, app CA and the root as stored, and OpenSSL verifies it", async () => {
    const [leaf, appCa, root] = await chain(request({ altNames: ["app.example.com"], withEvidence: true, withAppInfo: true }));
    expect(root).toBe(rootCaCertPem);
    for (const pem of [leaf, appCa]) {
      expect(pem).toMatch(/^-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/=]{1,64}\n)+-----END CERTIFICATE-----\n$/);
    }
    const trust = ["-CAfile", file("root.pem", root), "-untrusted", file("ca.pem", appCa)];
    const purpose = ["-purpose", "sslserver", "-verify_hostname", "app.example.com", "-attime", "1800000000"];
    expect(openssl("verify", ...trust, ...purpose, file("leaf.pem", leaf))).toContain("OK");
  });

  test("has the derived key in the app CA at every call, and a certificate made anew", async () => {
    const expected = p256Spki(deriveP256(rootKeys.caScalar, [td.appId, utf8("app-ca")]));
    const [[, first], [, second]] = [await chain(request()), await chain(request())];
    expect(new Uint8Array(new x509.X509Certificate(first).publicKey.rawData)).toEqual(expected);
    expect(new Uint8Array(new x509.X509Certificate(second).publicKey.rawData)).toEqual(expected);
    expect(second).not.toBe(first);
  });

  test("has the app CA's profile", async () => {
    const [, pem, root] = await chain(request());
    const { subject, issuer, validFrom, validTo, serialNumber } = new X509Certificate(pem);
    expect({ subject, issuer, validFrom, validTo }).toEqual({
      subject: "O=Dstack\nCN=Dstack App CA",
      issuer: new X509Certificate(root).subject,
      validFrom: "Jan  1 00:00:00 1975 GMT",
      validTo: "Nov 18 10:20:30 2036 GMT",
    });
    const spki = new Uint8Array(new x509.X509Certificate(pem).publicKey.rawData);
    const digest = createHash("sha256").update(spki.subarray(-65)).digest();
    digest[0] = (digest[0] ?? 0) & 0x7f;
    expect(BigInt(`0x${serialNumber}`)).toBe(BigInt(`0x${digest.subarray(0, 20).toString("hex")}`));
    expect(extensionsOf(pem)).toEqual([
      ["2.5.29.15", true, "0303078600"],
      ["2.5.29.14", false, wrapped(createHash("sha256").update(spki).digest().subarray(0, 20))],
      ["2.5.29.19", true, "30060101ff020100"],
      [oidOf.appId, false, wrapped(td.appId)],
      [oidOf.usage, false, wrapped("app:ca")],
    ]);
  });

  test("has the smallest leaf for the smallest request", async () => {
    const [pem, appCa] = await chain(request({ serverAuth: false }));
    const leaf = new X509Certificate(pem);
    expect(leaf.subject).toBe("CN=app.example.com");
    expect(leaf.issuer).toBe(new X509Certificate(appCa).subject);
    expect(extensionsOf(pem)).toEqual([
      ["2.5.29.15", true, "0303078000"],
      [oidOf.appId, false, wrapped(td.appId)],
      [oidOf.usage, false, wrapped("app:custom")],
    ]);
    expect(readCertificate(new Uint8Array(leaf.raw))).toMatchObject({ spki: key.spki, evidence: undefined, appInfo: undefined });
  });

  test("has all that a request can ask for, in the order of the profile", async () => {
    const want = {
      organization: "Org",
      altNames: ["*.example.com", "192.0.2.7", "2001:db8::1", "fe80::1%eth0", "user@example.com"],
      clientAuth: true,
      withEvidence: true,
      withAppInfo: true,
      notBefore: 1_700_000_000n,
      notAfter: 4_102_444_800n,
    };
    const envelope = td.attest(bound);
    const [pem] = await chain(request(want, envelope));
    const leaf = new X509Certificate(pem);
    expect(leaf.subject).toBe("O=Org\nCN=app.example.com");
    expect([leaf.validFrom, leaf.validTo]).toEqual(["Nov 14 22:13:20 2023 GMT", "Jan  1 00:00:00 2100 GMT"]);
    const text = openssl("x509", "-in", file("full.pem", pem), "-noout", "-ext", "subjectAltName");
    const names = ["DNS:*.example.com", "IP Address:192.0.2.7", "IP Address:2001:DB8:0:0:0:0:0:1"];
    expect(text).toContain([...names, "DNS:fe80::1%eth0", "DNS:user@example.com"].join(", "));
    const extensions = extensionsOf(pem);
    expect(extensions.map(([oid, critical]) => [oid, critical])).toEqual([
      ["2.5.29.17", false],
      ["2.5.29.15", true],
      ["2.5.29.37", false],
      [oidOf.appId, false],
      [oidOf.appInfo, false],
      [oidOf.usage, false],
      [oidOf.attestation, false],
    ]);
    expect(extensions[2]?.[2]).toBe("301406082b0601050507030106082b06010505070302");
    const { evidence, usage, appId } = readCertificate(new Uint8Array(leaf.raw));
    expect({ usage, appId }).toEqual({ usage: "app:custom", appId: td.appId });
    expect(evidence && encodeEvidence(evidence)).toEqual(encodeEvidence(stripEvidence(decodeEvidence(envelope))));
  });

  test("has nine elements of app info, of what runs now, and a device that is the hash of nothing", async () => {
    const [pem] = await chain(request({ withAppInfo: true }, td.attest(bound), "{}"));
    const value = new x509.X509Certificate(pem).getExtension(oidOf.appInfo)?.value ?? new ArrayBuffer();
    const array = new Uint8Array(value).subarray(3);
    expect(toHex(new Uint8Array(value).subarray(0, 4))).toBe(`0481${array.length.toString(16)}99`);
    const verified = verifyEvidenceWith(bindEvidence(decodeEvidence(td.attest(bound)), bound), collateral, anchor, now());
    const { info } = appraiseBoot(verified, { vmConfig: "", mode: "runtime" });
    expect(readCertificate(new Uint8Array(new X509Certificate(pem).raw)).appInfo).toEqual({
      appId: td.appId,
      composeHash: td.composeHash,
      instanceId: td.instanceId,
      deviceId: fromHex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "nothing"),
      mrSystem: info.mrSystem,
      mrAggregated: info.mrAggregated,
      osImageHash: td.osImageHash,
      keyProviderInfo: utf8('{"name":"kms","id":"00"}'),
      initScriptHashes: [],
    });
    expect(decodeAppInfo(array)).toMatchObject({ appId: td.appId });
  });

  test("is made for a request of version 1 too, whose evidence has no configuration", async () => {
    const [pem, appCa, root] = await chain(requestVersion1({ altNames: ["app.example.com"], withEvidence: true }));
    const trust = ["-CAfile", file("root1.pem", root), "-untrusted", file("ca1.pem", appCa), "-attime", "1800000000"];
    expect(openssl("verify", ...trust, file("leaf1.pem", pem))).toContain("OK");
    expect(readCertificate(new Uint8Array(new X509Certificate(pem).raw)).evidence?.stack.config).toBe("");
    expect((await refusal(signCert(services(), requestVersion1({}, "[]")))).message).toMatch(/^Quote verification failed: RTMR3/);
  });

  test("names the subject as asked, empty and in any script", async () => {
    for (const subject of ["", "приложение", "a+b=c, O=Dstack"]) {
      const [pem] = await chain(request({ subject }));
      const raw = new x509.X509Certificate(pem).subjectName.toArrayBuffer();
      const bytes = utf8(subject);
      expect(
        toHex(new Uint8Array(raw)).endsWith(`0603550403${`0c${bytes.length.toString(16).padStart(2, "0")}`}${toHex(bytes)}`),
      ).toBe(true);
    }
  });

  test("may last to the end of time that certificates know", async () => {
    const [pem] = await chain(request({ notBefore: 0n, notAfter: 253_402_300_799n }));
    expect(new X509Certificate(pem).validTo).toBe("Dec 31 23:59:59 9999 GMT");
    expect(new X509Certificate(pem).validFrom).toBe("Jan  1 00:00:00 1970 GMT");
  });
});

test("init scripts are named by their hashes, five at most", async () => {
  const withScripts = (count: number) => {
    const initScriptHashes = Array.from({ length: count }, (_, index) => new Uint8Array(32).fill(index));
    return simulatedTd({ platform, initScriptHashes }).attest(bound);
  };
  const [pem] = await chain(request({ withAppInfo: true }, withScripts(5)));
  const { appInfo } = readCertificate(new Uint8Array(new X509Certificate(pem).raw));
  expect(appInfo?.initScriptHashes?.map((hash) => hash[0])).toEqual([0, 1, 2, 3, 4]);
  expect((await refusal(signCert(services(), request({ withAppInfo: true }, withScripts(6))))).code).toBe(
    "unproven.event-duplicate",
  );
});

test("app info takes the image from a whole system configuration in the evidence, as guests of the reference do", async () => {
  const evidence = td.evidence(bound);
  const config = JSON.stringify({ kms_urls: [], vm_config: td.vmConfig });
  const envelope = encodeEvidence({ ...evidence, stack: { ...evidence.stack, config } });
  const [pem] = await chain(request({ withAppInfo: true }, envelope));
  expect(readCertificate(new Uint8Array(new X509Certificate(pem).raw)).appInfo?.osImageHash).toEqual(td.osImageHash);
});
