/** Archives of OS images: what is unpacked from good ones, and each way in which a bad one is refused before it can do harm. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { packTar } from "modern-tar";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readTar, type TarLimits } from "../../kms/attestation/image/archive-tar.ts";
import { unpackImage } from "../../kms/attestation/image/archive-unpack.ts";
import { concat, utf8 } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import {
  archiveOf,
  imageHashOf,
  manifestText,
  metadataText,
  paxRecords,
  type RawEntry,
  rawEntry,
  rawTar,
  smallImage,
  tarEnd,
} from "../support/image-archive.ts";
import { noise } from "../support/launch-files.ts";

const limits: TarLimits = { entries: 40, fileBytes: 1_000_000, totalBytes: 2_000_000 };
const image = smallImage();
const osImageHash = imageHashOf(image);
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kms-archive-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function* pieces(bytes: Uint8Array, size = 700): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function filesOf(tar: Uint8Array, size?: number): Promise<[string, Uint8Array][]> {
  const files: [string, Uint8Array][] = [];
  for await (const { path, content } of readTar(pieces(tar, size), limits)) {
    const parts: Uint8Array[] = [];
    for await (const part of content) parts.push(part.slice());
    files.push([path.join("/"), concat(...parts)]);
  }
  return files;
}

function unpack(bytes: Uint8Array, change: { hash?: Uint8Array; limits?: Partial<TarLimits>; isPlain?: boolean } = {}) {
  const archive = { bytes: pieces(bytes), isPlain: change.isPlain ?? false };
  const hash = change.hash ?? osImageHash;
  return unpackImage({ archive, folder, osImageHash: hash, limits: { ...limits, ...change.limits }, signal: undefined });
}

const unpacked = () => readdirSync(folder, { recursive: true }).map(String).sort();
const ours = Object.keys(image).sort();

describe("a good archive", () => {
  test("leaves the listed files and the manifest, byte for byte, for their owner only", async () => {
    await unpack(archiveOf(image));
    expect(unpacked()).toEqual(ours);
    for (const name of ours) expect(new Uint8Array(readFileSync(join(folder, name)))).toEqual(image[name]);
  });

  test.each<[string, RawEntry[]]>([
    ["a root file system that is not listed", [{ name: "./rootfs.img", content: noise(3000) }]],
    [
      "a folder with a file",
      [
        { name: "deeper/", type: "5" },
        { name: "deeper/bzImage", content: "other" },
      ],
    ],
    ["a folder named as old writers do", [{ name: "deeper/", magic: "" }]],
    ["an extended header of times", [{ name: "x", type: "x", content: paxRecords({ mtime: "1.5", "SCHILY.xattr.user": "a" }) }]],
    ["a global header with a comment", [{ name: "g", type: "g", content: paxRecords({ comment: "made by git" }) }]],
    ["a prefix that only deeper files have", [{ name: "bzImage", prefix: "deeper", content: "other" }]],
    ["times where others have a prefix", [{ name: "notes", magic: "ustar  \0", prefix: "14000000000", content: "x" }]],
  ])("may hold %s, of which nothing stays", async (_name, more) => {
    await unpack(archiveOf(image, more));
    expect(unpacked()).toEqual(ours);
  });

  test("may be of several gzip members, and may be uncompressed by the transfer", async () => {
    const tar = rawTar(...Object.entries(image).map(([name, content]) => ({ name, content })));
    const half = 1000;
    await unpack(concat(gzipSync(tar.subarray(0, half)), gzipSync(tar.subarray(half))));
    rmSync(folder, { recursive: true });
    mkdirSync(folder);
    await unpack(tar, { isPlain: true });
    expect(unpacked()).toEqual(ours);
  });

  test("may come from two other writers", async () => {
    const entries = Object.entries(image).map(([name, body]) => ({ header: { name, size: body.length, mode: 0o777 }, body }));
    await unpack(new Uint8Array(gzipSync(await packTar(entries))));
    expect(unpacked()).toEqual(ours);
    const made = join(folder, "..", `${folder.split("/").at(-1)}.tar.gz`);
    execFileSync("tar", ["-czf", made, "-C", folder, "."]);
    const bytes = new Uint8Array(readFileSync(made));
    rmSync(made);
    rmSync(folder, { recursive: true });
    mkdirSync(folder);
    await unpack(bytes);
    expect(unpacked()).toEqual(ours);
  });

  test("is read the same in pieces of any size", async () => {
    const tar = rawTar({ name: "a", content: noise(1300) }, { name: "./b/./c", content: "" }, { name: "d", content: noise(512) });
    const expected = await filesOf(tar, tar.length);
    expect(expected.map(([name, content]) => [name, content.length])).toEqual([["a", 1300], ["b/c", 0], ["d", 512]]); // biome-ignore format: a table
    for (const size of [1, 7, 511, 512, 513, 5000]) expect(await filesOf(tar, size)).toEqual(expected);
  });
});

const file = { name: "kernel", content: "bytes" };

describe("an archive is refused", () => {
  test.each<[string, Uint8Array, RegExp]>([
    ["with a symbolic link", rawTar({ name: "bzImage", type: "2", link: "/etc/passwd" }), /symbolic link/],
    ["with a hard link", rawTar(file, { name: "bzImage", type: "1", link: "kernel" }), /hard link/],
    ["with a character device", rawTar({ name: "null", type: "3" }), /character device/],
    ["with a block device", rawTar({ name: "sda", type: "4" }), /block device/],
    ["with a pipe", rawTar({ name: "pipe", type: "6" }), /pipe/],
    ["with a sparse file", rawTar({ name: "sparse", type: "S" }), /sparse/],
    ["with a long name", rawTar({ name: "././@LongLink", type: "L", content: "../x" }, file), /more than 100 bytes/],
    ["with a type nobody knows", rawTar({ name: "a", type: "Z" }), /another type/],
    ["with a contiguous file", rawTar({ name: "a", type: "7" }), /another type/],
    ["with an absolute path", rawTar({ name: "/etc/cron.d/x", content: "x" }), /absolute/],
    ["with an absolute path in a prefix", rawTar({ name: "x", prefix: "/etc", content: "x" }), /absolute/],
    ["with a path out of it", rawTar({ name: "../x", content: "x" }), /leads out/],
    ["with a path out of it, deeper", rawTar({ name: "a/../../x", content: "x" }), /leads out/],
    ["with a path out of it in a prefix", rawTar({ name: "x", prefix: "..", content: "x" }), /leads out/],
    ["with a folder out of it", rawTar({ name: "../", type: "5" }), /leads out/],
    ["with a file without a name", rawTar({ name: "", content: "x" }), /without a name/],
    ["with a file named as its root", rawTar({ name: ".", content: "x" }), /without a name/],
    ["with a folder of five bytes", rawTar({ name: "a/", type: "5", content: "bytes" }), /directory with content/],
    [
      "with a path in an extended header",
      rawTar({ name: "x", type: "x", content: paxRecords({ path: "../x" }) }, file),
      /sets path/,
    ],
    [
      "with a size in an extended header",
      rawTar({ name: "x", type: "x", content: paxRecords({ size: "1" }) }, file),
      /sets size/,
    ],
    ["with a path for all", rawTar({ name: "g", type: "g", content: paxRecords({ path: "a" }) }, file), /sets path/],
    ["with sparse records", rawTar({ name: "x", type: "x", content: paxRecords({ "GNU.sparse.name": "a" }) }, file), /sparse/],
    ["with a record of a wrong length", rawTar({ name: "x", type: "x", content: "99 a=b\n" }, file), /extended header/],
    ["with a record of length zero", rawTar({ name: "x", type: "x", content: "0 a=b\n" }, file), /extended header/],
    ["with a record without its end", rawTar({ name: "x", type: "x", content: "6 a=bc" }, file), /extended header/],
    [
      "with a huge extended header",
      rawTar({ name: "x", type: "x", content: noise(70_000) }, file),
      /extended header: need at most/,
    ],
    ["with a wrong checksum", rawTar({ ...file, checksumError: 1 }), /checksum/],
    ["with a size that is no number", rawTar({ ...file, size: "0000000000x\0" }), /octal size/],
    [
      "with a size in another base",
      rawTar({ ...file, size: "\u0080\0\0\0\0\0\0\0\0\0\0\u0005" }),
      /octal size|not UTF-8|checksum/,
    ],
    ["with a size over the limit", rawTar({ ...file, size: "77777777777\0" }), /need at most 1000000 bytes, have 8589934591/],
    ["with a name that is no text", rawEntryWith(0, 0xff), /not UTF-8|checksum/],
    ["with a file twice", rawTar(file, file), /twice/],
    ["with a name that no manifest can list", rawTar({ name: "a*b", content: "x" }), /no manifest/],
    ["that ends in a header", rawEntry(file).subarray(0, 300), /ends early in header/],
    ["that ends in a file", rawEntry({ ...file, content: noise(2000) }).subarray(0, 900), /ends early in kernel/],
    ["that has no end", rawEntry(file), /ends early in header/],
    ["that has half an end", concat(rawEntry(file), tarEnd.subarray(0, 512)), /ends early in end/],
    ["that goes on after half an end", concat(rawEntry(file), tarEnd.subarray(0, 512), rawTar(file)), /one empty block/],
    ["that goes on after its end", concat(rawTar(file), rawTar({ name: "other", content: "x" })), /bytes behind its end/],
    ["that is followed by zeros without end", concat(rawTar(file), new Uint8Array(1_100_000)), /bytes behind its end/],
    ["of more entries than there may be", rawTar(...Array.from({ length: 41 }, (_, at) => ({ name: `f${at}` }))), /40 entries/],
    ["of more folders than there may be", rawTar(...Array.from({ length: 41 }, () => ({ name: "d/", type: "5" }))), /40 entries/],
    ["of nothing", new Uint8Array(0), /ends early/],
  ])("%s", async (_name, tar, message) => {
    await expect(unpack(new Uint8Array(gzipSync(tar)))).rejects.toMatchObject({
      code: "malformed.archive",
      message: expect.stringMatching(message),
    });
    expect(existsSync(join(folder, "..", "x"))).toBe(false);
  });

  test.each<[string, Uint8Array]>([
    ["that is no gzip", rawTar(file)],
    ["that is HTML", utf8("<html>not found</html>")],
    ["that is cut off", archiveOf(image).subarray(0, 2000)],
    ["that is damaged", archiveOf(image).map((byte, at) => (at === 3000 ? byte ^ 1 : byte))],
    ["with bytes behind its gzip", concat(archiveOf(image), utf8("more"))],
    ["of no bytes", new Uint8Array(0)],
  ])("%s", async (_name, bytes) => {
    await expect(unpack(bytes)).rejects.toMatchObject({ code: "malformed.archive" });
  });

  test("that is a bomb, when its limit is reached and not later", async () => {
    const bomb = rawTar({ name: "a", content: new Uint8Array(900_000) }, { name: "b", content: new Uint8Array(900_000) });
    const small = { totalBytes: 1_000_000 };
    await expect(unpack(new Uint8Array(gzipSync(bomb)), { limits: small })).rejects.toMatchObject({
      code: "malformed.archive",
      message: "archive: more than 1000000 bytes unpacked",
    });
    const written = unpacked().map((name) => readFileSync(join(folder, name)).length);
    expect(written.reduce((total, size) => total + size, 0)).toBeLessThanOrEqual(1_000_000);
  });
});

/** One byte of the header changed after its checksum was made. */
function rawEntryWith(offset: number, value: number): Uint8Array {
  const tar = rawTar(file);
  tar[offset] = value;
  return tar;
}

