/** Quotes of SGX enclaves, which no guest sends: a local key provider shows with one which enclave answered. */
import { KmsError } from "../errors.ts";
import type { OpenedCollateral } from "./tdx/opened-collateral.ts";
import type { Quote } from "./tdx/quote.ts";
import type { EnclaveReport } from "./tdx/report.ts";
import { type VerifiedQuote, verifyQuote } from "./tdx/verify.ts";
import type { VerificationInputs } from "./verifier.ts";

declare const verifiedEnclave: unique symbol;

/** An enclave's and not a TD's, not in debug mode; which enclave it may be, MRENCLAVE, is for whoever asks. */
export type VerifiedSgxQuote = VerifiedQuote & {
  readonly [verifiedEnclave]: true;
  readonly quote: Quote & { readonly body: EnclaveReport };
};

/** Every step of the DCAP verification, the last of which refuses a debug enclave. */
export function verifySgxQuote(quote: Quote, inputs: VerificationInputs, memory?: OpenedCollateral): VerifiedSgxQuote {
  if (quote.body.kind !== "sgx") throw new KmsError("unproven.tee-type", "need the quote of an enclave, have a TD's");
  return verifyQuote({ quote, ...inputs }, memory) as VerifiedSgxQuote;
}
