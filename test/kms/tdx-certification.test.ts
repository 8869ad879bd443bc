/** The certification data of a quoting enclave: each form that a quote can have, and lengths that are not its own. */
import { describe, expect, test } from "vitest";
import { parseCertification } from "../../kms/attestation/tdx/certification.ts";
import type { QeCertification } from "../../kms/attestation/tdx/quote.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
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
