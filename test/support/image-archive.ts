/** OS image archives made to measure: a tar writer with every field open to change, and an image of small files in their real formats. */
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { concat, toHex, utf8 } from "../../kms/bytes.ts";
import { firmwareOf, kernelOf, noise } from "./launch-files.ts";

export interface RawEntry {
  readonly name: string;
  readonly content?: Uint8Array | string;
  readonly type?: string;
  readonly link?: string;
  readonly prefix?: string;
  /** Instead of the content's. */
  readonly size?: string;
  readonly magic?: string;
  /** Added to the right one. */
  readonly checksumError?: number;
}

const bytesOf = (content: Uint8Array | string): Uint8Array => (typeof content === "string" ? utf8(content) : content);

export function rawEntry(entry: RawEntry): Uint8Array {
  const content = bytesOf(entry.content ?? "");
  const header = new Uint8Array(512);
  const put = (offset: number, text: string) => header.set(utf8(text), offset);
  put(0, entry.name);
  put(100, "0000644\0");
  put(108, "0000000\0");
  put(116, "0000000\0");
  put(124, entry.size ?? `${content.length.toString(8).padStart(11, "0")}\0`);
  put(136, "00000000000\0");
  put(148, " ".repeat(8));
  put(156, entry.type ?? "0");
  put(157, entry.link ?? "");
  put(257, entry.magic ?? "ustar\u000000");
  put(345, entry.prefix ?? "");
  const sum = header.reduce((total, byte) => total + byte, 0) + (entry.checksumError ?? 0);
  put(148, `${sum.toString(8).padStart(6, "0")}\0 `);
  return concat(header, content, new Uint8Array((512 - (content.length % 512)) % 512));
}

export const tarEnd = new Uint8Array(1024);

export function rawTar(...entries: readonly RawEntry[]): Uint8Array {
  return concat(...entries.map(rawEntry), tarEnd);
}

/** Records of an extended header. */
export function paxRecords(records: Readonly<Record<string, string>>): string {
  return Object.entries(records)
    .map(([key, value]) => {
      const rest = ` ${key}=${value}\n`;
      const length = [1, 2, 3, 4]
        .map((digits) => digits + rest.length)
        .find((total) => String(total).length + rest.length === total);
      return `${length}${rest}`;
    })
    .join("");
}

/** The files of an image by name, `sha256sum.txt` among them. */
export type ImageContent = Readonly<Record<string, Uint8Array>>;

export const imageCmdline = "console=ttyS0 dstack.rootfs_hash=00ff";

export function metadataText(changes: Readonly<Record<string, unknown>> = {}): string {
  const names = { kernel: "bzImage", initrd: "initramfs.cpio.gz", bios: "ovmf.fd" };
  return JSON.stringify({ cmdline: imageCmdline, ...names, version: "0.0.1", is_dev: false, ...changes });
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(bytes).digest());
}

export function manifestText(files: Readonly<Record<string, Uint8Array>>): string {
  return Object.entries(files)
    .map(([name, bytes]) => `${toHex(sha256(bytes))}  ${name}\n`)
    .join("");
}

/** With the manifest that belongs to the files. */
export function smallImage(changes: Readonly<Record<string, Uint8Array>> = {}): ImageContent {
  const files = {
    "ovmf.fd": firmwareOf(),
    bzImage: kernelOf(),
    "initramfs.cpio.gz": noise(5000, 3),
    "metadata.json": utf8(metadataText()),
    ...changes,
  };
  return { ...files, "sha256sum.txt": utf8(manifestText(files)) };
}

export function imageHashOf(image: ImageContent): Uint8Array {
  return sha256(image["sha256sum.txt"] ?? new Uint8Array(0));
}

/** As `tar -cz .` in the image's folder would write it. */
export function archiveOf(image: ImageContent, more: readonly RawEntry[] = []): Uint8Array {
  const files = Object.entries(image).map(([name, content]) => ({ name: `./${name}`, content }));
  return new Uint8Array(gzipSync(rawTar({ name: "./", type: "5" }, ...files, ...more)));
}
