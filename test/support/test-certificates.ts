/** Throw-away certificate authorities and leaves for TLS tests. */
import "reflect-metadata";
import type { webcrypto } from "node:crypto";
import {
  BasicConstraintsExtension,
  type JsonGeneralNames,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";

export interface TestIdentity {
  readonly certPem: string;
  readonly keyPem: string;
  readonly der: Uint8Array;
}

export interface TestAuthority extends TestIdentity {
  issue(name: string, hosts?: readonly string[]): Promise<TestIdentity>;
}

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;

export async function testAuthority(name: string): Promise<TestAuthority> {
  const keys = await newKeys();
  const ca = await X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    ...validity(),
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [new BasicConstraintsExtension(true, undefined, true)],
  });
  const issue = async (leafName: string, hosts: readonly string[] = []): Promise<TestIdentity> => {
    const leafKeys = await newKeys();
    const names: JsonGeneralNames = hosts.map((host) => ({ type: /^[0-9.]+$/.test(host) ? "ip" : "dns", value: host }));
    const leaf = await X509CertificateGenerator.create({
      subject: `CN=${leafName}`,
      issuer: ca.subjectName,
      ...validity(),
      publicKey: leafKeys.publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: names.length > 0 ? [new SubjectAlternativeNameExtension(names)] : [],
    });
    return { certPem: leaf.toString("pem"), keyPem: await pemOf(leafKeys), der: new Uint8Array(leaf.rawData) };
  };
  return { certPem: ca.toString("pem"), keyPem: await pemOf(keys), der: new Uint8Array(ca.rawData), issue };
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
}

async function pemOf(keys: webcrypto.CryptoKeyPair): Promise<string> {
  const der = Buffer.from(await crypto.subtle.exportKey("pkcs8", keys.privateKey));
  return `-----BEGIN PRIVATE KEY-----\n${der.toString("base64")}\n-----END PRIVATE KEY-----\n`;
}

function validity(): { readonly notBefore: Date; readonly notAfter: Date } {
  return { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + DAY_MS) };
}
