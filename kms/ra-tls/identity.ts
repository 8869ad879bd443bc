/** An RA-TLS identity: a fresh key, evidence bound to it, and a leaf of the temp CA that carries both into a TLS handshake. */
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { decodeEvidence, encodeEvidence, stripEvidence } from "../attestation/evidence.ts";
import { bindEvidence, reportData } from "../attestation/report-data.ts";
import { utf8 } from "../bytes.ts";
import { encodePem, issueCertificate, spkiOf } from "../ca/profile.ts";
import { KmsError } from "../errors.ts";
import { oidOf, privateExtension } from "./extensions.ts";
import type { GuestAgent } from "./guest-agent.ts";

/** What GetTempCaCert answers. The temp CA's key is public by protocol. */
export interface TempCa {
  readonly tempCaCertPem: string;
  readonly tempCaKeyPem: string;
  /** The root CA that the KMS says it has. */
  readonly caCertPem: string;
}

export interface RaTlsIdentity {
  /** PKCS#8 PEM. */
  readonly keyPem: Uint8Array;
  readonly certificatePem: string;
}

export async function makeRaTlsIdentity(agent: Pick<GuestAgent, "attest">, tempCa: TempCa, now: Date): Promise<RaTlsIdentity> {
  const pkcs8 = freshKey();
  const spki = spkiOf(pkcs8);
  const certificatePem = await issueCertificate(
    {
      subject: { commonName: "RA-TLS TEMP Cert" },
      spki,
      extensions: [privateExtension(oidOf.attestation, await certificateEvidence(agent, spki))],
      now,
    },
    { certificate: tempCa.tempCaCertPem, pkcs8: parsePrivateKey(tempCa.tempCaKeyPem) },
  );
  return { keyPem: utf8(encodePem("PRIVATE KEY", pkcs8)), certificatePem };
}

/** The reduced envelope for a certificate over this key; evidence over anything else would be refused by every peer, so it is refused here. */
async function certificateEvidence(agent: Pick<GuestAgent, "attest">, spki: Uint8Array): Promise<Uint8Array> {
  const expected = reportData("ratls-cert", spki);
  const evidence = decodeEvidence(await agent.attest(expected));
  return encodeEvidence(stripEvidence(bindEvidence(evidence, expected)));
}

function freshKey(): Uint8Array {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return new Uint8Array(privateKey.export({ format: "der", type: "pkcs8" }));
}

function parsePrivateKey(pem: string): Uint8Array {
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyDetails?.namedCurve !== "prime256v1") throw new TypeError("not a P-256 key");
    return new Uint8Array(key.export({ format: "der", type: "pkcs8" }));
  } catch (cause) {
    throw new KmsError("malformed.key", "temp CA key: cannot be decoded", { cause });
  }
}
