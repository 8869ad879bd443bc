import { describe, expect, test } from "vitest";
import type { AppraisedBoot } from "../../kms/attestation/appraise.ts";
import type { TeeVariant } from "../../kms/attestation/boot-info.ts";
import { type Authority, createAuthority } from "../../kms/authorization/authority.ts";
import { createDevPolicy } from "../../kms/authorization/policy.ts";
import { utf8 } from "../../kms/bytes.ts";
import { RootKeys } from "../../kms/keys/root-keys.ts";
import { recoverSigner65 } from "../../kms/keys/signature.ts";
import { getAppEnvEncryptPubKey } from "../../kms/methods/get-app-env-encrypt-pubkey.ts";
import { getAppKey } from "../../kms/methods/get-app-key.ts";
import { getMeta } from "../../kms/methods/get-meta.ts";
import { getTempCaCert } from "../../kms/methods/get-temp-ca-cert.ts";
import { getAttestationInfo } from "../../kms/methods/onboard-get-attestation-info.ts";
import { needReleaseGate } from "../../kms/methods/release-gates.ts";
import { createOwnEvidence } from "../../kms/own-evidence.ts";
import { appraised } from "./support/boots.ts";
import { refusal } from "./support/refusals.ts";

const now = () => new Date(1_700_000_000_000);
const rootKeys = new RootKeys(new Uint8Array(32).fill(1), new Uint8Array(32).fill(2));
const shut = { sevSnpKeyRelease: false, awsNitroTpmKeyRelease: false };
const pems = { tempCaCertPem: "temp cert", tempCaKeyPem: "temp key", rootCaCertPem: "root" };

function devAuthority(own?: AppraisedBoot): Authority {
  const selfBoot = own === undefined ? undefined : async () => own;
  return createAuthority({ policy: createDevPolicy("any"), measure: undefined, selfBoot, clock: () => 0 });
}

describe("release gates", () => {
  test.each<[TeeVariant, string]>([
    ["dstack-amd-sev-snp", "amd sev-snp key release is not enabled"],
    ["dstack-aws-nitro-tpm", "aws nitro-tpm key release is not enabled"],
  ])("keep keys from %s until the operator opens them", async (variant, message) => {
    expect(await refusal(() => needReleaseGate(shut, variant))).toEqual({ code: "denied.release-gate", message });
    needReleaseGate({ sevSnpKeyRelease: true, awsNitroTpmKeyRelease: true }, variant);
  });

  test("do not concern TDX", () => {
    needReleaseGate(shut, "dstack-tdx");
    needReleaseGate(shut, "dstack-gcp-tdx");
  });

  test("of the KMS's own platform guard the temp CA, unless self authorization is off", async () => {
    const snp = devAuthority(appraised({ teeVariant: "dstack-amd-sev-snp" }));
    expect((await refusal(getTempCaCert({ authority: snp, gates: shut, ...pems }))).code).toBe("denied.release-gate");
    const expected = { temp_ca_cert: "temp cert", temp_ca_key: "temp key", ca_cert: "root" };
    expect(await getTempCaCert({ authority: devAuthority(appraised()), gates: shut, ...pems })).toEqual(expected);
    expect(await getTempCaCert({ authority: devAuthority(), gates: shut, ...pems })).toEqual(expected);
  });
});

describe("GetMeta", () => {
  const meta = (file: unknown) =>
    getMeta({
      authority: devAuthority(),
      rootCaCertPem: "root",
      k256Pubkey: Uint8Array.of(0x02),
      readBootstrapInfo: async () => file,
    });

  test("marks dev mode and leaves out what only a contract knows", async () => {
    expect(await meta(null)).toEqual({
      ca_cert: "root",
      allow_any_upgrade: true,
      k256_pubkey: Uint8Array.of(0x02),
      bootstrap_info: null,
      is_dev: true,
      gateway_app_id: "any",
      kms_contract_address: undefined,
      chain_id: undefined,
      app_auth_implementation: undefined,
    });
  });

  test("reads today's bootstrap-info.json and that of old releases", async () => {
    const keys = { ca_pubkey: Uint8Array.of(0xca), k256_pubkey: Uint8Array.of(0x02) };
    const read = async (file: unknown) => (await meta(file)).bootstrap_info;
    expect(await read({ ca_pubkey: "ca", k256_pubkey: "02", attestation: "0011" })).toEqual({
      ...keys,
      attestation: Uint8Array.of(0, 0x11),
    });
    expect(await read({ ca_pubkey: "CA", k256_pubkey: "02", quote: "04", eventlog: "5b5d" })).toEqual({
      ...keys,
      attestation: new Uint8Array(),
    });
  });

  test.each([
    [{}],
    ["text"],
    [{ ca_pubkey: "c", k256_pubkey: "02" }],
    [{ ca_pubkey: "0xca", k256_pubkey: "02" }],
    [[]],
    [{ ca_pubkey: "ca", k256_pubkey: "03" }],
  ])("answers null for the file content %j", async (file) => {
    expect((await meta(file)).bootstrap_info).toBeNull();
  });
});

describe("GetAppEnvEncryptPubKey", () => {
  test("signs the key for the app, with and without the time", async () => {
    const appId = new Uint8Array(20).fill(9);
    const answer = await getAppEnvEncryptPubKey({ authority: devAuthority(), rootKeys, now }, { appId });
    expect(answer.timestamp).toBe(1_700_000_000n);
    const prefix = "dstack-env-encrypt-pubkey";
    const stamped = Buffer.concat([Buffer.from("000000006553f100", "hex"), answer.public_key]);
    const signer = recoverSigner65(answer.signature, prefix, appId, answer.public_key);
    expect(recoverSigner65(answer.signature_v1, prefix, appId, new Uint8Array(stamped))).toEqual(signer);
  });

  test.each([0, 19, 21, 32])("refuses an app id of %d bytes", async (length) => {
    const work = getAppEnvEncryptPubKey({ authority: devAuthority(), rootKeys, now }, { appId: new Uint8Array(length) });
    expect(await refusal(work)).toEqual({ code: "malformed.length", message: "app_id must be 20 bytes" });
  });
});

describe("GetAppKey", () => {
  const services = { authority: devAuthority(), rootKeys, rootCaCertPem: "root", gates: shut };

  test("looks at the version before anything else", async () => {
    expect(await refusal(getAppKey(services, { apiVersion: 4_294_967_295, vmConfig: "" }, undefined))).toEqual({
      code: "malformed.api-version",
      message: "Unsupported API version: 4294967295",
    });
  });

  test.each([0, 1])("of version %d needs evidence, in dev mode too", async (apiVersion) => {
    expect(await refusal(getAppKey(services, { apiVersion, vmConfig: "" }, undefined))).toEqual({
      code: "unproven.no-evidence",
      message: "App not allowed: No attestation provided",
    });
  });
});

test("GetAttestationInfo needs a guest agent, whose garbage is refused", async () => {
  const agent = { attest: async () => utf8("garbage"), info: async () => ({ vmConfig: "" }) };
  const verifier = { verify: () => Promise.reject(new Error("not reached")) };
  const ownEvidence = createOwnEvidence(agent, verifier);
  const work = getAttestationInfo({ ownEvidence, agent, authority: devAuthority(), siteName: "" });
  const refused = await refusal(work);
  expect(refused.code).toBe("malformed.envelope");
  expect(refused.message).toMatch(/^Failed to get local KMS attestation: /);
});
