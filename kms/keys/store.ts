/** The certificate folder: where the keys of a KMS live, in the reference's files and formats, so that either can adopt the other's. */
import { mkdir } from "node:fs/promises";
import { equal, needLength, utf8 } from "../bytes.ts";
import { maySignCertificates } from "../ca/kms-certificates.ts";
import { parseCertificate } from "../ca/profile.ts";
import { KmsError } from "../errors.ts";
import { p256Spki, wipe } from "./kdf.ts";
import { decodeKeyPem, encodeKeyPem } from "./key-pem.ts";
import { caSpki, RootKeys } from "./root-keys.ts";
import { exists, inFile, looselyKept, publicFile, readBytes, readText, secretFile, writeFiles } from "./store-files.ts";

/** The seven files that make a KMS, in the order they are put in place: keys before the certificates that speak of them. */
const files = {
  tempCaKey: "tmp-ca.key",
  rootCaKey: "root-ca.key",
  rpcKey: "rpc.key",
  rootK256: "root-k256.key",
  tempCaCert: "tmp-ca.crt",
  rootCaCert: "root-ca.crt",
  rpcCert: "rpc.crt",
} as const;
const domainFile = "rpc-domain";
const bootstrapFile = "bootstrap-info.json";

export type CertificateName = typeof files.tempCaCert | typeof files.rootCaCert | typeof files.rpcCert;

const folderMode = 0o700;
const k256Length = 32;
const secretFiles = [files.tempCaKey, files.rootCaKey, files.rpcKey, files.rootK256];

export interface KeySet {
  readonly rootKeys: RootKeys;
  /** Handed to anyone by protocol, so text is no leak. */
  readonly tempCaKeyPem: string;
  readonly tempCaCertPem: string;
  readonly rootCaCertPem: string;
  /** PKCS#8 PEM of the RPC server's key. */
  readonly rpcKeyPem: Uint8Array;
  readonly rpcCertPem: string;
}

export interface StoredKeySet extends KeySet {
  readonly rpcSpki: Uint8Array;
  readonly domain: string;
  /** For the log at start: what works but should be mended. */
  readonly warnings: readonly string[];
}

/** Whether the folder holds a KMS. Part of one is refused: starting over would replace keys that may still be restored. */
export async function inspectKeyStore(dir: string): Promise<"empty" | "complete"> {
  const present = await Promise.all(Object.values(files).map((name) => exists(dir, name)));
  const missing = Object.values(files).filter((_name, index) => !present[index]);
  if (missing.length === 0) return "complete";
  if (missing.length === present.length) return "empty";
  const remedy = "restore them from a backup, or, if no app ever got keys from this KMS, move the other files away to start anew";
  throw new KmsError("fault.key-store", `certificate folder ${dir}: missing ${missing.join(", ")}: ${remedy}`);
}

/** Stores a new KMS, once. Every file is whole on disk before the first gets its name. */
export async function createKeySet(dir: string, keySet: KeySet, domain: string, bootstrapInfo?: unknown): Promise<void> {
  await mkdir(dir, { recursive: true, mode: folderMode });
  if ((await inspectKeyStore(dir)) !== "empty") {
    throw new KmsError("denied.already-bootstrapped", "KMS has already been bootstrapped");
  }
  const rootKeyPem = encodeKeyPem(keySet.rootKeys.caScalar);
  try {
    await writeFiles(dir, [
      ...(bootstrapInfo === undefined ? [] : [publicFile(bootstrapFile, JSON.stringify(bootstrapInfo))]),
      secretFile(files.tempCaKey, utf8(keySet.tempCaKeyPem)),
      secretFile(files.rootCaKey, rootKeyPem),
      secretFile(files.rpcKey, keySet.rpcKeyPem),
      secretFile(files.rootK256, keySet.rootKeys.k256Key),
      publicFile(files.tempCaCert, keySet.tempCaCertPem),
      publicFile(files.rootCaCert, keySet.rootCaCertPem),
      publicFile(files.rpcCert, keySet.rpcCertPem),
      publicFile(domainFile, domain),
    ]);
  } finally {
    wipe(rootKeyPem);
  }
}

