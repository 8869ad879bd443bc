/** A real quote of 5,006 bytes with everything that judges it, and the bare signature checks that it takes: the floor. */
import { type KeyObject, verify } from "node:crypto";
import type { Collateral } from "../kms/attestation/tdx/collateral.ts";
import { parseCrl } from "../kms/attestation/tdx/crl.ts";
import { derOfRaw, keyFromPoint } from "../kms/attestation/tdx/p256.ts";
import { parseQuote } from "../kms/attestation/tdx/quote.ts";
import { intelSgxRootCa } from "../kms/attestation/tdx/trust-anchor.ts";
import { pckChainOf } from "../kms/attestation/tdx/verify.ts";
import { parseChain } from "../kms/attestation/tdx/x509-path.ts";
import { utf8 } from "../kms/bytes.ts";
import { readCollateral, readFixture, readQuote } from "../test/support/tdx-samples.ts";

/** With its key imported and its signature in DER, which is what node:crypto checks fastest. */
interface Check {
  readonly data: Uint8Array;
  readonly key: KeyObject;
  readonly signature: Uint8Array;
}

export interface Floors {
  /** The QE report and the quote itself: no other signature is new in the second quote of a machine. */
  readonly warm: readonly Check[];
  /** And the machine's own certificate. */
  readonly machine: readonly Check[];
  /** And the PCK CA, the TCB signer, both revocation lists, TCB info and QE identity. */
  readonly cold: readonly Check[];
}

const collateralFile = "collateral-b0c06f-2025-06.json";

export interface Sample {
  readonly quote: Uint8Array;
  readonly collateral: Collateral;
  /** As other verifiers take it. */
  readonly collateralJson: unknown;
  readonly pckChain: string;
  readonly now: Date;
  readonly floors: Floors;
}

export function readSample(): Sample {
  const quote = readQuote("tdx-v4-b0c06f-a.bin");
  const collateral = readCollateral(collateralFile);
  const pckChain = pckChainOf(parseQuote(quote));
  return {
    quote,
    collateral,
    collateralJson: JSON.parse(new TextDecoder().decode(readFixture(collateralFile))),
    pckChain,
    now: new Date("2025-07-01T00:00:00Z"),
    floors: floorsOf(quote, collateral, pckChain),
  };
}

function floorsOf(bytes: Uint8Array, collateral: Collateral, pckChain: string): Floors {
  const { qe, signedPart, signature, attestationKey } = parseQuote(bytes);
  const [pck, pckCa] = parseChain(pckChain);
  const [tcbSigner] = parseChain(collateral.tcbInfoIssuerChain);
  if (pckCa === undefined) throw new Error("the sample has a PCK CA");
  const root = intelSgxRootCa.certificate.publicKey;
  const raw = (data: Uint8Array, key: KeyObject, rs: Uint8Array) => ({ data, key, signature: derOfRaw(rs) });
  const issued = ({ tbs, signature }: { readonly tbs: Uint8Array; readonly signature: Uint8Array }, key: KeyObject) => ({
    data: tbs,
    key,
    signature,
  });
  const warm = [
    raw(qe.reportBytes, pck.publicKey, qe.signature),
    raw(signedPart, keyFromPoint(attestationKey, "malformed.quote"), signature),
  ];
  const machine = [...warm, issued(pck, pckCa.publicKey)];
  const cold = [
    ...machine,
    issued(pckCa, root),
    issued(tcbSigner, root),
    issued(parseCrl(collateral.rootCaCrl, "root_ca_crl"), root),
    issued(parseCrl(collateral.pckCrl, "pck_crl"), pckCa.publicKey),
    raw(utf8(collateral.tcbInfo), tcbSigner.publicKey, collateral.tcbInfoSignature),
    raw(utf8(collateral.qeIdentity), tcbSigner.publicKey, collateral.qeIdentitySignature),
  ];
  return { warm, machine, cold };
}

export function runFloor(checks: readonly Check[]): void {
  for (const { data, key, signature } of checks) {
    if (!verify("sha256", data, key, signature)) throw new Error("a signature of the sample does not hold");
  }
}
