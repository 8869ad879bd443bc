/** Measurement documents and the checksum files that lead to them: what is read, and every form that is refused. */
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { decodeDocument, memberBytes, memberMap, provenDocument } from "../../kms/attestation/image/measurement-document.ts";
import { concat, fromHex, toHex, utf8 } from "../../kms/bytes.ts";

const bytes = (hex: string) => fromHex(hex, "test");
const code = (code: string) => expect.objectContaining({ code });
const malformed = code("malformed.vm-config");
const sha256 = (content: Uint8Array) => new Uint8Array(createHash("sha256").update(content).digest());
const maxBytes = 64 * 1024;

/** A map with one member of so many bytes that the whole has the length. */
function documentOf(length: number): Uint8Array {
  const content = new Uint8Array(length - 6);
  return concat(bytes("a1616159"), Uint8Array.of(content.length >> 8, content.length & 0xff), content);
}

describe("a document", () => {
  test("is a map of CBOR, up to its limit", () => {
    expect(decodeDocument(bytes("a1616101"))).toEqual(new Map([["a", 1]]));
    expect(memberBytes(decodeDocument(documentOf(maxBytes)), "a", maxBytes - 6)).toHaveLength(maxBytes - 6);
    expect(memberMap(decodeDocument(bytes("a16161a1616202")), "a")).toEqual(new Map([["b", 2]]));
  });

  test.each<[string, string]>([
    ["nothing", ""],
    ["a number", "01"],
    ["a list", "80"],
    ["a key twice", "a2616101616102"],
    ["a map without a length", "bf616101ff"],
    ["a list without a length", "a161619f01ff"],
    ["bytes without a length", "a161615f4100ff"],
    ["a text without a length", "a161617f6161ff"],
    ["a number in more bytes than it needs", "a161611801"],
    ["a length in more bytes than it needs", "a16161580100"],
    ["undefined", "a16161f7"],
    ["no number", "a16161f97e00"],
    ["infinity", "a16161f97c00"],
    ["a byte behind it", "a161610100"],
    ["half of it", "a16161"],
    ["a tag", "a16161c000"],
  ])("is not %s", (_what, hex) => expect(() => decodeDocument(bytes(hex))).toThrow(malformed));

  test("is not longer than its limit", () => {
    expect(() => decodeDocument(documentOf(maxBytes + 1))).toThrow(malformed);
  });

  const map = decodeDocument(bytes("a3616101616242000061636161"));
  test.each<[string, () => unknown]>([
    ["a number for bytes", () => memberBytes(map, "a")],
    ["a text for bytes", () => memberBytes(map, "c")],
    ["nothing for bytes", () => memberBytes(map, "d")],
    ["too few bytes", () => memberBytes(map, "b", 3)],
    ["too many bytes", () => memberBytes(map, "b", 1)],
    ["bytes for a map", () => memberMap(map, "b")],
    ["nothing for a map", () => memberMap(map, "d")],
  ])("has not %s", (_what, read) => expect(read).toThrow(malformed));
});

describe("a checksum file", () => {
  const name = "measurement.cbor";
  const measurement = utf8("document");
  const line = `${toHex(sha256(measurement))}  ${name}`;
  const other = `${"00".repeat(32)}  ovmf.fd`;
  const prove = (text: string, document = measurement, hash = sha256(utf8(text))) =>
    provenDocument({ checksumFile: utf8(text), measurement: document }, hash, name);

  test.each<[string, string]>([
    ["alone", line],
    ["with an end of its line", `${line}\n`],
    ["among others and empty lines", `${other}\n\n${line}\n\n`],
    ["with white space around and within", `  ${line.replace("  ", " \t")} \r\n${other}\r\n`],
    ["with more behind the name", `${line} more`],
  ])("names the document: %s", (_what, text) => expect(prove(text)).toBe(measurement));

  test.each<[string, string, string]>([
    ["no line for it", other, "unproven.os-image"],
    ["two lines for it", `${line}\n${line}`, "unproven.os-image"],
    ["another name that begins so", `${line}s`, "unproven.os-image"],
    ["a line with one word", `${line}\nword`, "malformed.vm-config"],
    ["a short hash", line.slice(2), "malformed.length"],
    ["a hash that is no hex", line.replace(/^../, "zz"), "malformed.vm-config"],
    ["nothing in it", "", "unproven.os-image"],
  ])("is refused with %s", (_what, text, expected) => expect(() => prove(text)).toThrow(code(expected)));

  test("is refused where the image hash, or its own for the document, is another", () => {
    expect(() => prove(line, measurement, new Uint8Array(32))).toThrow(code("unproven.os-image"));
    expect(() => prove(line, utf8("documenu"))).toThrow(code("unproven.os-image"));
  });

  test("is refused when it is no text, before its hash where it is too long, and up to the limit read", () => {
    const noText = Uint8Array.of(0xff);
    const refusedText = () => provenDocument({ checksumFile: noText, measurement }, sha256(noText), name);
    expect(refusedText).toThrow(malformed);
    const full = `${line}\n`.padEnd(maxBytes, "\n");
    expect(prove(full)).toBe(measurement);
    expect(() => prove(`${full}\n`)).toThrow(malformed);
    expect(() => prove(`${full}\n`, measurement, new Uint8Array(32))).toThrow(malformed);
    expect(() => prove(line, new Uint8Array(maxBytes + 1))).toThrow(malformed);
    expect(() => prove(line, new Uint8Array(maxBytes))).toThrow(code("unproven.os-image"));
  });
});
