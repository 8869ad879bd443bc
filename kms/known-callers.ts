/** The callers behind client certificates: the evidence of a certificate is verified once for as long as that proof stands. */
import { hash } from "node:crypto";
import { bindEvidence, reportData } from "./attestation/report-data.ts";
import type { Stands } from "./attestation/standing.ts";
import type { VerifiedEvidence, Verifier } from "./attestation/verifier.ts";
import { inContext } from "./errors.ts";
import { readCertificate } from "./ra-tls/extensions.ts";

/** Undefined = no certificate, or one without evidence. Throws what the caller is told. */
export type Authenticate = (peerDer: Uint8Array | undefined) => Promise<VerifiedEvidence | undefined>;

export interface KnownCallersSettings {
  readonly verifier: Verifier;
  readonly stands: Stands;
  readonly limits?: Partial<KnownCallersLimits>;
}

export interface KnownCallersLimits {
  readonly entries: number;
  /** Of all their certificates together: evidence in memory has a small multiple of that. */
  readonly bytes: number;
}

export const knownCallersLimits: KnownCallersLimits = { entries: 1_024, bytes: 8 * 1024 * 1024 };

interface Known {
  readonly evidence: VerifiedEvidence;
  readonly bytes: number;
}

/** Only what verified is kept, under the digest of the whole certificate: its key is part of what was proved. */
export function createKnownCallers({ verifier, stands, limits }: KnownCallersSettings): Authenticate {
  const { entries, bytes: maxBytes } = { ...knownCallersLimits, ...limits };
  const known = new Map<string, Known>();
  const running = new Map<string, Promise<VerifiedEvidence | undefined>>();
  let held = 0;

  const drop = (name: string) => {
    held -= known.get(name)?.bytes ?? 0;
    known.delete(name);
  };

  /** The order of the map is that of use: the first was not seen for longest. */
  const keep = (name: string, entry: Known) => {
    drop(name);
    known.set(name, entry);
    held += entry.bytes;
    for (const [oldest] of known) {
      if (known.size <= entries && held <= maxBytes) return;
      drop(oldest);
    }
  };

  const verifyAndKeep = async (name: string, der: Uint8Array) => {
    const evidence = await verifyCertificate(verifier, der);
    if (evidence !== undefined) keep(name, { evidence, bytes: der.length });
    return evidence;
  };

  return async (der) => {
    if (der === undefined) return undefined;
    const name = hash("sha256", der, "base64");
    const found = known.get(name);
    if (found !== undefined && stands(found.evidence)) {
      keep(name, found);
      return found.evidence;
    }
    drop(name);
    const shared = running.get(name) ?? verifyAndKeep(name, der).finally(() => running.delete(name));
    running.set(name, shared);
    return shared;
  };
}

/** The evidence must be bound to the very key that the certificate has. */
async function verifyCertificate(verifier: Verifier, der: Uint8Array): Promise<VerifiedEvidence | undefined> {
  const { evidence, spki } = readCertificate(der);
  if (evidence === undefined) return undefined;
  try {
    return await verifier.verify(bindEvidence(evidence, reportData("ratls-cert", spki)));
  } catch (thrown) {
    throw inContext("invalid quote", thrown);
  }
}
