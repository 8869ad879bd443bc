/** Sets the verifier on the chain that must accept evidence for root keys, or none. */
import { getAddress, zeroAddress } from "viem";
import { type OwnerArguments, ownerAction, type Plan, trustDomain } from "../lib/owner-change.ts";
import { parseAddress } from "../lib/values.ts";

export function verifierPlan(verifier: string): Plan {
  const address = verifier === "none" ? zeroAddress : parseAddress(verifier, "the verifier", "a contract's address, or none");
  return {
    getter: "quoteVerifier",
    functionName: "setQuoteVerifier",
    args: [address],
    what: "quote verifier",
    after: () => address,
    noOp: "already so",
    shown: (value) => (value === zeroAddress ? "none" : getAddress(String(value))),
  };
}

export default ownerAction("kms set-verifier", trustDomain, ({ verifier }: OwnerArguments & { readonly verifier: string }) =>
  verifierPlan(verifier),
);
