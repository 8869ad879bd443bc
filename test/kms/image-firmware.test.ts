/** MRTD from firmware: each field of the TDX metadata, each way to be wrong, and the hash beside a plain transcription of its rule. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { mrtdOf } from "../../kms/attestation/image/mrtd.ts";
import { sha384 } from "../../kms/attestation/image/registers.ts";
import { buildTdHob, encodeHobWitness, parseHobWitness } from "../../kms/attestation/image/td-hob.ts";
import { hobWitnessOf, parseTdvf } from "../../kms/attestation/image/tdvf.ts";
import { concat, fromHex, toHex, utf8 } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import { foundImageFiles } from "../../scripts/dev/image-files.ts";
import {
  type FirmwareShape,
  firmwareOf,
  guidEntry,
  metadataGuid,
  type SectionFields,
  u32,
  u64,
  usualSections,
} from "../support/launch-files.ts";

const changed = (index: number, change: Partial<SectionFields>): FirmwareShape => ({
  sections: usualSections.map((section, at) => (at === index ? { ...section, ...change } : section)),
});
const mib = 1024 * 1024;
const measuredLater = (place: bigint): SectionFields => ({
  ...{ dataOffset: 0, rawSize: 8 * mib, address: place << 32n, memorySize: BigInt(8 * mib), type: 0, attributes: 3 },
});
const usualWitness = "80100904000609020b021010";

/** The definition, chunk by chunk, sharing nothing with the product. */
function plainMrtd(firmware: Uint8Array, sections: readonly SectionFields[], twoPass: boolean): string {
  const hash = createHash("sha384");
  const block = (name: string, address: bigint) =>
    hash.update(concat(utf8(name.padEnd(16, "\0")), u64(address), new Uint8Array(104)));
  for (const { address, memorySize, dataOffset, attributes } of sections) {
    const pages = Array.from({ length: Number(memorySize / 4096n) }, (_, index) => index);
    const add = (page: number) => {
      if ((attributes & 2) === 0) block("MEM.PAGE.ADD", address + BigInt(page) * 4096n);
    };
    const extend = (page: number) => {
      if ((attributes & 1) === 0) return;
      for (let chunk = 0; chunk < 4096; chunk += 256) {
        block("MR.EXTEND", address + BigInt(page * 4096 + chunk));
        hash.update(firmware.subarray(dataOffset + page * 4096 + chunk, dataOffset + page * 4096 + chunk + 256));
      }
    };
    if (twoPass) {
      pages.forEach(add);
      pages.forEach(extend);
    } else {
      for (const page of pages) {
        add(page);
        extend(page);
      }
    }
  }
  return hash.digest("hex");
}

