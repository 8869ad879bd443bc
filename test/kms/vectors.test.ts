/** The ledger of the vectors: every value of every one is computed by production code or compared with it, and none is left over. */
import "reflect-metadata";
import { createHash, X509Certificate } from "node:crypto";
import { ed25519, x25519 } from "@noble/curves/ed25519.js";
import { keccak_256 } from "@noble/hashes/sha3.js";
import * as x509 from "@peculiar/x509";
import { describe, expect, test } from "vitest";
import { tdxBootInfo } from "../../kms/attestation/boot-info.ts";
import { eventDigest, replayEvents } from "../../kms/attestation/events.ts";
import { decodeEvidence, type Evidence, encodeEvidence, stripEvidence } from "../../kms/attestation/evidence.ts";
import { keyProviderKinds } from "../../kms/attestation/key-provider-info.ts";
import {
  canonicalMrConfig,
  mrConfigIdV1,
  mrConfigIdV2,
  mrConfigIdV3,
  parseMrConfigDocument,
} from "../../kms/attestation/mr-config.ts";
import { bindEvidence, bootstrapReportData, type ReportDataTag, reportData } from "../../kms/attestation/report-data.ts";
import { intelSgxRootCa } from "../../kms/attestation/tdx/trust-anchor.ts";
import { createVerifier } from "../../kms/attestation/verifier.ts";
import type { AuthorizedBoot } from "../../kms/authorization/authorized-boot.ts";
import { concat, fromHex, toHex, utf8 } from "../../kms/bytes.ts";
import { makeRootCa } from "../../kms/ca/kms-certificates.ts";
import { issueCertificate, spkiOf } from "../../kms/ca/profile.ts";
import { deriveAppCaScalar, deriveAppKeys, signEnvPublicKey } from "../../kms/keys/app-keys.ts";
import { deriveDhSecret, deriveK256, deriveKey, deriveP256, encodePkcs8, k256Point, p256Spki } from "../../kms/keys/kdf.ts";
import { caSpki, k256Pubkey, RootKeys } from "../../kms/keys/root-keys.ts";
import { recoverSigner, recoverSigner65, signDigest, signedDigest } from "../../kms/keys/signature.ts";
import { decodeAppInfo, encodeAppInfo } from "../../kms/ra-tls/app-info.ts";
import { decodeCsr } from "../../kms/ra-tls/csr.ts";
import { openEnv, sealEnv } from "../../scripts/lib/env-cipher.ts";
import vectors from "../fixtures/vectors/kdf.json" with { type: "json" };
import { watch } from "../support/read-fields.ts";
import { realCollateral, verifyReal } from "../support/real-evidence.ts";
import { sample, sampleBytes, sampleParts } from "./support/sample-envelope.ts";
import { snpLaunchMeasurement } from "./support/snp-launch.ts";

type Section = Exclude<keyof typeof vectors, "_about">;
type Vector<S extends Section> = (typeof vectors)[S] extends readonly (infer V)[] ? V : (typeof vectors)[S];
interface Entry {
  readonly section: Section;
  readonly id: string;
  readonly check: () => unknown;
  readonly unread: () => string[];
}

const bytes = (hex: string) => fromHex(hex, "vector");
const list = (hexes: readonly string[]) => hexes.map(bytes);
const text = (value: Uint8Array) => new TextDecoder().decode(value);
const sha256 = (value: Uint8Array | string) => createHash("sha256").update(value).digest("hex");
const fixedRoot = new RootKeys(bytes(vectors.fixed_roots.root_ca_scalar), bytes(vectors.fixed_roots.k256_root_key));
/** Said of a vector, not part of it. */
const remarks = /^(?:origin|note|description)$/;

function entries<S extends Section>(section: S, check: (vector: Vector<S>) => unknown): Entry[] {
  const all: unknown = vectors[section];
  return (Array.isArray(all) ? all : [all]).map((vector: Vector<S> & object, index) => {
    const { value, unread } = watch(vector);
    const id = Array.isArray(all) ? `${section}[${index}]` : section;
    return { section, id, check: () => check(value), unread: () => unread().filter((path) => !remarks.test(path)) };
  });
}

