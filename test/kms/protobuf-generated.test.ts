import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Admin, file_kms, KMS, Onboard } from "../../kms/http/gen/kms_pb.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const bin = join(root, "node_modules", ".bin");

function filesOf(folder: string): Record<string, string> {
  return Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), "utf8")]));
}

test("the committed code is what the proto files generate", () => {
  const out = mkdtempSync(join(tmpdir(), "keyward-proto-"));
  try {
    const env = { ...process.env, PATH: `${bin}${delimiter}${process.env["PATH"] ?? ""}` };
    execFileSync(join(bin, "buf"), ["generate", "-o", out], { cwd: root, env, stdio: "pipe" });
    expect(filesOf(join(root, "kms/http/gen"))).toEqual(filesOf(join(out, "kms/http/gen")));
  } finally {
    rmSync(out, { recursive: true });
  }
});

test.each([
  [KMS, ["GetAppKey", "GetKmsKey", "GetAppEnvEncryptPubKey", "GetMeta", "GetTempCaCert", "SignCert"]],
  [Admin, ["ClearImageCache"]],
  [Onboard, ["Bootstrap", "Onboard", "GetAttestationInfo", "Finish"]],
])("the service $name has the methods of the protocol", (service, names) => {
  expect(service.methods.map((method) => method.name)).toEqual(names);
});

test("fields are numbered in the order in which they are written", () => {
  for (const message of file_kms.messages) {
    expect(message.fields.map((field) => field.number)).toEqual(message.fields.map((_field, index) => index + 1));
  }
});
