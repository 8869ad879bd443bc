import { beforeEach, describe, expect, test } from "vitest";
import { type AppraisedBoot, appraiseBoot } from "../../kms/attestation/appraise.ts";
import { type BootInfo, type BootInfoHex, bootInfoHex } from "../../kms/attestation/boot-info.ts";
import { type Authority, createAuthority } from "../../kms/authorization/authority.ts";
import type { AuthorizedBoot, Role } from "../../kms/authorization/authorized-boot.ts";
import type { Decision } from "../../kms/authorization/policy.ts";
import { utf8 } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import { KmsKeyResponseSchema } from "../../kms/http/gen/kms_pb.ts";
import { encodeJson } from "../../kms/http/json-codec.ts";
import { decodeProtobuf, encodeProtobuf } from "../../kms/http/protobuf-codec.ts";
import { decodeKeyPem } from "../../kms/keys/key-pem.ts";
import { RootKeys } from "../../kms/keys/root-keys.ts";
import { getKmsKey } from "../../kms/methods/get-kms-key.ts";
import { liteAttestation, verifyReal } from "../support/real-evidence.ts";
import { appraised, bootInfo } from "./support/boots.ts";
import { refusal } from "./support/refusals.ts";

const rootKeys = new RootKeys(new Uint8Array(32).fill(1), new Uint8Array(32).fill(2));
const gates = { sevSnpKeyRelease: false, awsNitroTpmKeyRelease: false };
const caller = verifyReal(liteAttestation());
const own = appraised({ mrAggregated: new Uint8Array(32).fill(0xee) });
const allowed: Decision = { allowed: true, gatewayAppId: "gateway" };
const denied = (reason: string, unavailable = false): Decision => ({ allowed: false, reason, unavailable });

let steps: string[];
let receivers: BootInfoHex[];
beforeEach(() => {
  steps = [];
  receivers = [];
});

interface Answers {
  readonly own?: Decision;
  readonly caller?: Decision;
  readonly measure?: () => void;
}

function authority(answers: Answers = {}): Authority {
  const ask = async (role: Role, info: BootInfo): Promise<Decision> => {
    const isSelf = info === own.info;
    steps.push(isSelf ? "self" : role);
    return (isSelf ? answers.own : answers.caller) ?? allowed;
  };
  const measure = (_boot: AppraisedBoot) => {
    steps.push("measure");
    answers.measure?.();
  };
  const policy = { ask, info: () => Promise.reject(new Error("not asked")) };
  return createAuthority({ policy, measure, selfBoot: async () => own, clock: () => 0 });
}

function services(chosen: Authority) {
  const recordRelease = (receiver: BootInfoHex) => {
    steps.push("record");
    receivers.push(receiver);
  };
  return { authority: chosen, rootKeys, tempCaKeyPem: "temp key", gates, recordRelease };
}

describe("GetKmsKey", () => {
  test("answers both root keys and the temp CA's, after every check and a record of who got them", async () => {
    const answer = await getKmsKey(services(authority()), { vmConfig: "" }, caller);
    expect(steps).toEqual(["self", "kms", "measure", "record"]);
    expect(Object.keys(answer)).toEqual(["temp_ca_key", "keys"]);
    expect(answer.temp_ca_key).toBe("temp key");
    expect(answer.keys).toHaveLength(1);
    const [keys] = answer.keys;
    expect(keys?.ca_key).toMatch(/^-----BEGIN PRIVATE KEY-----\n[\s\S]+\n-----END PRIVATE KEY-----\n$/);
    expect(decodeKeyPem(utf8(keys?.ca_key ?? ""))).toEqual(rootKeys.caScalar);
    expect(keys?.k256_key).toEqual(rootKeys.k256Key);
    const { info } = appraiseBoot(caller, { vmConfig: "", mode: "runtime" });
    expect(receivers).toEqual([bootInfoHex(info)]);
  });

  test.each<[string, Answers, typeof caller | undefined, string, string, string[]]>([
    [
      "itself first",
      { own: denied("KMS MR not allowed") },
      undefined,
      "denied.self",
      "KMS self authorization failed: KMS is not allowed: KMS MR not allowed",
      ["self"],
    ],
    ["then for evidence", {}, undefined, "unproven.no-evidence", "No attestation provided", ["self"]],
    [
      "then the policy, for the role of a KMS",
      { caller: denied("KMS is not registered") },
      caller,
      "denied.policy",
      "Boot denied: KMS is not registered",
      ["self", "kms"],
    ],
    [
      "and tells a policy that cannot be read from one that said no",
      { caller: denied("authorization backend unavailable", true) },
      caller,
      "unavailable.webhook",
      "Boot denied: authorization backend unavailable",
      ["self", "kms"],
    ],
    [
      "then the OS image",
      {
        measure: () => {
          throw new KmsError("unproven.os-image", "MRTD mismatch: expected=00, actual=01");
        },
      },
      caller,
      "unproven.os-image",
      "Failed to verify os image hash: Failed to verify os image hash: MRTD mismatch: expected=00, actual=01",
      ["self", "kms", "measure"],
    ],
  ])("looks at %s", async (_what, answers, from, code, message, expectedSteps) => {
    const work = getKmsKey(services(authority(answers)), { vmConfig: "" }, from);
    expect(await refusal(work)).toEqual({ code, message });
    expect(steps).toEqual(expectedSteps);
  });

  test("refuses a VM configuration that is none", async () => {
    const work = getKmsKey(services(authority()), { vmConfig: "{" }, caller);
    expect(await refusal(work)).toEqual({ code: "malformed.vm-config", message: "Failed to parse vm config" });
    expect(steps).toEqual(["self"]);
  });

  test("keeps the keys from a platform that the operator did not open", async () => {
    const info = bootInfo({ teeVariant: "dstack-amd-sev-snp" });
    const snp: Authority = { ...authority(), authorizeKms: async () => ({ info }) as unknown as AuthorizedBoot };
    expect(await refusal(getKmsKey(services(snp), { vmConfig: "" }, caller))).toEqual({
      code: "denied.release-gate",
      message: "amd sev-snp key release is not enabled",
    });
    expect(steps).toEqual(["self"]);
  });

  test("keeps the keys when the record cannot be written", async () => {
    const failing = {
      ...services(authority()),
      recordRelease: () => {
        throw new Error("disk full");
      },
    };
    await expect(getKmsKey(failing, { vmConfig: "" }, caller)).rejects.toThrow("disk full");
  });

  test("is written in both modes as peers read it", async () => {
    const answer = await getKmsKey(services(authority()), { vmConfig: "" }, caller);
    const pem = JSON.stringify(answer.keys[0]?.ca_key);
    expect(encodeJson(KmsKeyResponseSchema, answer)).toBe(
      `{"temp_ca_key":"temp key","keys":[{"ca_key":${pem},"k256_key":"${"02".repeat(32)}"}]}`,
    );
    expect(decodeProtobuf(KmsKeyResponseSchema, encodeProtobuf(KmsKeyResponseSchema, answer))).toEqual(answer);
  });

  test("leaves the root keys as they were", async () => {
    await getKmsKey(services(authority()), { vmConfig: "" }, caller);
    expect(rootKeys.caScalar).toEqual(new Uint8Array(32).fill(1));
    expect(rootKeys.k256Key).toEqual(new Uint8Array(32).fill(2));
  });
});