/** A test may pretend that the policy said yes; only the ids matter to the derivation. */
function authorized(appId: string, instanceId: string): AuthorizedBoot {
  return { info: { appId: bytes(appId), instanceId: bytes(instanceId) } } as unknown as AuthorizedBoot;
}

const ledger: readonly Entry[] = [
  ...entries("fixed_roots", (v) => {
    const root = new RootKeys(bytes(v.root_ca_scalar), bytes(v.k256_root_key));
    expect(toHex(encodePkcs8(root.caScalar))).toBe(v.root_ca_pkcs8_der);
    expect([caSpki(root), k256Pubkey(root)].map(toHex)).toEqual([v.root_ca_spki_der, v.k256_root_pubkey]);
  }),
  ...entries("derive_key", (v) => {
    expect(toHex(deriveKey(bytes(v.ikm), list(v.context), v.length))).toBe(v.okm);
  }),
  ...entries("derive_dh_secret", (v) => {
    const [root, context] = [bytes(v.root_scalar), list(v.context)];
    expect([encodePkcs8(root), p256Spki(root)].map(toHex)).toEqual([v.root_pkcs8_der, v.root_spki_der]);
    const derived = deriveP256(root, context);
    expect(toHex(derived)).toBe(v.derived_scalar);
    expect([encodePkcs8(derived), p256Spki(derived)].map(toHex)).toEqual([v.derived_pkcs8_der, v.derived_spki_der]);
    expect(toHex(deriveDhSecret(root, context))).toBe(v.dh_secret);
  }),
  ...entries("guest_agent_get_key", (v) => {
    const key = deriveK256(bytes(v.k256_app_key), [utf8(v.path)]);
    expect(toHex(key)).toBe(v.derived_key);
    const [k256, edwards] = [k256Point(key), ed25519.getPublicKey(key)];
    expect([k256, edwards].map(toHex)).toEqual([v.secp256k1_pubkey_compressed, v.ed25519_pubkey]);
    expect([k256, edwards].map((point) => Buffer.from(point).toString("base64url"))).toEqual([
      v.secp256k1_pubkey_base64url,
      v.ed25519_pubkey_base64url,
    ]);
  }),
  ...entries("real_kms_app_keys", (v) => {
    const root = new RootKeys(bytes(v.root_ca_scalar), fixedRoot.k256Key.slice());
    expect(toHex(caSpki(root))).toBe(v.root_ca_spki_der);
    const keys = deriveAppKeys(root, authorized(v.app_id, v.instance_id));
    expect([keys.diskCryptKey, keys.envCryptKey].map(toHex)).toEqual([v.disk_crypt_key, v.env_crypt_key]);
    expect(toHex(x25519.getPublicKey(keys.envCryptKey))).toBe(v.env_encrypt_public_key);
    const point = k256Point(bytes(v.k256_app_key));
    expect(toHex(point)).toBe(v.k256_app_pubkey);
    expect(toHex(signedDigest("dstack-kms-issued", bytes(v.app_id), point))).toBe(v.kms_issued_digest);
    const signer = recoverSigner65(bytes(v.k256_signature), "dstack-kms-issued", bytes(v.app_id), point);
    expect(toHex(signer)).toBe(v.recovered_k256_root_pubkey);
  }),
  ...entries("kms_issued_signature_recovery", (v) => {
    const point = k256Point(bytes(v.k256_app_key));
    expect(toHex(point)).toBe(v.k256_app_pubkey);
    expect(toHex(signedDigest("dstack-kms-issued", bytes(v.app_id), point))).toBe(v.digest);
    const signer = recoverSigner65(bytes(v.k256_signature), "dstack-kms-issued", bytes(v.app_id), point);
    expect(toHex(signer)).toBe(v.recovered_pubkey);
  }),
  ...entries("env_pubkey_signature_recovery", (v) => {
    const [appId, key] = [bytes(v.app_id), bytes(v.public_key)];
    expect(toHex(signedDigest("dstack-env-encrypt-pubkey", appId, key))).toBe(v.digest);
    const signer = toHex(recoverSigner65(bytes(v.signature), "dstack-env-encrypt-pubkey", appId, key));
    expect([signer, signer]).toEqual([v.recovered_pubkey, v.expected]);
  }),
  ...entries("app_keys", async (v) => {
    expect(v.roots).toBe("fixed_roots");
    const boot = authorized(v.app_id, v.instance_id);
    const keys = deriveAppKeys(fixedRoot, boot);
    expect([keys.diskCryptKey, keys.envCryptKey, keys.k256Key, keys.k256Signature].map(toHex)).toEqual([
      v.disk_crypt_key,
      v.env_crypt_key,
      v.k256_key,
      v.k256_signature,
    ]);
    const [appId, point] = [bytes(v.app_id), k256Point(keys.k256Key)];
    expect(toHex(point)).toBe(v.k256_pubkey);
    expect(toHex(concat(utf8("dstack-kms-issued:"), appId, point))).toBe(v.kms_issued_message);
    expect(toHex(signedDigest("dstack-kms-issued", appId, point))).toBe(v.kms_issued_digest);
    const answer = signEnvPublicKey(fixedRoot, appId, new Date(v.timestamp * 1000));
    expect([answer.publicKey, answer.signature, answer.signatureV1].map(toHex)).toEqual([
      v.env_encrypt_public_key,
      v.env_pubkey_signature,
      v.env_pubkey_signature_v1,
    ]);
    const [plain, timed] = [v.env_pubkey_message, v.env_pubkey_message_v1].map(bytes).map(keccak_256);
    expect(
      [recoverSigner(answer.signature, plain ?? point), recoverSigner(answer.signatureV1, timed ?? point)].map(toHex),
    ).toEqual([vectors.fixed_roots.k256_root_pubkey, vectors.fixed_roots.k256_root_pubkey]);
    const caScalar = deriveAppCaScalar(fixedRoot, boot);
    expect([caScalar, p256Spki(caScalar)].map(toHex)).toEqual([v.app_ca_scalar, v.app_ca_spki_der]);
    const authority = new x509.X509Certificate(await appCa(caScalar));
    expect(authority.serialNumber).toBe(v.app_ca_cert_serial);
    expect(authority.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId).toBe(v.app_ca_cert_ski);
  }),
  ...entries("auth_chain", (v) => {
    const app = vectors.app_keys[Number(/^app_keys\[(\d)\]$/.exec(v.app)?.[1])];
    const appKey = bytes(app?.k256_key ?? "");
    const key = deriveK256(appKey, [utf8(v.path)]);
    const point = toHex(k256Point(key));
    expect([toHex(key), point]).toEqual([v.derived_key, v.derived_pubkey]);
    expect(`${v.purpose}:${point}`).toBe(v.message_utf8);
    const digest = keccak_256(utf8(v.message_utf8));
    expect(toHex(digest)).toBe(v.digest);
    expect([toHex(signDigest(appKey, digest)), app?.k256_signature]).toEqual([...v.signature_chain]);
  }),
  ...entries("report_data", (v) => {
    expect(v.hash).toBe("sha512");
    expect(toHex(reportData(v.content_type as ReportDataTag, bytes(v.content)))).toBe(v.report_data);
  }),
  ...entries("bootstrap_report_data", (v) => {
    expect(toHex(bootstrapReportData(bytes(v.ca_pubkey), bytes(v.k256_pubkey)))).toBe(v.report_data);
    expect(toHex(keccak_256(utf8(v.message_utf8)))).toBe(v.report_data.slice(0, 64));
  }),
  ...entries("encrypted_env", (v) => {
    const [key, sealed] = [bytes(v.env_crypt_key), bytes(v.ciphertext)];
    expect(text(openEnv(sealed, key))).toBe(v.plaintext_utf8);
    expect(toHex(x25519.getSharedSecret(key, sealed.subarray(0, 32)))).toBe(v.shared_secret);
    if (v.ephemeral_secret === undefined || v.iv === undefined) return;
    const draws = [bytes(v.ephemeral_secret), bytes(v.iv)];
    const again = sealEnv(utf8(v.plaintext_utf8), x25519.getPublicKey(key), () => draws.shift() ?? key);
    expect(toHex(again)).toBe(v.ciphertext);
  }),
  ...entries("runtime_event_digest", (v) => {
    const event = { event: v.event, payload: bytes(v.payload), version: v.version === 2 ? 2 : 1 } as const;
    expect([eventDigest(event, "sha384"), eventDigest(event, "sha256")].map(toHex)).toEqual([v.sha384, v.sha256]);
    expect(sha256(bytes(v.preimage))).toBe(v.sha256);
    if (v.preimage_utf8 !== undefined) expect(toHex(utf8(v.preimage_utf8))).toBe(v.preimage);
    expect(event.version).toBe(v.version);
  }),
  ...entries("csr_scale", (v) => {
    // the last vector is a configuration alone: here it stands in the request of the first
    const whole = v.bytes.startsWith("44") ? v.bytes : `${vectors.csr_scale[0]?.bytes.slice(0, 44)}${v.bytes}${"00".repeat(70)}`;
    const csr = decodeCsr(v.api_version === 1 ? 1 : 2, bytes(whole));
    expect([csr.confirm, toHex(csr.spki)]).toEqual(["please sign cert:", "010203"]);
  }),
  ...entries("attestation_v1_msgpack", (v) => {
    expect(toHex(encodeEvidence(decodeEvidence(bytes(v.bytes))))).toBe(v.bytes);
  }),
  ...entries("app_info_msgpack", (v) => {
    expect(toHex(encodeAppInfo(decodeAppInfo(bytes(v.bytes))))).toBe(v.bytes);
  }),
  ...entries("certificates", async (v) => {
    const [theirs, root] = [new x509.X509Certificate(v.pem), realRoot()];
    expect(
      toHex(new Uint8Array(new X509Certificate(v.pem).publicKey.export({ format: "der", type: "spki" })).subarray(-65)),
    ).toBe(v.public_point);
    for (const certificate of [theirs, new x509.X509Certificate(await makeRootCa(root, new Date()))]) {
      const extension = (type: string) => toHex(new Uint8Array(certificate.extensions.find((e) => e.type === type)?.value ?? []));
      expect(certificate.serialNumber).toBe(v.serial);
      expect(extension("2.5.29.14")).toBe(`0414${v.ski}`);
      expect([extension("2.5.29.15"), extension("2.5.29.19")]).toEqual([v.key_usage_ext_value, v.basic_constraints_ext_value]);
    }
  }),
  ...entries("sample_attestation", sampleCheck),
  ...entries("mr_config", mrConfigCheck),
  ...entries("snp_launch_measurement", (v) => {
    expect(toHex(snpLaunchMeasurement(v.input))).toBe(v.measurement);
  }),
];