describe("an image is refused whose archive", () => {
  const { "sha256sum.txt": manifest = new Uint8Array(0), ...files } = image;
  const changedKernel = { ...image, bzImage: noise(100) };
  const rehashed = (change: Record<string, Uint8Array>) => smallImage(change);

  test.each<[string, Readonly<Record<string, Uint8Array>>, Uint8Array, string, RegExp]>([
    ["has no manifest", files, osImageHash, "malformed.os-image", /^sha256sum\.txt: not in the archive/],
    ["has a changed file", changedKernel, osImageHash, "malformed.os-image", /^bzImage mismatch: expected=[0-9a-f]{64}, actual=/],
    [
      "lacks a listed file",
      { ...files, "sha256sum.txt": manifest, bzImage: undefined as never },
      osImageHash,
      "malformed.os-image",
      /^bzImage: listed/,
    ],
    [
      "is of another image",
      rehashed({ bzImage: noise(9) }),
      osImageHash,
      "unavailable.os-image",
      /of another image: .* expected=[0-9a-f]{64}/,
    ],
  ])("%s", async (_name, content, hash, code, message) => {
    const present = Object.fromEntries(Object.entries(content).filter(([, bytes]) => bytes !== undefined));
    await expect(unpack(archiveOf(present), { hash })).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test.each<[string, Record<string, Uint8Array>, RegExp]>([
    [
      "names a kernel that is not listed",
      { "metadata.json": utf8(metadataText({ kernel: "vmlinuz" })) },
      /vmlinuz is not listed/,
    ],
    ["names a file elsewhere", { "metadata.json": utf8(metadataText({ kernel: "../bzImage" })) }, /plain file names/],
    ["has no command line", { "metadata.json": utf8(metadataText({ cmdline: undefined })) }, /need cmdline/],
    ["is of another firmware variant", { "metadata.json": utf8(metadataText({ ovmf_variant: "other" })) }, /ovmf_variant/],
    ["has metadata that is no JSON", { "metadata.json": utf8("{") }, /need cmdline/],
    ["has too much metadata", { "metadata.json": utf8(metadataText({ notes: "x".repeat(70_000) })) }, /need at most/],
  ])("%s", async (_name, change, message) => {
    const other = smallImage(change);
    await expect(unpack(archiveOf(other), { hash: imageHashOf(other) })).rejects.toMatchObject({
      code: "malformed.os-image",
      message: expect.stringMatching(message),
    });
  });

  test.each([
    ["does not list metadata.json", manifestText({ bzImage: files["bzImage"] ?? noise(1) })],
    ["has a manifest over its limit", "\n".repeat(70_000)],
  ])("%s", async (_name, text) => {
    const other = { ...files, "sha256sum.txt": utf8(text) };
    await expect(unpack(archiveOf(other), { hash: imageHashOf(other) })).rejects.toMatchObject({ code: "malformed.os-image" });
  });
});

test("random bytes and changed archives are read or refused, and never lead out of the folder", async () => {
  const tar = rawTar(
    { name: "a", content: noise(600) },
    { name: "x", type: "x", content: paxRecords({ mtime: "1" }) },
    { name: "b/c" },
  );
  const change = fc.tuple(fc.nat(tar.length - 1), fc.nat(255), fc.boolean());
  const changed = fc.array(change, { maxLength: 3 }).map((changes) => {
    const copy = tar.slice();
    for (const [at, value, isFixed] of changes) {
      copy[at] = value;
      if (isFixed) fixChecksum(copy, at - (at % 512));
    }
    return copy;
  });
  await fc.assert(
    fc.asyncProperty(fc.oneof(changed, fc.uint8Array({ maxLength: 2000 })), async (bytes) => {
      try {
        for (const [name] of await filesOf(bytes)) expect(name.split("/")).not.toContain("..");
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(KmsError);
      }
    }),
    { numRuns: 500 },
  );
});

/** So that a change of a header is looked at, and not only its checksum. */
function fixChecksum(tar: Uint8Array, start: number): void {
  if (start + 512 > tar.length) return;
  tar.set(utf8(" ".repeat(8)), start + 148);
  const sum = tar.subarray(start, start + 512).reduce((total, byte) => total + byte, 0);
  tar.set(utf8(`${sum.toString(8).padStart(6, "0")}\0 `), start + 148);
}

test("a folder that has something already is not written over", async () => {
  writeFileSync(join(folder, "bzImage"), "mine");
  await expect(unpack(archiveOf(image))).rejects.toMatchObject({ code: "EEXIST" });
  expect(readFileSync(join(folder, "bzImage"), "utf8")).toBe("mine");
});
