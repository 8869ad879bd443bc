/** The kernel's digest: what QEMU's loader writes into the header, and Authenticode as the firmware computes it. */
import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { authenticodeSha384 } from "../../kms/attestation/image/authenticode.ts";
import { kernelDigest, type LoaderInput, patchedHead } from "../../kms/attestation/image/kernel.ts";
import { toHex } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import { type KernelShape, kernelOf, u16, u32 } from "../support/launch-files.ts";

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
      "protocol 2.02",
      { protocol: 0x202 },
      { 528: Uint8Array.of(0xb0, 0x81), 536: u32(0x37eff000), 540: u32(initrdSize), 548: u32(0xfe00), 552: u32(0x20000) },
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
    ["2.03 with a limit at what ACPI leaves", { protocol: 0x203, initrdMax: 0x7ffd8000 }, 0x7fed7000],
    ["2.03 with a limit just below", { protocol: 0x203, initrdMax: 0x7ffd7000 }, 0x7fed7000],
    ["2.03 with a limit where ACPI is", { protocol: 0x203, initrdMax: 0x7fff0000 }, 0x7fed7000],
  ])("keep the initrd in reach of protocol %s", (_name, shape, address) => {
    expect(u32At(load(shape), 0x218)).toBe(address);
  });

  test("leave the input as it was", () => {
    const kernel = kernelOf();
    patchedKernel(kernel, { memorySize: 2n * GiB, initrdSize });
    expect(Buffer.compare(kernel, kernelOf())).toBe(0);
  });

  test.each<[string, Uint8Array, bigint, number, RegExp]>([
    ["4095 bytes", new Uint8Array(4095), 2n * GiB, 1, /^kernel: need 4096 to 536870912 bytes, have 4095$/],
    ["more than a kernel may have", new Uint8Array(512 * 1024 * 1024 + 1), 2n * GiB, 1, /have 536870913$/],
    ["no boot header", kernelOf().map((byte, index) => (index === 0x202 ? 0 : byte)), 2n * GiB, 1, /no Linux boot header/],
    ["a protocol without initrd", kernelOf({ protocol: 0x1ff }), 2n * GiB, 1, /at least 2.00 for an initrd, have 0x1ff/],
    ["an initrd as large as memory", kernelOf(), 2n * GiB, 0x7ffd7fff, /does not fit below 0x7ffd7fff/],
    ["no memory but for ACPI", kernelOf(), 0x28000n, 1, /^memory_size: need more than 163840, have 163840/],
    ["no memory", kernelOf(), 0n, 1, /^memory_size/],
  ])("are refused for %s", (_name, kernel, memorySize, size, message) => {
    const code = message.source.startsWith("^memory_size") ? "malformed.vm-config" : "malformed.kernel";
    expect(() => kernelDigest(kernel, { memorySize, initrdSize: size })).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });

  test("take a kernel of one page", () => {
    const kernel = kernelOf({ size: 0x1000, sections: [], sizeOfHeaders: 0x1000 });
    expect(() => kernelDigest(kernel, { memorySize: 2n * GiB, initrdSize })).not.toThrow();
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

/** What osslsigncode 2.9 gives for the same bytes; `image-kernel-process.test.ts` asks it anew where it is. */
const independent: [string, KernelShape, string][] = [
  ["PE32+", {}, "dfabd5cc380d975f3508c5e849498faba02b1c8607b01709b6eaaf44319ee93784126e16319d20d2f7839df16b3c8d97"],
  ["PE32", { plus: false }, "aa3e1f66f14b205479d353c754e4c5b8829baf0a6ec1574cfc35f0694f24ae5a98c1bef621caa6621e8de35a413aff94"],
  [
    "PE32+ of an odd size",
    { size: 0x3003 },
    "357d153b9c710d9d2ba2dc182109b52c9ef3d8dbd9a93a20b3f831b82c866e545bb6a5356edb513657ec4278ffe14e47",
  ],
  [
    "PE32 of an odd size",
    { size: 0x30ff, plus: false },
    "62e0693bb53ad91a1d92d48022f8e42f1d9764e89b7552244ad78a1031f4e14b4d1df7749b7553f62bee3ab47ac1da98",
  ],
  [
    "sections out of order",
    {
      sections: [
        [0x2000, 0x1000],
        [0x1000, 0x1000],
      ],
    },
    "c7dd3c079271eb27292dd6432b31f7d3eb7b48a236036ed1d6d4e432fcc5dab24e78d689dc4e163a9a9bd025c370986d",
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
    "dc8d67cc3d71312b19d0b8be03df57803c70283d093d25b09c7d2c7312213c9c62a171ef58ece0ac2b048abcdafc47c2",
  ],
];

test.each(independent)("Authenticode of %s is what another implementation gave", (_name, shape, digest) => {
  expect(toHex(authenticodeSha384(kernelOf(shape)))).toBe(digest);
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

  const optional = 0x40 + 24;
  const sha384 = (...parts: readonly Uint8Array[]) => {
    const hash = createHash("sha384");
    for (const part of parts) hash.update(part);
    return hash.digest("hex");
  };

  test.each([4, 5, 6, 16])("leaves out the entry for certificates where there is one: %i directories", (directories) => {
    const kernel = kernelOf({ directories, sections: [], sizeOfHeaders: 0x3000 });
    const security = optional + 112 + 32;
    const rest =
      directories > 4
        ? [kernel.subarray(optional + 68, security), kernel.subarray(security + 8)]
        : [kernel.subarray(optional + 68)];
    expect(toHex(authenticodeSha384(kernel))).toBe(sha384(kernel.subarray(0, optional + 64), ...rest));
  });

  test.each([
    [0x800, 0x2800],
    [0x1000, 0x2000],
    [0x1800, 0x2000],
    [0xffffffff, 0x2000],
  ])("with %i bytes of certificates covers the file up to %i", (certificates, end) => {
    const kernel = kernelOf({ sections: [[0x1000, 0x1000]] });
    const security = optional + 144;
    kernel.set(u32(certificates), security + 4);
    const parts = [
      kernel.subarray(0, optional + 64),
      kernel.subarray(optional + 68, security),
      kernel.subarray(security + 8, end),
    ];
    expect(toHex(authenticodeSha384(kernel))).toBe(sha384(...parts));
  });

  test.each<[string, Uint8Array]>([
    ["headers that end with the entry for certificates", kernelOf({ sections: [], sizeOfHeaders: optional + 152 })],
    [
      "headers that end with the checksum, and no entry",
      kernelOf({ directories: 4, sections: [], sizeOfHeaders: optional + 68 }),
    ],
    ["headers as long as the file", kernelOf({ sections: [], sizeOfHeaders: 0x3000 })],
    ["a section that begins at the end of the file", kernelOf({ sections: [[0x3000, 1]] })],
    ["a last header field that ends with the file", kernelOf({ sections: [[0, 0]], sizeOfHeaders: 0x110 }).slice(0, 0x110)],
  ])("takes %s", (_name, file) => {
    expect(() => authenticodeSha384(file)).not.toThrow();
  });

  test("reads fields from the head, too, up to its last byte", () => {
    const whole = kernelOf({ sections: [], sizeOfHeaders: 0x2000 });
    const file = whole.slice();
    file.fill(0xff, 0x3c, 0x40);
    file.set(u32(0x1000), optional + 60);
    expect(toHex(authenticodeSha384(file, whole.slice(0, optional + 64)))).toBe(toHex(authenticodeSha384(whole)));
    const moved = whole.slice();
    moved.fill(0xff, 0x3c, 0x40);
    expect(toHex(authenticodeSha384(moved, whole.slice(0, 0x40)))).toBe(toHex(authenticodeSha384(whole)));
  });

  test("takes time by the size of the file, whatever its sections say", () => {
    const overlapping = Array.from({ length: 6 }, () => [0x1000, 0x2000] as const);
    expect(() => authenticodeSha384(kernelOf({ sections: overlapping, directories: 4 }))).toThrow(/bytes are taken/);
  });

  const put = (offset: number, ...bytes: number[]) => {
    const kernel = kernelOf();
    kernel.set(bytes, offset);
    return kernel;
  };
  test.each<[string, Uint8Array, RegExp]>([
    ["nothing", new Uint8Array(0), /field at 0: the file has 0/],
    ["no MZ", put(1, 0), /no MZ/],
    ["a PE header behind the file", put(0x3f, 0xff), /field at 4278190144/],
    ["no PE signature", put(0x40, 0), /no PE signature/],
    ["another optional header", put(0x58, 0), /need 0x10b or 0x20b, have 0x200/],
    [
      "headers longer than the file",
      kernelOf({ sections: [], sizeOfHeaders: 0x3001 }),
      /headers of 12289 bytes: need 240 to 12288/,
    ],
    ["headers that end before the entry", kernelOf({ sections: [], sizeOfHeaders: 239 }), /headers of 239 bytes: need 240/],
    ["headers that end before the checksum does", kernelOf({ directories: 4, sections: [], sizeOfHeaders: 155 }), /need 156 to/],
    ["a section behind the file", kernelOf({ sections: [[0x3001, 1]] }), /begins at 12289 of 12288/],
    ["a section over the headers", kernelOf({ sections: [[0xfff, 0x10]] }), /begins at 4095, where 4096 bytes are taken/],
    ["a table of sections behind the file", put(0x46, 0xff, 0xff), /the file has 12288|bytes are taken/],
    [
      "a header field that ends behind the file",
      kernelOf({ sections: [[0, 0]], sizeOfHeaders: 0x10f }).slice(0, 0x10f),
      /field at 268/,
    ],
    ["more than a kernel may have", new Uint8Array(512 * 1024 * 1024 + 1), /at most 536870912/],
  ])("refuses %s", (_name, file, message) => {
    expect(() => authenticodeSha384(file)).toThrow(
      expect.objectContaining({ code: "malformed.kernel", message: expect.stringMatching(message) }),
    );
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
