/** The decoder of certificate requests: the vectors, every limit, and that no input makes it do anything but decode or refuse. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeEvidence } from "../../kms/attestation/evidence.ts";
import { concat, fromHex, utf8 } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import {
  type CsrVersion,
  decodeCsr,
  MAX_ALT_NAME_CHARACTERS,
  MAX_ALT_NAMES,
  MAX_NAME_CHARACTERS,
  MAX_TIME_SECONDS,
  verifyCsr,
} from "../../kms/ra-tls/csr.ts";
import vectors from "../fixtures/vectors/kdf.json" with { type: "json" };
import { confirmWord, csrVersion1, csrVersion2, freshTestKey, signDer, type WantedCertificate, wanted } from "../support/csr.ts";
import { realJson } from "../support/real-evidence.ts";
import { hashing, workOf } from "../support/work.ts";
import { codeOf, refusal } from "./support/refusals.ts";

const spki = Uint8Array.of(1, 2, 3);
const envelope = encodeEvidence({
  wire: "v0",
  platform: { kind: "tdx", quote: new Uint8Array(), eventLog: [] },
  stack: { kind: "dstack", reportData: new Uint8Array(64), runtimeEvents: [], config: "" },
});
const capture = realJson("dstack-quote-report.json");
const realQuote = fromHex(capture["quote"] ?? "", "quote");
const realLog = utf8(capture["event_log"] ?? "");

const [empty, quoted, versionOne, configOnly] = vectors.csr_scale.map(({ bytes }) => fromHex(bytes, "vector"));
if (!empty || !quoted || !versionOne || !configOnly) throw new Error("the vectors have four requests");

const plain = {
  organization: undefined,
  subject: "test.example.com",
  altNames: [],
  serverAuth: true,
  clientAuth: false,
  withEvidence: false,
  withAppInfo: false,
  notBefore: undefined,
  notAfter: undefined,
};

describe("the vectors", () => {
  test("of version 2 are decoded field by field, and encoded again are the same", () => {
    const csr = decodeCsr(2, empty);
    expect(csr).toMatchObject({ confirm: confirmWord, spki, config: plain, signed: empty });
    expect(csr.evidence()).toMatchObject({ wire: "v0", platform: { kind: "tdx", quote: new Uint8Array() } });
    expect(csrVersion2({ spki, want: { ...wanted, subject: "test.example.com" } }, envelope)).toEqual(empty);
    const second = decodeCsr(2, quoted);
    expect(second.config).toEqual({ ...plain, withEvidence: true });
    expect(second.evidence().platform).toMatchObject({ quote: Uint8Array.of(9) });
  });

  test("of version 1 is decoded, and encoded again is the same", () => {
    const config = { ...plain, organization: "Test Org", altNames: ["alt.example.com"] };
    expect(decodeCsr(1, versionOne)).toMatchObject({ confirm: confirmWord, spki, config, signed: versionOne });
    const want = { ...wanted, organization: "Test Org", subject: "test.example.com", altNames: ["alt.example.com"] };
    expect(csrVersion1({ spki, want }, Uint8Array.of(9), utf8("[]"))).toEqual(versionOne);
  });

  test("of a whole configuration is decoded with its dates", () => {
    const { config } = decodeCsr(2, concat(empty.subarray(0, 22), configOnly, envelope));
    expect(config).toEqual({
      organization: "Org",
      subject: "cn",
      altNames: ["a.example", "203.0.113.10"],
      serverAuth: true,
      clientAuth: true,
      withEvidence: true,
      withAppInfo: true,
      notBefore: new Date(1_700_000_000_000),
      notAfter: new Date(1_800_000_000_000),
    });
  });
});

describe("a request is refused that has", () => {
  const make = (want: Partial<WantedCertificate>) => csrVersion2({ spki, want: { ...wanted, ...want } }, envelope);
  const names = (count: number) => Array.from({ length: count }, (_, index) => `n${index}`);

  test.each<[string, Uint8Array, string, string]>([
    ["no bytes", new Uint8Array(), "malformed.csr", "confirm: need 1 bytes, have 0"],
    ["a time after the year 9999", make({ notAfter: MAX_TIME_SECONDS + 1n }), "malformed.csr", "not_after: need at most "],
    ["the largest time", make({ notBefore: 2n ** 64n - 1n }), "malformed.csr", "not_before: need at most "],
    ["too many names", make({ altNames: names(MAX_ALT_NAMES + 1) }), "malformed.csr", "subject_alt_names: need at most 100 "],
    ["an empty name", make({ altNames: ["a", ""] }), "malformed.csr", "subject_alt_names[1]: need 1 to 253 characters"],
    ["a long name", make({ altNames: ["a".repeat(MAX_ALT_NAME_CHARACTERS + 1)] }), "malformed.csr", "subject_alt_names[0]: "],
    ["a name with a NUL", make({ altNames: ["kms\0.evil"] }), "malformed.csr", "subject_alt_names[0]: need visible ASCII"],
    ["a name with a space", make({ altNames: ["a b"] }), "malformed.csr", "subject_alt_names[0]: need visible ASCII"],
    ["a name beyond ASCII", make({ altNames: ["ä.example"] }), "malformed.csr", "subject_alt_names[0]: need visible ASCII"],
    ["a long subject", make({ subject: "s".repeat(MAX_NAME_CHARACTERS + 1) }), "malformed.csr", "subject: need at most 1024 "],
    ["a control character in its subject", make({ subject: "a\nb" }), "malformed.csr", "subject: has a control character"],
    ["one in its organization", make({ organization: "\u009f" }), "malformed.csr", "org_name: has a control character"],
    ["no evidence", csrVersion2({ spki }, new Uint8Array()), "malformed.envelope", "Empty attestation bytes"],
    ["an unknown envelope", csrVersion2({ spki }, Uint8Array.of(0x7b)), "malformed.envelope", "Unknown attestation wire format"],
    ["a byte behind its envelope", concat(make({}), Uint8Array.of(0)), "malformed.envelope", "envelope: 1 bytes too many"],
  ])("%s", async (_what, bytes, code, text) => {
    const refused = await refusal(() => decodeCsr(2, bytes));
    expect(refused).toEqual({ code, message: expect.stringContaining(`Failed to parse csr: ${text}`) });
  });

  test.each([
    ["a length in a longer form than needed", 0, Uint8Array.of(0x45, 0x00, ...utf8(confirmWord))],
    ["a length in the big-integer mode", 0, Uint8Array.of(0x03, 17, 0, 0, 0)],
    ["text that is not UTF-8", 0, Uint8Array.of(0x04, 0xff)],
  ])("%s", async (_what, at, head) => {
    expect((await refusal(() => decodeCsr(2, concat(empty.subarray(0, at), head, empty.subarray(18))))).code).toBe(
      "malformed.csr",
    );
  });

  test("a flag or an option that is neither 0 nor 1", async () => {
    for (const at of [22, 41, 42, 43, 44, 45, 46]) {
      const bytes = empty.slice();
      bytes[at] = 2;
      expect((await refusal(() => decodeCsr(2, bytes))).code, `byte ${at}`).toBe("malformed.csr");
    }
  });

  test("each limit exactly is accepted", () => {
    const want = {
      subject: "s".repeat(MAX_NAME_CHARACTERS),
      organization: "",
      altNames: [...names(MAX_ALT_NAMES - 1), "a".repeat(MAX_ALT_NAME_CHARACTERS)],
      notBefore: 0n,
      notAfter: MAX_TIME_SECONDS,
    };
    const { config } = decodeCsr(2, make(want));
    expect(config).toMatchObject({ subject: want.subject, organization: "", altNames: want.altNames });
    expect(config.notBefore).toEqual(new Date(0));
    expect(config.notAfter).toEqual(new Date("9999-12-31T23:59:59Z"));
  });
});

describe("the signature", () => {
  const key = freshTestKey();
  const bytes = csrVersion2({ spki: key.spki }, envelope);
  const prefix = "Failed to verify csr signature: ";
  const invalid = { code: "unproven.csr-signature", message: `${prefix}Invalid signature` };
  const unsupported = { code: "malformed.key", message: `${prefix}Unsupported algorithm` };

  test("of the key in the request makes it a verified one", () => {
    const csr = verifyCsr(decodeCsr(2, bytes), signDer(bytes, key));
    expect(csr).toMatchObject({ spki: key.spki, config: { subject: "app.example.com" }, evidence: { wire: "v0" } });
  });

  test("of another key, over other bytes, cut, empty or raw is refused", async () => {
    const good = signDer(bytes, key);
    const other = csrVersion2({ spki: key.spki, want: { ...wanted, subject: "b" } }, envelope);
    const wrong = [signDer(bytes, freshTestKey()), signDer(other, key), good.subarray(1), new Uint8Array(), new Uint8Array(64)];
    for (const signature of [...wrong, concat(good, Uint8Array.of(0))]) {
      expect(await refusal(() => verifyCsr(decodeCsr(2, bytes), signature))).toEqual(invalid);
    }
  });

  test.each<[string, Uint8Array]>([
    ["that is none", spki],
    ["on P-384", freshTestKey("P-384").spki],
    ["on secp256k1", freshTestKey("secp256k1").spki],
    ["off the curve", key.spki.map((byte, index) => (index === 90 ? byte ^ 1 : byte))],
    ["with a byte behind it", concat(key.spki, Uint8Array.of(0))],
  ])("of a key %s is not looked at", async (_what, publicKey) => {
    const request = csrVersion2({ spki: publicKey }, envelope);
    expect(await refusal(() => verifyCsr(decodeCsr(2, request), signDer(request, key)))).toEqual(unsupported);
  });

  test("is checked before the confirm word, and that before the evidence of version 1", async () => {
    const parts = { spki: key.spki, confirm: "please sign cert" };
    for (const request of [csrVersion2(parts, envelope), csrVersion1(parts, spki, utf8("["))]) {
      const version = request.length > 200 ? 2 : 1;
      const csr = decodeCsr(version, request);
      expect(await refusal(() => verifyCsr(csr, new Uint8Array(70)))).toEqual(invalid);
      const message = `${prefix}Invalid confirm word`;
      expect(await refusal(() => verifyCsr(csr, signDer(request, key)))).toEqual({ code: "unproven.csr-signature", message });
    }
    const request = csrVersion1({ spki: key.spki }, spki, utf8("["));
    const refused = await refusal(() => verifyCsr(decodeCsr(1, request), signDer(request, key)));
    expect(refused).toEqual({ code: "malformed.quote", message: expect.stringMatching(/^Failed to upgrade csr v1 to v2: /) });
  });

  test.each<[string, Uint8Array, string]>([
    ["is not UTF-8", Uint8Array.of(0xff), "malformed.event-log"],
    ["is not JSON", utf8("{"), "malformed.event-log"],
    ["is no list", utf8("{}"), "malformed.event-log"],
  ])("of version 1 does not save a log that %s", async (_what, log, code) => {
    const request = csrVersion1({ spki: key.spki }, realQuote, log);
    const refused = await refusal(() => verifyCsr(decodeCsr(1, request), signDer(request, key)));
    expect(refused).toEqual({ code, message: expect.stringMatching(/^Failed to upgrade csr v1 to v2: event log/) });
  });

  test.each([
    ["nested", "["],
    ["empty", "[{},"],
    ["zeros", "[0,"],
  ])("of version 1 does not buy the work that ten megabytes of %s log would be", async (_what, piece) => {
    const log = utf8(piece.repeat(Math.floor((10 * 1024 * 1024 - 20_000) / piece.length)));
    const request = csrVersion1({ spki: key.spki }, realQuote, log);
    const csr = decodeCsr(1, request);
    const signature = signDer(request, key);
    expect((await refusal(() => verifyCsr(csr, signature))).code).toBe("malformed.event-log");
    expect(workOf(() => codeOf(() => verifyCsr(csr, signature)), hashing(request))).toBeLessThan(15);
  });

  test("of version 1 covers the request and not the bytes behind it", async () => {
    const request = csrVersion1({ spki: key.spki }, realQuote, realLog);
    const longer = concat(request, utf8("ignored"));
    expect(verifyCsr(decodeCsr(1, longer), signDer(request, key)).evidence.platform.kind).toBe("tdx");
    expect(await refusal(() => verifyCsr(decodeCsr(1, longer), signDer(longer, key)))).toEqual(invalid);
  });
});

describe("whatever comes", () => {
  const configs = fc.record({
    organization: fc.option(fc.string({ unit: "grapheme", maxLength: 100 }), { nil: undefined }),
    subject: fc.string({ unit: "grapheme", maxLength: 100 }),
    altNames: fc.array(fc.string({ minLength: 1, maxLength: 253, unit: fc.constantFrom(..."abcxyz019-.*:_") }), {
      maxLength: 100,
    }),
    serverAuth: fc.boolean(),
    clientAuth: fc.boolean(),
    withEvidence: fc.boolean(),
    withAppInfo: fc.boolean(),
    notBefore: fc.option(fc.bigInt(0n, MAX_TIME_SECONDS), { nil: undefined }),
    notAfter: fc.option(fc.bigInt(0n, MAX_TIME_SECONDS), { nil: undefined }),
  });
  const dateOf = (seconds: bigint | undefined) => (seconds === undefined ? undefined : new Date(Number(seconds) * 1000));

  test("every request comes back as it was encoded", () => {
    fc.assert(
      fc.property(configs, fc.uint8Array({ maxLength: 200 }), (config, publicKey) => {
        const { organization, notBefore, notAfter, ...rest } = config;
        const times = { ...(notBefore === undefined ? {} : { notBefore }), ...(notAfter === undefined ? {} : { notAfter }) };
        const want = { ...rest, ...times, ...(organization === undefined ? {} : { organization }) };
        const csr = decodeCsr(2, csrVersion2({ spki: new Uint8Array(publicKey), want }, envelope));
        expect(csr.config).toEqual({ ...rest, organization, notBefore: dateOf(notBefore), notAfter: dateOf(notAfter) });
        expect(csr.spki).toEqual(new Uint8Array(publicKey));
      }),
    );
  });

  const decodesOrRefuses = (version: CsrVersion, bytes: Uint8Array) => {
    try {
      decodeCsr(version, bytes);
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(KmsError);
      expect(thrown).toMatchObject({ family: "malformed", message: expect.stringMatching(/^Failed to parse csr: /) });
    }
  };

  test("random bytes are decoded or refused", () => {
    fc.assert(
      fc.property(fc.constantFrom<CsrVersion>(1, 2), fc.uint8Array({ maxLength: 300 }), (version, bytes) =>
        decodesOrRefuses(version, new Uint8Array(bytes)),
      ),
    );
  });

  test("every request with one byte changed, or cut at any place, is decoded or refused", () => {
    for (const [version, whole] of [
      [1, versionOne],
      [2, quoted],
    ] as const) {
      for (let at = 0; at < whole.length; at += 1) {
        decodesOrRefuses(version, whole.subarray(0, at));
        for (const bit of [0x01, 0x02, 0x40, 0x80])
          decodesOrRefuses(
            version,
            whole.map((byte, index) => (index === at ? byte ^ bit : byte)),
          );
      }
    }
  });

  test.each([[[]], [[0x02, 0x00, 0x00]], [[0xfe, 0xff, 0xff, 0xff]]])(
    "ten megabytes of nothing behind %j are refused with less work than hashing them",
    (head) => {
      const bytes = new Uint8Array(10 * 1024 * 1024);
      bytes.set(head);
      const decode = () => codeOf(() => decodeCsr(2, bytes));
      expect(decode()).toMatch(/^malformed\./);
      expect(workOf(decode, hashing(bytes))).toBeLessThan(1);
    },
  );
});
