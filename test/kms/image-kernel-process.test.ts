/** The kernel's digest beside that of an independent tool, on made-up files, signed ones and a real kernel. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { authenticodeSha384 } from "../../kms/attestation/image/authenticode.ts";
import { kernelDigest, patchedHead } from "../../kms/attestation/image/kernel.ts";
import { toHex } from "../../kms/bytes.ts";
import { foundImageFiles } from "../../scripts/dev/image-files.ts";
import { foundSigningTool } from "../../scripts/dev/signing-tool.ts";
import { type KernelShape, kernelOf } from "../support/launch-files.ts";

const real = foundImageFiles()?.kernel;
const shapes: [string, KernelShape][] = [
  ["PE32+", {}],
  ["PE32", { plus: false }],
  ["PE32+ of an odd size", { size: 0x3003 }],
  ["PE32 of an odd size", { size: 0x30ff, plus: false }],
  [
    "sections out of order",
    {
      sections: [
        [0x2000, 0x1000],
        [0x1000, 0x1000],
      ],
    },
  ],
  [
    "an empty section",
    {
      sections: [
        [0x1000, 0x1000],
        [0, 0],
        [0x2000, 0x1000],
      ],
    },
  ],
];

const folder = mkdtempSync(join(tmpdir(), "authenticode-"));
afterAll(() => rmSync(folder, { recursive: true }));

const tool = foundSigningTool() ?? "osslsigncode";
// a run that has to compare says so, and then the missing tool is a failure
const compares = foundSigningTool() !== undefined || process.env["NEED_OSSLSIGNCODE"] === "1";

const certificate = join(folder, "certificate.pem");
const key = join(folder, "key.pem");

/** Signed with a throw-away key: every version of the tool signs, and prints what it hashed. */
function signed(file: string): string {
  const subject = ["-newkey", "rsa:2048", "-nodes", "-subj", "/CN=throw-away", "-days", "1"];
  if (!existsSync(key)) {
    execFileSync("openssl", ["req", "-x509", ...subject, "-keyout", key, "-out", certificate], { stdio: "ignore" });
  }
  const out = join(folder, "signed.efi");
  rmSync(out, { force: true });
  const names = ["-certs", certificate, "-key", key, "-h", "sha384", "-in", file, "-out", out];
  execFileSync(tool, ["sign", ...names], { stdio: "ignore" });
  return out;
}

function independentDigest(file: string): string {
  const printed = spawnSync(tool, ["verify", "-in", signed(file)], { encoding: "utf8" }).stdout;
  return /Calculated message digest *: ([0-9A-F]{96})/.exec(printed)?.[1]?.toLowerCase() ?? printed;
}

function written(bytes: Uint8Array): string {
  const file = join(folder, "kernel.efi");
  writeFileSync(file, bytes);
  return file;
}

/** The tool signs bytes behind the last section; the firmware looks at them only before a signature. */
const trailing: KernelShape = { size: 0x3008, sections: [[0x1000, 0x1000]] };

describe.skipIf(!compares)("Authenticode equals osslsigncode's for", () => {
  test.each(shapes)("%s", (_name, shape) => {
    const kernel = kernelOf(shape);
    expect(toHex(authenticodeSha384(kernel))).toBe(independentDigest(written(kernel)));
  });

  test.each([{}, { plus: false }, { size: 0x3005 }, trailing])(
    "a signed file, whose digest is that without the signature: %j",
    (shape: KernelShape) => {
      const file = written(kernelOf(shape));
      expect(toHex(authenticodeSha384(new Uint8Array(readFileSync(signed(file)))))).toBe(independentDigest(file));
    },
  );

  test.skipIf(real === undefined)("a real kernel, as it is and as loaded", () => {
    const path = real ?? "";
    const kernel = new Uint8Array(readFileSync(path));
    expect(toHex(authenticodeSha384(kernel))).toBe(independentDigest(path));
    const input = { memorySize: 4294967296n, initrdSize: 0x2345678 };
    const patched = kernel.slice();
    patched.set(patchedHead(kernel, input));
    expect(toHex(kernelDigest(kernel, input))).toBe(independentDigest(written(patched)));
  });
});
