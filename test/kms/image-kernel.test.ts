/** The kernel's digest: what QEMU's loader writes into the header, and Authenticode beside an independent tool's. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { authenticodeSha384 } from "../../kms/attestation/image/authenticode.ts";
import { kernelDigest, type LoaderInput, patchedHead } from "../../kms/attestation/image/kernel.ts";
import { toHex } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import { foundImageFiles } from "../../scripts/dev/image-files.ts";
import { foundSigningTool } from "../../scripts/dev/signing-tool.ts";
import { type KernelShape, kernelOf, noise, u16, u32 } from "../support/launch-files.ts";

const GiB = 1073741824n;
const split = 0xb0000000n;
const initrdSize = 0x100000;
const patchedKernel = (kernel: Uint8Array, input: LoaderInput): Uint8Array => {
  const patched = kernel.slice();
  patched.set(patchedHead(kernel, input));
  return patched;
};
const load = (shape: KernelShape, memorySize = 2n * GiB) => patchedKernel(kernelOf(shape), { memorySize, initrdSize });
const u32At = (bytes: Uint8Array, offset: number) => Buffer.from(bytes).readUInt32LE(offset);

describe("the loader's changes", () => {
  test.each([
    [2n * GiB - 4096n, 0x7fed6000],
    [2n * GiB, 0x7fed7000],
    [split - 4096n, 0xafed6000],
    [split, 0x7fed7000],
    [split + GiB, 0x7fed7000],
    [64n * GiB, 0x7fed7000],
  ])("with %i bytes of memory put the initrd at the published address", (memorySize, address) => {
    const patched = load({ protocol: 0x20c, xloadFlags: 0x40, size: 0x3000 }, memorySize);
    expect([u32At(patched, 0x218), u32At(patched, 0x21c)]).toEqual([address, initrdSize]);
  });

  test.each<[string, KernelShape, Record<number, Uint8Array>]>([
    [
      "protocol 2.15",
      {},
      { 528: Uint8Array.of(0xb0, 0x81), 536: u32(0x7fed7000), 540: u32(initrdSize), 548: u32(0xfe00), 552: u32(0x20000) },
    ],
    [
      "a kernel that loads low",
      { loadFlags: 0 },
      { 528: Uint8Array.of(0xb0, 0x80), 536: u32(0x7fed7000), 540: u32(initrdSize), 548: u32(0x9e00), 552: u32(0x9a000) },
    ],
    [
      "protocol 2.01",
      { protocol: 0x201 },
      {
        32: u16(0xa33f),
        34: u16(0x10000),
        528: Uint8Array.of(0xb0, 0x81),
        536: u32(0x37eff000),
        540: u32(initrdSize),
        548: u32(0xfe00),
      },
    ],
    [
      "protocol 2.00",
      { protocol: 0x200, loadFlags: 0 },
      { 32: u16(0xa33f), 34: u16(0xa000), 528: Uint8Array.of(0xb0, 0), 536: u32(0x37eff000), 540: u32(initrdSize) },
    ],
  ])("for %s are these and no others", (_name, shape, changes) => {
    const expected = kernelOf(shape);
    for (const [offset, bytes] of Object.entries(changes)) expected.set(bytes, Number(offset));
    expect(Buffer.compare(load(shape), expected)).toBe(0);
  });

  test.each<[string, KernelShape, number]>([
    ["2.12 that reaches over 4 GiB", { protocol: 0x20c, xloadFlags: 0x40 }, 0x7fed7000],
    ["2.12 that does not", { protocol: 0x20c, xloadFlags: 0x3f }, 0x37eff000],
    ["2.11 with a limit", { protocol: 0x20b, initrdMax: 0x1fffffff }, 0x1fef_f000],
    ["2.11 without", { protocol: 0x20b, initrdMax: 0 }, 0x37eff000],
    ["2.03 with a limit above memory", { protocol: 0x203, initrdMax: 0xffffffff }, 0x7fed7000],
    ["2.02", { protocol: 0x202, initrdMax: 0x1fffffff }, 0x37eff000],
  ])("keep the initrd in reach of protocol %s", (_name, shape, address) => {
    expect(u32At(load(shape), 0x218)).toBe(address);
  });

  test("leave the input as it was", () => {
    const kernel = kernelOf();
    patchedKernel(kernel, { memorySize: 2n * GiB, initrdSize });
    expect(Buffer.compare(kernel, kernelOf())).toBe(0);
  });

  test.each<[string, Uint8Array, bigint, number, string]>([
    ["4095 bytes", new Uint8Array(4095), 2n * GiB, 1, "malformed.kernel"],
    ["no boot header", kernelOf().map((byte, index) => (index === 0x202 ? 0 : byte)), 2n * GiB, 1, "malformed.kernel"],
    ["a protocol without initrd", kernelOf({ protocol: 0x1ff }), 2n * GiB, 1, "malformed.kernel"],
    ["an initrd as large as memory", kernelOf(), 2n * GiB, 0x7ffd7fff, "malformed.kernel"],
    ["no memory but for ACPI", kernelOf(), 0x28000n, 1, "malformed.vm-config"],
    ["no memory", kernelOf(), 0n, 1, "malformed.vm-config"],
  ])("are refused for %s", (_name, kernel, memorySize, size, code) => {
    expect(() => kernelDigest(kernel, { memorySize, initrdSize: size })).toThrow(expect.objectContaining({ code }));
  });

  test("allow the largest initrd that fits", () => {
    const patched = patchedKernel(kernelOf(), { memorySize: 2n * GiB, initrdSize: 0x7ffd7ffe });
    expect(u32At(patched, 0x218)).toBe(0);
  });

  test("are measured as if they were in the file", () => {
    for (const size of [0x3000, 0x3003, 0x1000]) {
      const kernel = kernelOf(size === 0x1000 ? { size, sections: [[0xf00, 0x100]], sizeOfHeaders: 0xf00 } : { size });
      const input = { memorySize: 2n * GiB, initrdSize };
      expect(toHex(kernelDigest(kernel, input))).toBe(toHex(authenticodeSha384(patchedKernel(kernel, input))));
    }
  });

  test("do not depend on memory from 2 GiB on, but just below the split and below 2 GiB they do", () => {
    const digest = (memorySize: bigint) => toHex(kernelDigest(kernelOf(), { memorySize, initrdSize }));
    expect(digest(split)).toBe(digest(2n * GiB));
    expect(digest(1024n * GiB)).toBe(digest(2n * GiB));
    expect(digest(GiB)).not.toBe(digest(2n * GiB));
    expect(digest(split - 4096n)).not.toBe(digest(2n * GiB));
  });
});

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
    const input = { memorySize: 4n * GiB, initrdSize: 0x2345678 };
    expect(toHex(kernelDigest(kernel, input))).toBe(independentDigest(written(patchedKernel(kernel, input))));
  });
});

describe("Authenticode", () => {
  test("leaves out the checksum, the place of certificates, and certificates", () => {
    const kernel = kernelOf({ size: 0x3800, certificates: 0x800, sections: [[0x1000, 0x2000]] });
    const digest = toHex(authenticodeSha384(kernel));
    const optional = 0x40 + 24;
    const flip = (offset: number) => toHex(authenticodeSha384(kernel.map((byte, index) => (index === offset ? byte ^ 1 : byte))));
    for (const offset of [optional + 64, optional + 67, optional + 144, 0x3000, 0x37ff]) expect(flip(offset)).toBe(digest);
    for (const offset of [2, optional + 59, optional + 68, optional + 143, optional + 152, 0xfff, 0x1000, 0x2fff]) {
      expect(flip(offset)).not.toBe(digest);
    }
  });

  test("covers what stands between the last section and the certificates, and nothing behind it without any", () => {
    const sections = [[0x1000, 0x1000]] as const;
    const flip = (shape: KernelShape) => {
      const kernel = kernelOf({ sections, ...shape });
      return [kernel, kernel.map((byte, index) => (index === 0x2001 ? byte ^ 1 : byte))].map((bytes) =>
        toHex(authenticodeSha384(bytes)),
      );
    };
    const [with1, with2] = flip({ certificates: 0x800 });
    expect(with1).not.toBe(with2);
    const [without1, without2] = flip({});
    expect(without1).toBe(without2);
  });

  test("needs no entry for certificates", () => {
    expect(() => authenticodeSha384(kernelOf({ directories: 4 }))).not.toThrow();
  });

  test("takes time by the size of the file, whatever its sections say", () => {
    const overlapping = Array.from({ length: 6 }, () => [0x1000, 0x2000] as const);
    expect(() => authenticodeSha384(kernelOf({ sections: overlapping, directories: 4 }))).toThrow(/bytes are taken/);
  });

  test.each<[string, Uint8Array]>([
    ["nothing", new Uint8Array(0)],
    ["no MZ", noise(0x1000)],
    ["a PE header behind the file", kernelOf().map((byte, index) => (index === 0x3f ? 0xff : byte))],
    ["no PE signature", kernelOf().map((byte, index) => (index === 0x40 ? 0 : byte))],
    ["another optional header", kernelOf().map((byte, index) => (index === 0x58 ? 0 : byte))],
    ["headers longer than the file", kernelOf({ sizeOfHeaders: 0x3001 })],
    ["headers that end before the fields", kernelOf({ sizeOfHeaders: 0x58 + 68 })],
    ["a section behind the file", kernelOf({ sections: [[0x3001, 1]] })],
    ["a section over the headers", kernelOf({ sections: [[0xfff, 0x10]] })],
    ["a table of sections behind the file", kernelOf().map((byte, index) => (index === 0x46 || index === 0x47 ? 0xff : byte))],
  ])("refuses %s", (_name, file) => {
    expect(() => authenticodeSha384(file)).toThrow(expect.objectContaining({ code: "malformed.kernel" }));
  });

  test("ends in a digest or a refusal, whatever the header holds", () => {
    const kernel = kernelOf();
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(0x23f), fc.nat(255)), { maxLength: 8 }), (changes) => {
        const bytes = kernel.slice();
        for (const [offset, value] of changes) bytes[offset] = value;
        try {
          expect(kernelDigest(bytes, { memorySize: 2n * GiB, initrdSize })).toHaveLength(48);
        } catch (error) {
          expect(error).toBeInstanceOf(KmsError);
        }
      }),
      { numRuns: 300 },
    );
  });
});
