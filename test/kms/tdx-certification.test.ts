/** The certification data of a quoting enclave: each form that a quote can have, and lengths that are not its own. */
import { describe, expect, test } from "vitest";
import { parseCertification } from "../../kms/attestation/tdx/certification.ts";
import type { QeCertification } from "../../kms/attestation/tdx/quote.ts";
import { MAX_QUOTE_BYTES, parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { pckChainOf } from "../../kms/attestation/tdx/verify.ts";
import { readCollateral, readQuote } from "../support/tdx-samples.ts";

const quote = parseQuote(readQuote("tdx-v4-b0c06f-a.bin"));
const encrypted = (length: number) => Uint8Array.from({ length }, (_, index) => index % 251);
const certified = (type: number, data: Uint8Array) => {
  const qe: QeCertification = { ...quote.qe, certification: parseCertification(type, data) };
  return { ...quote, qe };
};

describe("an encrypted PPID", () => {
  test.each([
    { type: 2, length: 256 },
    { type: 3, length: 384 },
  ])("of type $type has $length bytes, and the platform's state behind them", ({ type, length }) => {
    const data = encrypted(length + 20);
    expect(parseCertification(type, data)).toEqual({
      kind: "encrypted-ppid",
      encryptedPpid: data.subarray(0, length),
      cpuSvn: data.subarray(length, length + 16),
      pceSvn: data.subarray(length + 16, length + 18),
      pceId: data.subarray(length + 18),
    });
    for (const wrong of [0, length, length + 19, length + 21]) {
      expect(() => parseCertification(type, encrypted(wrong))).toThrow(expect.objectContaining({ code: "malformed.quote" }));
    }
  });

  test("needs a chain from elsewhere", () => {
    const without = certified(3, encrypted(404));
    expect(() => pckChainOf(without)).toThrow(
      expect.objectContaining({ code: "unproven.platform-unsupported", message: expect.stringContaining("encrypted PPID") }),
    );
    const collateral = { ...readCollateral("collateral-b0c06f-2025-06.json"), pckCertificateChain: pckChainOf(quote) };
    expect(pckChainOf(without, collateral)).toBe(pckChainOf(quote));
  });
});

test.each([0, 1, 4, 6, 7, 65535])("certification type %i is read, and names no chain", (type) => {
  expect(parseCertification(type, encrypted(404))).toEqual({ kind: "other", type });
  expect(() => pckChainOf(certified(type, encrypted(404)))).toThrow(
    expect.objectContaining({ code: "unproven.platform-unsupported", message: expect.stringContaining(`type ${type}`) }),
  );
});

test("a chain that is no UTF-8 is refused", () => {
  expect(() => pckChainOf(certified(5, Uint8Array.of(0xff)))).toThrow(expect.objectContaining({ code: "malformed.quote" }));
});

describe("the bytes around the parts of a quote", () => {
  const sample = readQuote("tdx-v4-b0c06f-a.bin").subarray(0, 4936);
  const enclave = readQuote("sgx-v3-00a067110000.bin");
  /** Surplus bytes in the QE block and behind it, with the lengths put right. */
  const padded = (inner: readonly number[], outer: readonly number[], behind: readonly number[] = []) => {
    const bytes = Uint8Array.from([...sample, ...inner, ...outer, ...behind]);
    const view = new DataView(bytes.buffer);
    view.setUint32(632, 4936 - 636 + inner.length + outer.length, true);
    view.setUint32(766, 4936 - 770 + inner.length, true);
    return parseQuote(bytes);
  };

  test("are kept apart: what is left in the auth data, and what follows it", () => {
    expect(padded([], [])).toMatchObject({ authPadding: new Uint8Array(), trailing: new Uint8Array() });
    expect(padded([1, 2], [3], [4, 5])).toMatchObject({
      authPadding: Uint8Array.of(1, 2, 3),
      trailing: Uint8Array.of(4, 5),
      signedPart: sample.subarray(0, 632),
    });
  });

  test("are 128 KiB at most", () => {
    const ofLength = (length: number) => Uint8Array.from({ length }, (_, index) => sample[index] ?? 0);
    expect(parseQuote(ofLength(MAX_QUOTE_BYTES)).trailing).toHaveLength(MAX_QUOTE_BYTES - sample.length);
    expect(() => parseQuote(ofLength(MAX_QUOTE_BYTES + 1))).toThrow(expect.objectContaining({ code: "malformed.quote" }));
  });

  test.each<[string, Uint8Array]>([
    ["version 2", sample.with(0, 2)],
    ["version 6", sample.with(0, 6)],
    ["version 260", sample.with(1, 1)],
    ["a TD in version 3", sample.with(0, 3)],
    ["TEE type 1 in version 4", sample.with(4, 1)],
    ["TEE type 1 in version 3", enclave.with(4, 1)],
    ["a TD's type on an enclave's version 3", enclave.with(4, 0x81)],
  ])("say nothing with %s", (_, bytes) => {
    expect(() => parseQuote(bytes)).toThrow(expect.objectContaining({ code: "malformed.quote" }));
  });

  test("say nothing with a TD's report where version 3 would have an enclave's, all else in place", () => {
    const auth = Uint8Array.from([...sample.subarray(636, 764), ...sample.subarray(770)]);
    const bytes = Uint8Array.from([...sample.subarray(0, 636).with(0, 3), ...auth]);
    new DataView(bytes.buffer).setUint32(632, auth.length, true);
    expect(() => parseQuote(bytes)).toThrow(expect.objectContaining({ code: "malformed.quote" }));
    expect(
      parseQuote(Uint8Array.from([...bytes.with(4, 0).subarray(0, 48), ...quote.qe.reportBytes, ...bytes.subarray(632)])),
    ).toMatchObject({
      version: 3,
      body: quote.qe.report,
    });
  });

  test("may call an enclave's report version 4, which is for the verifier to refuse, and no version that is unknown", () => {
    const { qe } = quote;
    const bytes = Uint8Array.from([...sample.subarray(0, 48).with(4, 0), ...qe.reportBytes, ...sample.subarray(632)]);
    expect(parseQuote(bytes)).toMatchObject({ version: 4, teeType: 0, body: qe.report, signature: quote.signature });
    for (const version of [0, 2, 6]) {
      expect(() => parseQuote(bytes.with(0, version))).toThrow(expect.objectContaining({ code: "malformed.quote" }));
    }
  });

  /** Version 5 with any body under any type and size. */
  const described = (type: number, body: Uint8Array, size = body.length) => {
    const descriptor = Uint8Array.of(type, 0, size % 256, size >> 8, 0, 0);
    return Uint8Array.from([...sample.subarray(0, 48).with(0, 5), ...descriptor, ...body, ...sample.subarray(632)]);
  };

  test.each([
    { type: 1, body: quote.qe.reportBytes, expected: quote.qe.report },
    { type: 2, body: sample.subarray(48, 632), expected: quote.body },
  ])("name the body of type $type in version 5, and its size", ({ type, body, expected }) => {
    expect(parseQuote(described(type, body))).toMatchObject({ version: 5, body: expected, signature: quote.signature });
    for (const size of [body.length - 1, body.length + 1]) {
      expect(() => parseQuote(described(type, body, size))).toThrow(expect.objectContaining({ code: "malformed.quote" }));
    }
  });
});
