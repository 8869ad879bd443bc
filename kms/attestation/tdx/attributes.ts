/** Attribute rules of a verified report: no debug, no unknown power, no service TD. */
import { isZero } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { isDebugEnclave } from "./qe-identity.ts";
import type { QuoteBody } from "./quote.ts";

const DEBUG = 0x01;
const RESERVED_TUD = 0xfe;
/** Byte 3: without it the host can inject #VE on a TD's private memory. */
const SEPT_VE_DISABLE = 0x10;
/**
 * The reserved bits above the first byte, and PERFMON (63), which the reference counts among them; PKS (30) and KL (31) are free. Bit 39
 * is here though the reference does not look at it: its neighbours are reserved, and a power that nobody has named is not to be let in.
 */
const RESERVED = Uint8Array.of(0, 0xff, 0xff, 0x2f, 0xff, 0xff, 0xff, 0xff);

export function requireAttributes(body: QuoteBody): void {
  if (body.kind === "sgx") {
    if (isDebugEnclave(body)) throw new KmsError("unproven.debug", "Debug mode is enabled");
    return;
  }
  // a service TD may migrate or reset the TD, so its measurement would be part of ours
  if (body.kind === "td15" && !isZero(body.mrServiceTd)) throw new KmsError("unproven.service-td", "Invalid MR service TD");
  requireTdAttributes(body.tdAttributes);
}

function requireTdAttributes(attributes: Uint8Array): void {
  const [tud = RESERVED_TUD, , , sept = 0] = attributes;
  if ((tud & RESERVED_TUD) !== 0) throw reserved();
  if ((tud & DEBUG) !== 0) throw new KmsError("unproven.debug", "Debug mode is enabled");
  if (attributes.some((byte, index) => (byte & (RESERVED[index] ?? 0xff)) !== 0)) throw reserved();
  if ((sept & SEPT_VE_DISABLE) === 0) throw new KmsError("unproven.td-attributes", "SEPT_VE_DISABLE is not enabled");
}

function reserved(): KmsError {
  return new KmsError("unproven.td-attributes", "Reserved bits in TD attributes are set");
}
