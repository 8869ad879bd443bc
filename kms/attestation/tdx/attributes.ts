/** Attribute rules of a verified report: no debug, no unknown power, no service TD. */
import { isZero } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { isDebugEnclave } from "./qe-identity.ts";
import type { QuoteBody } from "./quote.ts";

const DEBUG = 1n << 0n;
const RESERVED_TUD = bits(1, 7);
/**
 * Reserved bits and PERFMON (63), which the reference counts among them. Bit 39 is left out because the reference does not
 * look at it either; PKS (30) and KL (31) are free.
 */
const RESERVED = bits(8, 27) | bits(29, 29) | bits(32, 38) | bits(40, 63);
/** Without it the host can inject #VE on a TD's private memory. */
const SEPT_VE_DISABLE = 1n << 28n;

export function requireAttributes(body: QuoteBody): void {
  if (body.kind === "sgx") {
    if (isDebugEnclave(body)) throw new KmsError("unproven.debug", "Debug mode is enabled");
    return;
  }
  // a service TD may migrate or reset the TD, so its measurement would be part of ours
  if (body.kind === "td15" && !isZero(body.mrServiceTd)) throw new KmsError("unproven.service-td", "Invalid MR service TD");
  requireTdAttributes(body.tdAttributes);
}

function requireTdAttributes(bytes: Uint8Array): void {
  const attributes = bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
  if ((attributes & RESERVED_TUD) !== 0n) throw reserved();
  if ((attributes & DEBUG) !== 0n) throw new KmsError("unproven.debug", "Debug mode is enabled");
  if ((attributes & RESERVED) !== 0n) throw reserved();
  if ((attributes & SEPT_VE_DISABLE) === 0n) throw new KmsError("unproven.td-attributes", "SEPT_VE_DISABLE is not enabled");
}

function reserved(): KmsError {
  return new KmsError("unproven.td-attributes", "Reserved bits in TD attributes are set");
}

/** A mask of the bits `from` to `to`, both included. */
function bits(from: number, to: number): bigint {
  return ((1n << BigInt(to - from + 1)) - 1n) << BigInt(from);
}
