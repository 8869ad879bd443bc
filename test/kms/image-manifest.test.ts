/** The two files that say what an image is: every line form of the manifest, every member of the metadata, random ones too. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isPlainName, parseManifest, parseMetadata, provenManifest } from "../../kms/attestation/image/manifest.ts";
import { toHex, utf8 } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import { imageHashOf, metadataText, sha256, smallImage } from "../support/image-archive.ts";

const hash = "ab".repeat(32);
const needed = `${hash}  metadata.json\n`;
const image = smallImage();
const manifest = parseManifest(image["sha256sum.txt"] ?? new Uint8Array(0));

describe("a manifest", () => {
  test.each([
    ["with blank lines", `\n${hash}  bzImage\n\n  \n${needed}\n`],
    ["without a last line feed", `${hash}  bzImage\n${needed.trimEnd()}`],
    ["with one space, with tabs, with spaces in front", ` ${hash} bzImage\n${hash}\t\tmetadata.json\n`],
    ["with upper-case hex", `${hash.toUpperCase()}  bzImage\n${needed}`],
    ["with line ends of another system", `${hash}  bzImage\r\n${hash}  metadata.json\r\n`],
  ])("%s is read", (_name, text) => {
    expect([...parseManifest(utf8(text))].map(([name, bytes]) => [name, toHex(bytes)])).toEqual([
      ["bzImage", hash],
      ["metadata.json", hash],
    ]);
  });

  test.each([
    ["a line of three fields", `${hash}  bz Image\n`],
    ["a line of a hash only", `${hash}\n`],
    ["a path", `${hash}  boot/bzImage\n`],
    ["a path from here", `${hash}  ./bzImage\n`],
    ["the parent folder", `${hash}  ..\n`],
    ["its own folder", `${hash}  .\n`],
    ["itself", `${hash}  sha256sum.txt\n`],
    ["a name twice", `${hash}  bzImage\n${"cd".repeat(32)}  bzImage\n`],
    ["a name in binary mode", `${hash} *bzImage\n`],
    ["an escaped name", `\\${hash}  bz\\\\Image\n`],
    ["a backslash", `${hash}  bz\\Image\n`],
    ["a control character", `${hash}  bz\u0007Image\n`],
    ["a zero byte", `${hash}  bz\0Image\n`],
    ["a name of 256 bytes", `${hash}  ${"a".repeat(256)}\n`],
    ["a hash of 31 bytes", `${"ab".repeat(31)}  bzImage\n`],
    ["a hash of 33 bytes", `${"ab".repeat(33)}  bzImage\n`],
    ["a hash that is no hex", `${"xy".repeat(32)}  bzImage\n`],
    ["the BSD form", `SHA256 (bzImage) = ${hash}\n`],
  ])("with %s is refused", (_name, line) => {
    expect(() => parseManifest(utf8(line + needed))).toThrow(expect.objectContaining({ code: "malformed.os-image" }));
  });

  test.each([
    ["that lists no metadata.json", utf8(`${hash}  bzImage\n`)],
    ["of nothing", new Uint8Array(0)],
    ["that is no text", Uint8Array.of(0xff, 0xfe)],
    ["of more than 64 KiB", utf8(needed + "\n".repeat(65_536))],
  ])("%s is refused", (_name, bytes) => {
    expect(() => parseManifest(bytes)).toThrow(expect.objectContaining({ code: "malformed.os-image" }));
  });

  test("may be as large, and its names as long, as the limits say", () => {
    const filled = needed + "\n".repeat(64 * 1024 - needed.length);
    expect(parseManifest(utf8(filled)).size).toBe(1);
    expect(() => parseManifest(utf8(`${filled}\n`))).toThrow(/need at most 65536 bytes, have 65537/);
    expect(parseManifest(utf8(`${hash}  ${"a".repeat(255)}\n${needed}`)).size).toBe(2);
    expect(() => parseManifest(utf8(`${hash}  ${"é".repeat(128)}\n${needed}`))).toThrow(/line 1: not the name/);
  });

  test("that is refused says which line is to blame", () => {
    expect(() => parseManifest(utf8(`\n${hash}  a  b\n${needed}`))).toThrow("sha256sum.txt: line 2: need a hash and one name");
    expect(() => parseManifest(utf8(`${needed}${hash}  metadata.json\n`))).toThrow("line 2: metadata.json is listed twice");
    expect(() => parseManifest(utf8(`${hash.slice(2)}  a\n${needed}`))).toThrow("sha256sum.txt line 1: need 32 bytes, have 31");
    expect(() => parseManifest(utf8(`${hash}  a\n`))).toThrow("sha256sum.txt: metadata.json is not listed");
  });

  test("is the image's only when its hash is, and hashes of other lengths are no hashes", () => {
    const bytes = image["sha256sum.txt"] ?? new Uint8Array(0);
    expect(provenManifest(bytes, imageHashOf(image))).toEqual(manifest);
    for (const length of [0, 31, 33]) {
      expect(() => provenManifest(bytes, new Uint8Array(length))).toThrow(expect.objectContaining({ code: "unproven.os-image" }));
    }
    expect(() => provenManifest(bytes, new Uint8Array(32))).toThrow(
      expect.objectContaining({
        code: "unproven.os-image",
        message: `legacy TDX attestation requires os_image_hash = sha256(sha256sum.txt): expected=${"00".repeat(32)}, actual=${toHex(sha256(bytes))}`,
      }),
    );
  });
});

describe("metadata", () => {
  test("names the files and the command line, and more that does not matter", () => {
    expect(parseMetadata(utf8(metadataText({ ovmf_variant: "pre202505", rootfs: "../anything" })), manifest)).toEqual({
      cmdline: "console=ttyS0 dstack.rootfs_hash=00ff",
      kernel: "bzImage",
      initrd: "initramfs.cpio.gz",
      bios: "ovmf.fd",
      ovmfVariant: "pre202505",
    });
    expect(parseMetadata(utf8(metadataText({ ovmf_variant: null })), manifest).ovmfVariant).toBeUndefined();
  });

  test("may have a command line as long as the limit", () => {
    const cmdline = "a".repeat(64 * 1024);
    expect(parseMetadata(utf8(metadataText({ cmdline })), manifest).cmdline).toBe(cmdline);
  });

  test.each([
    ["a kernel elsewhere", { kernel: "/boot/bzImage" }],
    ["an initrd above", { initrd: "../initramfs.cpio.gz" }],
    ["the folder as firmware", { bios: "." }],
    ["a kernel that is not listed", { kernel: "vmlinuz" }],
    ["no kernel", { kernel: undefined }],
    ["no initrd", { initrd: undefined }],
    ["no firmware", { bios: undefined }],
    ["no command line", { cmdline: undefined }],
    ["a command line that is a list", { cmdline: ["quiet"] }],
    ["a command line without end", { cmdline: "a".repeat(65_537) }],
    ["another firmware variant", { ovmf_variant: "202505" }],
  ])("with %s is refused", (_name, change) => {
    expect(() => parseMetadata(utf8(metadataText(change)), manifest)).toThrow(
      expect.objectContaining({ code: "malformed.os-image" }),
    );
  });

  test.each(["", "null", "[]", "NaN", "{", '{"cmdline":1e999}', "[".repeat(100_000)])("that is %j is refused", (text) => {
    expect(() => parseMetadata(utf8(text), manifest)).toThrow(expect.objectContaining({ code: "malformed.os-image" }));
  });
});

test("whatever a manifest or metadata holds, it is read or refused, and its names stay in their folder", () => {
  const line = fc.oneof(
    fc.string(),
    fc.tuple(fc.constant(hash), fc.string()).map((parts) => parts.join("  ")),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 4 }), fc.json(), (lines, json) => {
      for (const read of [
        () => [...parseManifest(utf8(`${lines.join("\n")}\n${needed}`)).keys()],
        () => Object.values(parseMetadata(utf8(json), manifest)).slice(1, 4),
      ]) {
        try {
          for (const name of read()) expect(isPlainName(String(name))).toBe(true);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(KmsError);
        }
      }
    }),
  );
});