describe("MRTD", () => {
  test.each<[string, FirmwareShape]>([
    ["the usual sections", {}],
    ["two measured sections", changed(1, { attributes: 1 })],
    ["pages that come later", changed(2, { attributes: 2 })],
    ["a measured section of pages that come later", changed(0, { attributes: 3 })],
    ["sections in another order", { sections: usualSections.toReversed() }],
    ["no sections", { sections: [] }],
  ])("of %s is what its definition says, in both orders", (_name, shape) => {
    const firmware = firmwareOf(shape);
    const sections = shape.sections ?? usualSections;
    const tdvf = parseTdvf(firmware);
    expect(toHex(mrtdOf(tdvf, "single-pass"))).toBe(plainMrtd(firmware, sections, false));
    expect(toHex(mrtdOf(tdvf, "two-pass"))).toBe(plainMrtd(firmware, sections, true));
  });

  test("does not take time for memory that comes later, however much", () => {
    const huge = firmwareOf(changed(2, { address: 0x1_0000_0000n, memorySize: 2n ** 51n, attributes: 2 }));
    const others = usualSections.filter((_, index) => index !== 2);
    expect(toHex(mrtdOf(parseTdvf(huge), "single-pass"))).toBe(plainMrtd(huge, others, false));
  });

  test("changes with each measured byte and place, and with nothing else of the file", () => {
    const firmware = firmwareOf();
    const digest = (bytes: Uint8Array) => toHex(mrtdOf(parseTdvf(bytes), "single-pass"));
    const flip = (offset: number) => firmware.map((byte, index) => (index === offset ? byte ^ 1 : byte));
    expect(digest(flip(0x2000))).not.toBe(digest(firmware));
    expect(digest(flip(0x9fff))).not.toBe(digest(firmware));
    expect(digest(flip(0x1fff))).toBe(digest(firmware));
    expect(digest(firmwareOf(changed(5, { address: 0x7f0000n })))).not.toBe(digest(firmware));
  });

  const debian = foundImageFiles()?.firmware;
  test.skipIf(debian === undefined)(
    "of Debian's OVMF is what its definition says, and its HOB is that of today's firmware",
    () => {
      const firmware = new Uint8Array(readFileSync(debian ?? ""));
      const tdvf = parseTdvf(firmware);
      const sections = tdvf.sections.map((section) => ({
        ...section,
        attributes: (section.extended ? 1 : 0) + (section.augmented ? 2 : 0),
      }));
      expect(toHex(mrtdOf(tdvf, "single-pass"))).toBe(plainMrtd(firmware, sections, false));
      expect(toHex(mrtdOf(tdvf, "two-pass"))).toBe(plainMrtd(firmware, sections, true));
      expect(toHex(encodeHobWitness(hobWitnessOf(tdvf)))).toBe(usualWitness);
    },
  );
});

