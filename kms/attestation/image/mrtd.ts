/** MRTD: what the TDX module measures while QEMU adds the pages of the firmware (Intel TDX module, TDH.MEM.PAGE.ADD and TDH.MR.EXTEND). */
import { createHash, type Hash } from "node:crypto";
import { utf8 } from "../../bytes.ts";
import { PAGE_BYTES } from "./td-hob.ts";
import type { Tdvf, TdvfSection } from "./tdvf.ts";

/** Single pass: each page is added and measured. Two passes: all pages of a section are added before the first is measured. */
export type PageOrder = "single-pass" | "two-pass";

const passes: Readonly<Record<PageOrder, readonly { readonly add: boolean; readonly extend: boolean }[]>> = {
  "single-pass": [{ add: true, extend: true }],
  "two-pass": [
    { add: true, extend: false },
    { add: false, extend: true },
  ],
};

const PAGE = Number(PAGE_BYTES);
const BLOCK = 128;
const CHUNK = 256;
const ADDRESS_OFFSET = 16;

export function mrtdOf({ firmware, sections }: Tdvf, order: PageOrder): Uint8Array {
  const pages = new PageHash(firmware);
  // memory that only comes later may be large, and leaves no trace
  for (const section of sections.filter(({ augmented, extended }) => extended || !augmented)) {
    for (const { add, extend } of passes[order]) pages.each(section, add, extend);
  }
  return pages.digest();
}

/** Hashes page by page from two blocks made once: a call for each of the sixteen chunks would cost more than the hash. */
class PageHash {
  readonly #hash: Hash = createHash("sha384");
  readonly #firmware: Uint8Array;
  readonly #add = new Uint8Array(BLOCK);
  readonly #extend = new Uint8Array((PAGE / CHUNK) * (BLOCK + CHUNK));

  constructor(firmware: Uint8Array) {
    this.#firmware = firmware;
    this.#add.set(utf8("MEM.PAGE.ADD"));
    for (let at = 0; at < this.#extend.length; at += BLOCK + CHUNK) this.#extend.set(utf8("MR.EXTEND"), at);
  }

  each(section: TdvfSection, add: boolean, extend: boolean): void {
    const { address, memorySize, dataOffset } = section;
    for (let offset = 0; offset < Number(memorySize); offset += PAGE) {
      const at = address + BigInt(offset);
      if (add && !section.augmented) this.#addPage(at);
      if (extend && section.extended) this.#extendPage(at, dataOffset + offset);
    }
  }

  digest(): Uint8Array {
    return new Uint8Array(this.#hash.digest());
  }

  #addPage(address: bigint): void {
    new DataView(this.#add.buffer).setBigUint64(ADDRESS_OFFSET, address, true);
    this.#hash.update(this.#add);
  }

  #extendPage(address: bigint, dataOffset: number): void {
    const view = new DataView(this.#extend.buffer);
    for (let index = 0; index < PAGE / CHUNK; index++) {
      const block = index * (BLOCK + CHUNK);
      const from = dataOffset + index * CHUNK;
      view.setBigUint64(block + ADDRESS_OFFSET, address + BigInt(index * CHUNK), true);
      this.#extend.set(this.#firmware.subarray(from, from + CHUNK), block + BLOCK);
    }
    this.#hash.update(this.#extend);
  }
}
