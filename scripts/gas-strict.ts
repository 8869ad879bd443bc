/** What strict mode costs, beside the same call on the contracts already deployed or, where those were not measured, on ours in compatible mode. */
import { type Hex, hexToBytes } from "viem";
import { bootstrapReportData } from "../kms/attestation/report-data.ts";
import { concat, toHex } from "../kms/bytes.ts";
import type { GasChain } from "./gas-chain.ts";
import { APP_LISTS, DEVICE, filled, HASH, type Implementations, KMS_LISTS, withQuote, ZERO } from "./gas-values.ts";

export interface StrictRow {
  readonly operation: string;
  /** The operation it is compared with. */
  readonly counterpart: string;
  /** It may cost at most this many times its counterpart. */
  readonly limit?: number;
}

/** Published once by hand of the owner, so worth a budget: first registration, and replacement of the quote. */
const evidence = {
  first: "strict setKmsInfo with bound 5,000 B quote, new",
  info: "strict setKmsInfo with another bound 5,000 B quote",
  quote: "strict setKmsQuote, another bound 5,000 B",
} as const;
/** The contracts already deployed were not measured with this call, so ours in compatible mode stand in. */
const compatibleReplacement = "compatible setKmsInfo with another 5,000 B quote";

const factory = "deployAndRegisterApp 6 arguments, device and hash, TCB on";
const strict = (operation: string): string => `strict ${operation}`;

export const STRICT_ROWS: readonly StrictRow[] = [
  { operation: evidence.first, counterpart: "setKmsInfo with 5,000 B quote, new", limit: 0.4 },
  { operation: evidence.quote, counterpart: "setKmsQuote 5,000 B, different", limit: 1.4 },
  { operation: evidence.info, counterpart: compatibleReplacement, limit: 1.4 },
  ...[...KMS_LISTS, ...APP_LISTS].map(([, , counterpart]) => ({ operation: strict(counterpart), counterpart })),
  { operation: strict(factory), counterpart: factory },
];

const k256Pubkey = concat(Uint8Array.of(2), hexToBytes(filled(32)));
const spkiPrefix = hexToBytes("0x3059301306072a8648ce3d020106082a8648ce3d03010703420004");
const caPubkey = concat(spkiPrefix, hexToBytes(filled(64)));

/** A TDX quote of version 4 as far as the contract reads it: header, report data, and filler of no zero bytes. */
function boundQuote(byte: string): Hex {
  const quote = hexToBytes(filled(5000, byte));
  quote.set(Uint8Array.of(4, 0), 0);
  quote.set(Uint8Array.of(0x81, 0, 0, 0), 4);
  quote.set(bootstrapReportData(caPubkey, k256Pubkey), 48 + 520);
  return `0x${toHex(quote)}`;
}

export async function measureStrict(chain: GasChain, on: Implementations): Promise<void> {
  const { owner } = chain;
  const newKms = () => chain.proxy("KmsAuth", on.kms, [owner, on.app], undefined, "initializeStrict");
  const info = (byte: string) => ({
    k256Pubkey: `0x${toHex(k256Pubkey)}`,
    caPubkey: `0x${toHex(caPubkey)}`,
    quote: boundQuote(byte),
    eventlog: "0x",
  });
  const kms = await newKms();
  await chain.send(kms, "setKmsInfo", [info("a5")], evidence.first);
  await chain.send(kms, "setKmsInfo", [info("5a")], evidence.info);
  await chain.send(kms, "setKmsQuote", [boundQuote("3c")], evidence.quote);
  const compatible = await chain.proxy("KmsAuth", on.kms, [owner, on.app]);
  await chain.send(compatible, "setKmsInfo", [withQuote]);
  await chain.send(compatible, "setKmsInfo", [{ ...withQuote, quote: filled(5000, "5a") }], compatibleReplacement);
  for (const [call, value, counterpart] of KMS_LISTS) await chain.send(kms, call, [value], strict(counterpart));
  const app = await chain.proxy("AppAuth", on.app, [owner, false, false, true, ZERO, ZERO], undefined, "initializeStrict");
  for (const [call, value, counterpart] of APP_LISTS) await chain.send(app, call, [value], strict(counterpart));
  await chain.send(kms, "deployAndRegisterApp", [owner, false, true, false, DEVICE, HASH], strict(factory));
}