function realRoot(): RootKeys {
  return new RootKeys(bytes(vectors.real_kms_app_keys[0]?.root_ca_scalar ?? ""), fixedRoot.k256Key.slice());
}

async function appCa(scalar: Uint8Array): Promise<string> {
  const pkcs8 = encodePkcs8(scalar);
  const subject = { organization: "Dstack", commonName: "Dstack App CA" };
  const signer = { certificate: await makeRootCa(fixedRoot, new Date()), pkcs8: encodePkcs8(fixedRoot.caScalar) };
  return issueCertificate({ subject, spki: spkiOf(pkcs8), pathLength: 0, now: new Date() }, signer);
}

function sampleCheck(v: Vector<"sample_attestation">): void {
  expect([sha256(sampleBytes), sampleBytes.length]).toEqual([v.file_sha256, v.size]);
  expect(sampleParts.map(({ name, offset, encoded, count }) => [name, offset, encoded.length, count])).toEqual(
    v.fields.map(({ name, offset, length, info }) => [name, offset, length, Number.parseInt(info, 10)]),
  );
  const { runtimeEvents } = sample.stack;
  expect(runtimeEvents.map(({ event, payload }) => ({ event, payload: toHex(payload) }))).toEqual(
    v.runtime_events.map(({ event, payload }) => ({ event, payload })),
  );
  expect(toHex(replayEvents(runtimeEvents, "sha384"))).toBe(v.replayed_rtmr3_full);
  expect(toHex(replayEvents(runtimeEvents, "sha384", "boottime"))).toBe(v.replayed_rtmr3_to_boot_mr_done);
  const collateral = realCollateral("collateral-b0c06f-2026-08.json");
  const verified = verifyReal({ evidence: sample, vmConfig: "", collateral, now: new Date("2026-08-20T00:00:00Z") });
  const { body } = verified.quote.quote;
  expect([body.rtmr3, body.mrConfigId].map(toHex)).toEqual([v.quote_rtmr3, v.quote_mr_config_id]);
  for (const mode of ["runtime", "boottime"] as const) {
    const info = tdxBootInfo(verified, new Uint8Array(32), mode);
    expect([info.mrSystem, info.mrAggregated].map(toHex)).toEqual([v.mr_system[mode], v.mr_aggregated[mode]]);
  }
  const stripped = stripEvidence(sample);
  expect(stripped.platform.kind === "tdx" && stripped.platform.eventLog.length).toBe(v.stripped_v0.event_count);
  expectSize(encodeEvidence(stripped), v.stripped_v0);
  expectSize(encodeEvidence({ ...sample, wire: "v1" }), v.as_v1_msgpack);
  expectSize(encodeEvidence({ ...stripped, wire: "v1" }), v.as_v1_msgpack_stripped);
}

