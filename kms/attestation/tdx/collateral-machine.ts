/** What to ask for on behalf of a quote, from a PCK certificate that the anchor vouches for: strangers cannot make us fetch what they like. */
import { createHash } from "node:crypto";
import { BoundedMap } from "../../bounded-map.ts";
import { equal } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { MAX_REMEMBERED_PEM } from "./chain-verifier.ts";
import type { CollateralKey } from "./collateral-shelf.ts";
import { isSignedRaw } from "./p256.ts";
import { type PckRequest, pckRequestName } from "./pccs.ts";
import { parsePlatformIdentity, pckCaOf } from "./pck.ts";
import { type Quote, TEE_TYPE_TDX } from "./quote.ts";
import type { TrustAnchor } from "./trust-anchor.ts";
import { pckChainOf } from "./verify.ts";
import type { Certificate } from "./x509.ts";
import { parseChain, verifyPath } from "./x509-path.ts";

/** Machines whose certificate chain need not be verified again to know what to ask for. */
const MAX_MACHINES = 256;

/** A quote names its machine by a chain, or by what the PCCS has to be asked with. */
export function pckRequestOf({ qe, userData }: Quote): PckRequest | undefined {
  const { certification } = qe;
  return certification.kind === "encrypted-ppid" ? { ...certification, qeId: userData.subarray(0, 16) } : undefined;
}

/** The name of a machine's chain in the store: all that a request for it says, since a part of it alone could be another's. */
export function machineOf(request: PckRequest): string {
  return createHash("sha256").update(pckRequestName(request)).digest("hex");
}

/** Whether the chain is that of the quote's machine: its key signed the report of the quoting enclave. */
export function requireOwnChain(
  quote: Quote,
  request: PckRequest,
  chain: string,
  settings: { anchor: TrustAnchor; at: number },
): void {
  const [pck] = verifyPath(parseChain(chain), settings);
  const { pceId } = parsePlatformIdentity(pck);
  if (equal(pceId, request.pceId) && isSignedRaw(quote.qe.reportBytes, quote.qe.signature, pck.publicKey)) return;
  throw new KmsError(
    "unproven.qe-report",
    "Signature is invalid for qe_report in quote: the PCK certificate is another machine's",
  );
}

/**
 * All quotes of a machine carry one chain; whether it is still good is for the verification. `chain` is the one of a machine
 * whose quotes carry none.
 */
export function createKeyReader(anchor: TrustAnchor): (quote: Quote, at: number, chain?: string) => CollateralKey {
  const machines = new BoundedMap<string, Pick<CollateralKey, "fmspc" | "ca">>(MAX_MACHINES);
  const read = (chain: string, at: number): Pick<CollateralKey, "fmspc" | "ca"> => {
    const [pck]: readonly [Certificate, ...Certificate[]] = verifyPath(parseChain(chain), { anchor, at });
    const machine = { fmspc: parsePlatformIdentity(pck).fmspc, ca: pckCaOf(pck) };
    if (chain.length > MAX_REMEMBERED_PEM) return machine;
    machines.set(chain, machine);
    return machine;
  };
  return (quote, at, given) => {
    const tee = quote.teeType === TEE_TYPE_TDX ? "tdx" : "sgx";
    const chain = given ?? pckChainOf(quote);
    const { fmspc, ca } = machines.get(chain) ?? read(chain, at);
    return { tee, fmspc, ca, ...(given === undefined ? {} : { chain: given }) };
  };
}