describe("TDX metadata is refused:", () => {
  const entry = (length?: number) => guidEntry(u32(0x1d0), metadataGuid, length);
  test.each<[string, FirmwareShape | Uint8Array, RegExp]>([
    ["an empty file", new Uint8Array(0), /need a GUID table/],
    ["a file of 49 bytes", new Uint8Array(49), /need a GUID table/],
    ["a file of 50 bytes", new Uint8Array(50), /no GUID table/],
    ["a file larger than firmware is", new Uint8Array(64 * 1024 * 1024 + 1), /at most 67108864/],
    ["a TDX entry of five bytes", { entries: [guidEntry(new Uint8Array(5), metadataGuid)] }, /4 bytes, have 5/],
    ["another footer", { footerGuid: metadataGuid }, /no GUID table/],
    ["a table shorter than its footer", { tableLength: 17 }, /GUID table of 17/],
    ["a table longer than the file", { tableLength: 0xffff }, /GUID table of 65535/],
    ["a table that begins within an entry", { tableLength: 22 + 18 + 5 }, /entry of/],
    [
      "an entry of no length, which would go round for ever",
      { entries: [entry(), guidEntry(u32(0), metadataGuid, 0)] },
      /entry of 0/,
    ],
    ["an entry shorter than its end", { entries: [entry(17)] }, /entry of 17/],
    ["an entry longer than the table", { entries: [entry(23)] }, /entry of 23/],
    ["no TDX entry", { entries: [] }, /have 0/],
    ["two TDX entries", { entries: [entry(), entry()] }, /have 2/],
    ["a TDX entry of three bytes", { entries: [guidEntry(Uint8Array.of(1, 2, 3), metadataGuid)] }, /4 bytes, have 3/],
    ["a descriptor before the file", { entries: [guidEntry(u32(0xa001), metadataGuid)] }, /40961 bytes before/],
    ["a descriptor past the end", { entries: [guidEntry(u32(8), metadataGuid)] }, /signature|need 4 bytes/],
    ["no signature", { signature: "TDVX" }, /signature/],
    ["another version", { version: 2 }, /version: need 1, have 2/],
    ["more sections than the descriptor has room for", { count: 7 }, /length: need 240/],
    ["thousands of sections", { count: 0xffffffff }, /at most 64/],
    ["a length of its own", { length: 209 }, /length: need 208/],
    ["an address within a page", changed(0, { address: 0xffff6001n }), /section 0: not whole pages/],
    ["half a page", changed(2, { memorySize: 0x800n }), /section 2: not whole pages/],
    ["more file than memory", changed(1, { rawSize: 0x2001 }), /8193 bytes of file for 8192/],
    ["less measured file than memory", changed(0, { rawSize: 0x7fff }), /measured, but/],
    ["bytes behind the file", changed(0, { dataOffset: 0x2001 }), /outside the file/],
    ["bytes behind 4 GiB", changed(1, { dataOffset: 0xffffffff }), /outside the file/],
    ["an address over 52 bits", changed(2, { address: 2n ** 52n }), /52 bits/],
    ["an address that wraps round", changed(2, { address: 2n ** 64n - 4096n }), /52 bits/],
    ["an unknown attribute", changed(2, { attributes: 4 }), /unknown attributes 0x4/],
    ["sections that overlap", changed(3, { address: 0x80f000n }), /overlap at 0x810000/],
    ["two sections at one place", changed(3, { address: 0x810000n }), /overlap at 0x810000/],
    [
      "the same bytes of the file measured over and over, in pages that come later",
      { size: 8 * mib, sections: Array.from({ length: 33 }, (_, at) => measuredLater(BigInt(at))) },
      /at most 65536 pages/,
    ],
    ["memory that takes hours to add", changed(2, { address: 0x1_0000_0000n, memorySize: 2n ** 48n }), /at most 65536 pages/],
  ])("%s", (_name, shape, message) => {
    const firmware = shape instanceof Uint8Array ? shape : firmwareOf(shape);
    expect(() => parseTdvf(firmware)).toThrow(
      expect.objectContaining({ code: "malformed.firmware", message: expect.stringMatching(message) }),
    );
  });

  test("two TD HOB sections, as loaders differ in which one counts", () => {
    const tdvf = parseTdvf(firmwareOf(changed(3, { type: 2 })));
    expect(() => hobWitnessOf(tdvf)).toThrow(expect.objectContaining({ code: "malformed.firmware" }));
  });

  test("random changes, without another error and without delay", () => {
    const firmware = firmwareOf();
    const offsets = fc.integer({ min: firmware.length - 0x1e0, max: firmware.length - 1 });
    fc.assert(
      fc.property(fc.array(fc.tuple(offsets, fc.integer({ min: 0, max: 255 })), { maxLength: 6 }), (changes) => {
        const bytes = firmware.slice();
        for (const [offset, value] of changes) bytes[offset] = value;
        try {
          const tdvf = parseTdvf(bytes);
          mrtdOf(tdvf, "two-pass");
          encodeHobWitness(hobWitnessOf(tdvf));
        } catch (error) {
          expect(error).toBeInstanceOf(KmsError);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("TDX metadata is taken:", () => {
  const tdx = guidEntry(u32(0x100 + 16 + 32 * usualSections.length), metadataGuid);
  const later = (fields: Partial<SectionFields>): SectionFields => ({
    ...{ dataOffset: 0, rawSize: 0, address: 0x1_0000_0000n, memorySize: 0x1000n, type: 3, attributes: 0 },
    ...fields,
  });
  test.each<[string, FirmwareShape]>([
    ["an entry without data", { entries: [guidEntry(new Uint8Array(0), "00".repeat(16)), tdx] }],
    ["64 sections", { sections: Array.from({ length: 64 }, (_, at) => later({ address: BigInt(at) * 4096n })) }],
    ["a place in the file for no bytes", changed(2, { dataOffset: 0xffffffff })],
    ["memory up to the last address", changed(2, { address: 2n ** 51n, memorySize: 2n ** 51n, attributes: 2 })],
    ["as many pages as are allowed", { sections: [later({ memorySize: 65536n * 4096n })] }],
  ])("%s", (_name, shape) => {
    expect(() => parseTdvf(firmwareOf(shape))).not.toThrow();
  });

  test("a section without memory, which overlaps nothing and is no range of the HOB", () => {
    const empty = later({ address: 0x810000n + 0x1000n, memorySize: 0n });
    const { accepted } = hobWitnessOf(parseTdvf(firmwareOf({ sections: [...usualSections, empty] })));
    expect(accepted).toHaveLength(4);
  });

  test("a descriptor at the very start of the file", () => {
    const length = 16 + 32 * usualSections.length;
    const firmware = firmwareOf({ entries: [guidEntry(u32(0xa000), metadataGuid)] });
    firmware.copyWithin(0, firmware.length - 0x100 - length, firmware.length - 0x100);
    expect(parseTdvf(firmware).sections).toHaveLength(6);
  });
});

describe("the TD HOB of firmware", () => {
  test.each([
    [2147483648n, "0b8772e5b0b41b83e6044a68397e02f49fb47066b4fbe4917ea2c45c64f323fdacbb37948f821ebaf8bc9c938ba8a749"],
    [2952790016n, "8eb1a02074362aa0761541cdb4dc3f1788dfeb4538803b241477848e26de294dbe917ab56c5628732679b3abc168c2de"],
    [4294967296n, "5b684faf8d02a733945f821d9cdd170802e72103977acf66949c9382500283adc90cbec57f8e7653f8bee1cab83689de"],
    [68719476736n, "8ae1e425351df7992c444586eff99d35af3b779aa2b0e981cb4b73bc5b279f2ade19b6a62a203fc3c3bbdaae80af596d"],
  ])("with %i bytes of memory has the digest of real logs, from sections as from the witness", (memorySize, digest) => {
    expect(toHex(sha384(buildTdHob(hobWitnessOf(parseTdvf(firmwareOf())), memorySize)))).toBe(digest);
    expect(toHex(sha384(buildTdHob(parseHobWitness(fromHex(usualWitness, "witness")), memorySize)))).toBe(digest);
  });

  test("stands at a fixed place when no section says where", () => {
    const { hobAddress, accepted } = hobWitnessOf(parseTdvf(firmwareOf(changed(4, { type: 3 }))));
    expect([hobAddress, accepted.length]).toEqual([0x809000n, 4]);
  });

  test("is not made for more memory than addresses reach", () => {
    const witness = hobWitnessOf(parseTdvf(firmwareOf()));
    expect(() => buildTdHob(witness, 2n ** 52n)).not.toThrow();
    expect(() => buildTdHob(witness, 2n ** 52n + 1n)).toThrow(expect.objectContaining({ code: "malformed.vm-config" }));
  });
});

describe("the writer of the witness", () => {
  const range = (start: bigint, end: bigint) => ({ start, end });

  test("gives the published bytes, whatever the order of sections", () => {
    expect(toHex(encodeHobWitness(hobWitnessOf(parseTdvf(firmwareOf()))))).toBe(usualWitness);
    expect(toHex(encodeHobWitness(hobWitnessOf(parseTdvf(firmwareOf({ sections: usualSections.toReversed() })))))).toBe(
      usualWitness,
    );
  });

  test.each([
    ["an empty range", [range(0x1000n, 0x1000n)], /empty range at 0x1000/],
    ["ranges that overlap", [range(0x3000n, 0x5000n), range(0x1000n, 0x4000n)], /overlap at 0x3000/],
    ["a range within a page", [range(0x1000n, 0x1800n)], /no whole page/],
    [
      "more ranges than the reader takes",
      Array.from({ length: 65 }, (_, index) => range(BigInt(index) << 12n, BigInt(index + 1) << 12n)),
      /at most 64/,
    ],
  ])("refuses %s", (_name, accepted, message) => {
    expect(() => encodeHobWitness({ hobAddress: 0n, accepted })).toThrow(
      expect.objectContaining({ code: "malformed.vm-config", message: expect.stringMatching(message) }),
    );
  });

  test("writes what the reader reads", () => {
    const pages = fc.bigInt({ min: 0n, max: 2n ** 40n });
    fc.assert(
      fc.property(pages, fc.uniqueArray(pages, { maxLength: 64 }), (hob, starts) => {
        const sorted = starts.toSorted((a, b) => (a < b ? -1 : 1));
        const accepted = sorted.map((start) => range(start * 4096n, (start + 1n) * 4096n));
        const witness = { hobAddress: hob * 4096n, accepted };
        expect(parseHobWitness(encodeHobWitness(witness))).toEqual(witness);
      }),
    );
  });
});