function expectSize(encoded: Uint8Array, expected: { size: number; sha256: string }): void {
  expect([encoded.length, sha256(encoded)]).toEqual([expected.size, expected.sha256]);
}

function mrConfigCheck(v: Vector<"mr_config">): void {
  if (v.version === 3) {
    const document = canonicalMrConfig(parseMrConfigDocument(v.document ?? ""));
    expect([document, toHex(mrConfigIdV3(document))]).toEqual([v.document, v.tdx_mr_config_id]);
    expect(v.snp_host_data).toBe(v.tdx_mr_config_id?.slice(2, 66));
    return;
  }
  const hash = bytes(v.compose_hash ?? "");
  if (v.version === 1) {
    expect(toHex(mrConfigIdV1(hash))).toBe(v.mr_config_id);
    return;
  }
  const kind = "kms";
  expect([v.version, v.key_provider, v.key_provider_kind_byte]).toEqual([2, kind, keyProviderKinds[kind]]);
  const keyProvider = { kind, id: bytes(v.key_provider_id ?? "") } as const;
  expect(toHex(mrConfigIdV2({ composeHash: hash, appId: bytes(v.app_id ?? ""), keyProvider }))).toBe(v.mr_config_id);
}

describe("the ledger", () => {
  test.each(ledger)("$id holds, and no value of it goes unused", async ({ check, unread }) => {
    await check();
    expect(unread()).toEqual([]);
  });

  test("names a value that nobody looked at", () => {
    const { value, unread } = watch({ a: 1, b: { c: [2, 3], d: "x" } });
    expect([value.a, value.b.c[1]]).toEqual([1, 3]);
    expect(unread()).toEqual(["b.c.0", "b.d"]);
  });

  test("has a check for every vector", () => {
    const sections = Object.keys(vectors).filter((name) => name !== "_about");
    expect(new Set(ledger.map(({ section }) => section as string))).toEqual(new Set(sections));
    const count = sections
      .map((name) => vectors[name as Section])
      .reduce((sum, all) => sum + (Array.isArray(all) ? all.length : 1), 0);
    expect(ledger).toHaveLength(count);
  });

  test("has SEV-SNP by its definition alone, as long as this release refuses its evidence", async () => {
    const reportData = new Uint8Array(64);
    const evidence: Evidence = {
      wire: "v0",
      platform: { kind: "sev-snp", report: bytes("00"), certChain: [], mrConfig: "" },
      stack: { kind: "dstack", reportData, runtimeEvents: [], config: "" },
    };
    const collateral = { collateralFor: () => Promise.reject(new Error("not asked")) };
    const verifier = createVerifier({ tdxRoot: intelSgxRootCa, collateral, now: () => new Date() });
    await expect(verifier.verify(bindEvidence(evidence, reportData))).rejects.toMatchObject({
      code: "unproven.platform-unsupported",
    });
  });
});
