/** The quote of a real enclave: which enclave it names, and what a debug one or a TD's quote in its place leads to. */
import { describe, expect, test } from "vitest";
import { verifySgxQuote } from "../../kms/attestation/sgx-quote.ts";
import { requireAttributes } from "../../kms/attestation/tdx/attributes.ts";
import { OpenedCollateral } from "../../kms/attestation/tdx/opened-collateral.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { intelSgxRootCa } from "../../kms/attestation/tdx/trust-anchor.ts";
import { toHex } from "../../kms/bytes.ts";
import type { Code } from "../../kms/errors.ts";
import { readCollateral, readQuote } from "../support/tdx-samples.ts";

const bytes = readQuote("sgx-v3-00a067110000.bin");
const inputs = {
  collateral: readCollateral("collateral-sgx-00a067110000-2025-06.json"),
  anchor: intelSgxRootCa,
  now: new Date("2025-07-01T00:00:00Z"),
};

test("names its enclave and the state of its platform", () => {
  const { quote, status, tdxModule } = verifySgxQuote(parseQuote(bytes), inputs, new OpenedCollateral());
  expect(toHex(quote.body.mrEnclave)).toBe("33d8736db756ed4997e04ba358d27833188f1932ff7b1d156904d3f560452fbb");
  expect(status).toBe("ConfigurationAndSWHardeningNeeded");
  expect(tdxModule).toBeUndefined();
});

describe("is refused", () => {
  const flip = (offset: number) => () => bytes.with(offset, (bytes[offset] ?? 0) ^ 1);

  test.each<[string, () => Uint8Array, Code]>([
    ["with another vendor", flip(12), "unproven.qe-vendor"],
    ["with another MRENCLAVE", flip(48 + 64), "unproven.quote-signature"],
    ["with other report data", flip(48 + 320), "unproven.quote-signature"],
    ["with another attestation key", flip(436 + 64), "unproven.qe-report"],
    ["with another QE report", flip(436 + 128), "unproven.qe-report"],
    ["as version 4, which enclaves do not use here", () => Uint8Array.from([4, ...bytes.subarray(1)]), "malformed.quote"],
    ["when it ends early", () => bytes.subarray(0, 432), "malformed.quote"],
    ["when it is a TD's", () => readQuote("tdx-v4-b0c06f-a.bin"), "unproven.tee-type"],
  ])("%s", (_, quote, code) => {
    expect(() => verifySgxQuote(parseQuote(quote()), inputs)).toThrow(expect.objectContaining({ code }));
  });

  test("in debug mode, by the last step", () => {
    const { body } = parseQuote(bytes);
    if (body.kind !== "sgx") throw new Error("the sample is an enclave's");
    expect(() => requireAttributes(body)).not.toThrow();
    const attributes = body.attributes.with(0, (body.attributes[0] ?? 0) | 2);
    expect(() => requireAttributes({ ...body, attributes })).toThrow(expect.objectContaining({ code: "unproven.debug" }));
  });

  test("with the collateral of TDX", () => {
    const collateral = readCollateral("collateral-b0c06f-2025-06.json");
    expect(() => verifySgxQuote(parseQuote(bytes), { ...inputs, collateral })).toThrow(
      expect.objectContaining({ code: "unproven.qe-identity" }),
    );
  });
});
