/** Bootstrap information as a KMS on a simulated machine writes it. */
import { generateKeyPairSync } from "node:crypto";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { encodeEvidence } from "../../../kms/attestation/evidence.ts";
import { bootstrapReportData } from "../../../kms/attestation/report-data.ts";
import { parseCollateral } from "../../../kms/attestation/tdx/collateral.ts";
import { loadTrustAnchor } from "../../../kms/attestation/tdx/trust-anchor.ts";
import { createVerifier, type Verifier } from "../../../kms/attestation/verifier.ts";
import { toHex, utf8 } from "../../../kms/bytes.ts";
import { collateralJson, type SimulatedPlatform } from "../../../scripts/devnet/platform.ts";
import { parseBootstrapInfo } from "../../../scripts/lib/bootstrap-info.ts";
import { toKmsInfo } from "../../../scripts/lib/registration.ts";
import { simulatedTd } from "../../support/simulated-td.ts";

export interface BootstrapFile extends Record<string, string> {
  ca_pubkey: string;
  k256_pubkey: string;
  attestation: string;
}

/** `bound` false: genuine evidence over other report data. */
export function makeBootstrapFile(options: { bound?: boolean; td?: Parameters<typeof simulatedTd>[0] } = {}): BootstrapFile {
  const { publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const caSpki = new Uint8Array(publicKey.export({ type: "spki", format: "der" }));
  const k256Pubkey = secp256k1.getPublicKey(secp256k1.utils.randomSecretKey(), true);
  const data = options.bound === false ? new Uint8Array(64) : bootstrapReportData(caSpki, k256Pubkey);
  const attestation = encodeEvidence(simulatedTd(options.td).evidence(data));
  return { ca_pubkey: toHex(caSpki), k256_pubkey: toHex(k256Pubkey), attestation: toHex(attestation) };
}

/** The same in the form of files before 2026. */
export function legacyFile(file: BootstrapFile): { ca_pubkey: string; k256_pubkey: string; quote: string; eventlog: string } {
  const { quote, eventlog } = toKmsInfo(parseBootstrapInfo(utf8(JSON.stringify(file))));
  return { ca_pubkey: file.ca_pubkey, k256_pubkey: file.k256_pubkey, quote: quote.slice(2), eventlog: eventlog.slice(2) };
}

/** Verifies evidence of one simulated machine with its own collateral, now. */
export function simulatedVerifier(platform: SimulatedPlatform): Verifier {
  const now = () => new Date();
  const collateral = parseCollateral(collateralJson(platform.collateral(now())));
  return createVerifier({
    tdxRoot: loadTrustAnchor(platform.rootDer),
    collateral: { collateralFor: async () => collateral },
    now,
  });
}
