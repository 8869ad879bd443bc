/** What a verification on the command line rests on: collateral from a file or a server, a trust anchor, and one moment. */
import type { Collateral } from "../kms/attestation/tdx/collateral.ts";
import { createCollateralStore } from "../kms/attestation/tdx/collateral-store.ts";
import { DEFAULT_PCCS_URL } from "../kms/attestation/tdx/pccs.ts";
import type { Quote } from "../kms/attestation/tdx/quote.ts";
import { intelSgxRootCa, loadTrustAnchor, type TrustAnchor } from "../kms/attestation/tdx/trust-anchor.ts";
import type { VerificationInputs } from "../kms/attestation/verifier.ts";
import { KmsError } from "../kms/errors.ts";
import { MAX_INPUT_BYTES } from "./evidence-input.ts";
import { parseCollateralFile } from "./lib/collateral-file.ts";
import { readInput, readInputText } from "./lib/input-file.ts";

export interface BasisOptions {
  readonly root?: string;
  readonly at?: string;
  readonly pccs?: string;
}

export interface Basis {
  readonly anchor: TrustAnchor;
  readonly now: Date;
  /** With the collateral in the file, or fetched for this quote. */
  readonly inputsFor: (quote: Quote, collateralFile: string | undefined) => Promise<VerificationInputs>;
}

export async function readBasis(options: BasisOptions): Promise<Basis> {
  const now = options.at === undefined ? new Date() : parseTime(options.at);
  const anchor = options.root === undefined ? intelSgxRootCa : loadTrustAnchor(await readInput(options.root, MAX_INPUT_BYTES));
  const store = createCollateralStore({ pccsUrl: options.pccs ?? DEFAULT_PCCS_URL, anchor, now: () => now });
  const collateralFor = async (quote: Quote, file: string | undefined): Promise<Collateral> =>
    file === undefined ? store.collateralFor(quote) : parseCollateralFile(await readInputText(file, MAX_INPUT_BYTES));
  return { anchor, now, inputsFor: async (quote, file) => ({ collateral: await collateralFor(quote, file), anchor, now }) };
}

/** A time with its zone, or seconds since 1970: local time would make the answer depend on the machine. */
function parseTime(text: string): Date {
  if (/^[1-9]\d{8,9}$/.test(text)) return new Date(Number(text) * 1000);
  const isIso = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})$/.test(text);
  const time = new Date(text);
  if (isIso && !Number.isNaN(time.getTime())) return time;
  throw new KmsError("malformed.usage", "--at: need an ISO time with zone, such as 2026-06-15T00:00:00Z, or seconds since 1970");
}