/** Reads a complete folder. `domain` of the configuration, where there is one, stands in for the stored one. */
export async function loadKeySet(dir: string, options: { readonly domain?: string } = {}): Promise<StoredKeySet> {
  if ((await inspectKeyStore(dir)) === "empty") throw new KmsError("fault.key-store", `certificate folder ${dir}: no keys`);
  const domain = options.domain ?? (await readDomain(dir));
  const rootKeys = await readRootKeys(dir);
  const rootCaCertPem = await readText(dir, files.rootCaCert);
  const rootSpki = inFile(files.rootCaCert, () => new Uint8Array(parseCertificate(rootCaCertPem).publicKey.rawData));
  if (!equal(rootSpki, caSpki(rootKeys))) throw new KmsError("fault.key-store", "CA certificate does not match private key");
  const rpcKeyPem = await readBytes(dir, files.rpcKey);
  const rpcSpki = inFile(files.rpcKey, () => spkiOf(rpcKeyPem));
  const tempCaCertPem = await readText(dir, files.tempCaCert);
  return {
    rootKeys,
    tempCaKeyPem: await readText(dir, files.tempCaKey),
    tempCaCertPem,
    rootCaCertPem,
    rpcKeyPem,
    rpcSpki,
    rpcCertPem: await readText(dir, files.rpcCert),
    domain,
    warnings: [
      ...(await looselyKept(dir, secretFiles)).map((name) => `${name}: group or others have access, want mode 0600`),
      ...[caWarning(files.rootCaCert, rootCaCertPem), caWarning(files.tempCaCert, tempCaCertPem)].filter((line) => line !== ""),
    ],
  };
}

/** Certificates are renewed, keys never. */
export async function replaceCertificate(dir: string, name: CertificateName, pem: string): Promise<void> {
  await writeFiles(dir, [publicFile(name, pem)]);
}

/** The JSON of bootstrap-info.json, or null when it is missing or none: the keys serve without it. */
export async function readBootstrapInfo(dir: string): Promise<unknown> {
  try {
    return JSON.parse(await readText(dir, bootstrapFile));
  } catch {
    return null;
  }
}

async function readRootKeys(dir: string): Promise<RootKeys> {
  const pem = await readBytes(dir, files.rootCaKey);
  const k256Key = await readBytes(dir, files.rootK256);
  const scalar = inFile(files.rootCaKey, () => decodeKeyPem(pem));
  inFile(files.rootK256, () => needLength(k256Key, k256Length, "secp256k1 key", "malformed.key"));
  const keys = inFile(files.rootK256, () => new RootKeys(scalar, k256Key));
  wipe(pem, scalar, k256Key);
  return keys;
}

async function readDomain(dir: string): Promise<string> {
  if (!(await exists(dir, domainFile))) {
    const remedy = "write the DNS name of this KMS into it, one line of text";
    throw new KmsError("fault.key-store", `certificate folder ${dir}: missing ${domainFile}: ${remedy}`);
  }
  const domain = (await readText(dir, domainFile)).trim();
  if (domain === "") throw new KmsError("fault.key-store", `${domainFile}: is empty`);
  return domain;
}

function spkiOf(keyPem: Uint8Array): Uint8Array {
  const scalar = decodeKeyPem(keyPem);
  const spki = p256Spki(scalar);
  wipe(scalar);
  return spki;
}

/** Empty when the CA is fit for every client. */
function caWarning(name: string, pem: string): string {
  if (inFile(name, () => maySignCertificates(pem))) return "";
  return `${name}: key usage lacks keyCertSign (a release up to 0.5.4 made it), so OpenSSL and Node refuse what it signs`;
}
