/** The certificates a KMS keeps: root CA, temp CA and the RPC leaf, and when they are due. */
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { encodePkcs8 } from "../keys/kdf.ts";
import type { RootKeys } from "../keys/root-keys.ts";
import { oidOf, privateExtension } from "../ra-tls/extensions.ts";
import { issueCertificate, parseCertificate, spkiOf } from "./profile.ts";

const organization = "Dstack";
const renewalDays = 365;
const dayMs = 86_400_000;
export const rpcUsage = "kms:rpc";

/** A renewed one keeps the names of the one before it: guests and certificates of apps go by them. */
export async function makeRootCa(root: RootKeys, now: Date, before?: string): Promise<string> {
  const pkcs8 = encodePkcs8(root.caScalar);
  const subject = before ?? { organization, commonName: "Dstack KMS CA" };
  return issueCertificate({ subject, spki: spkiOf(pkcs8), pathLength: 1, now }, { certificate: "self", pkcs8 });
}

/** The temp CA proves nothing: its key is public by protocol. It only makes TLS stacks present a client certificate. */
export async function makeTempCa(tempCaScalar: Uint8Array, now: Date, before?: string): Promise<string> {
  const pkcs8 = encodePkcs8(tempCaScalar);
  const subject = before ?? { organization, commonName: "Dstack Client Temp CA" };
  return issueCertificate({ subject, spki: spkiOf(pkcs8), pathLength: 0, now }, { certificate: "self", pkcs8 });
}

export interface RpcLeafInput {
  readonly root: RootKeys;
  /** As stored: its subject becomes the issuer, byte for byte. */
  readonly rootCaCertPem: string;
  readonly rpcSpki: Uint8Array;
  readonly domain: string;
  /** The stripped envelope bound to the RPC key, unless `attest_rpc_cert` is off. */
  readonly evidence: Uint8Array | undefined;
  readonly now: Date;
}

export async function makeRpcLeaf(input: RpcLeafInput): Promise<string> {
  const usage = privateExtension(oidOf.usage, new TextEncoder().encode(rpcUsage));
  const evidence = input.evidence === undefined ? [] : [privateExtension(oidOf.attestation, input.evidence)];
  return issueCertificate(
    {
      subject: { commonName: input.domain },
      spki: input.rpcSpki,
      altNames: [input.domain],
      extensions: [usage, ...evidence],
      now: input.now,
    },
    { certificate: input.rootCaCertPem, pkcs8: encodePkcs8(input.root.caScalar) },
  );
}

/** A stored CA certificate is re-issued, with the same key and names, when it ends within a year. */
export function renewalDue(certificatePem: string, now: Date): boolean {
  return parseCertificate(certificatePem).notAfter.getTime() - now.getTime() < renewalDays * dayMs;
}

/** CA certificates of old releases lack keyCertSign: Rust clients accept them, OpenSSL and Node do not. */
export function maySignCertificates(certificatePem: string): boolean {
  const usage = parseCertificate(certificatePem).getExtension(x509.KeyUsagesExtension);
  return usage === null || (usage.usages & x509.KeyUsageFlags.keyCertSign) !== 0;
}
