/** Which server get-keys takes for the KMS: everything under the right root that still is not one. */
import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { reportData } from "../../kms/attestation/report-data.ts";
import type { Verifier } from "../../kms/attestation/verifier.ts";
import { makeRootCa } from "../../kms/ca/kms-certificates.ts";
import { KmsError } from "../../kms/errors.ts";
import { caSpki, generateRootKeys } from "../../kms/keys/root-keys.ts";
import type { ServerCertificate } from "../../kms/ra-tls/client.ts";
import { certificateKey, kmsServerCheck, requireRootKey } from "../../scripts/lib/kms-server.ts";
import { simulatedTd } from "../support/simulated-td.ts";

const code = (code: string, message = "") => expect.objectContaining({ code, message: expect.stringContaining(message) });
const spki = new Uint8Array(91).fill(0x30);
const td = simulatedTd();
const own = td.evidence(reportData("ratls-cert", spki));
const leaf: ServerCertificate = {
  spki,
  evidence: own,
  usage: "kms:rpc",
  appId: undefined,
  appInfo: undefined,
  notBefore: new Date(0),
  notAfter: new Date(1e15),
};

function verifier(problem?: KmsError): Pick<Verifier, "verify"> & { asked: number } {
  const fake = {
    asked: 0,
    verify() {
      fake.asked += 1;
      return problem === undefined ? Promise.resolve({} as never) : Promise.reject(problem);
    },
  };
  return fake;
}

test("a KMS with evidence of its own is taken, and its evidence verified", async () => {
  const asked = verifier();
  await kmsServerCheck(asked)(leaf);
  expect(asked.asked).toBe(1);
  await kmsServerCheck(asked)({ ...leaf, evidence: undefined });
  expect(asked.asked).toBe(1);
});

const debug = new KmsError("unproven.debug", "Debug mode is not allowed");
test.each<[string, Partial<ServerCertificate>, KmsError | undefined, string, string]>([
  ["without a usage", { usage: undefined }, undefined, "unproven.server-identity", "missing server cert usage"],
  [
    "with an app's usage",
    { usage: "app:custom" },
    undefined,
    "unproven.server-identity",
    "Invalid server cert usage: app:custom",
  ],
  ["with an app id", { appId: new Uint8Array(20) }, undefined, "unproven.server-identity", "an app's"],
  ["with another key's evidence", { spki: new Uint8Array(91) }, undefined, "unproven.report-data", "evidence of the KMS: "],
  ["with evidence that does not verify", {}, debug, "unproven.debug", "evidence of the KMS: Debug mode"],
])("a server %s is refused", async (_, changed, problem, expected, message) => {
  await expect(kmsServerCheck(verifier(problem))({ ...leaf, ...changed })).rejects.toThrow(code(expected, message));
});

test("evidence that is not to be verified still has to be the leaf's", async () => {
  await kmsServerCheck(undefined)(leaf);
  const borrowed = { ...leaf, spki: new Uint8Array(91) };
  await expect(kmsServerCheck(undefined)(borrowed)).rejects.toThrow(code("unproven.report-data"));
});

test("a root certificate is known by its key: a replica's own is taken, another key's under the same name is not", async () => {
  const random = (length: number) => new Uint8Array(randomBytes(length));
  const [root, other] = [generateRootKeys(random), generateRootKeys(random)];
  const now = Date.now();
  const [first, second] = [await makeRootCa(root, new Date(now)), await makeRootCa(root, new Date(now + 86_400_000))];
  expect(first).not.toBe(second);
  expect(certificateKey(first, "root")).toEqual(caSpki(root));
  requireRootKey(second, certificateKey(first, "root"), "GetAppKey");
  const foreign = await makeRootCa(other, new Date(now));
  expect(() => requireRootKey(foreign, caSpki(root), "GetAppKey")).toThrow(code("unproven.server-identity", "GetAppKey: "));
  expect(() => requireRootKey("none", caSpki(root), "GetAppKey")).toThrow(code("malformed.certificate"));
});
