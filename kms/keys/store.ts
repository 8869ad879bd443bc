/** The certificate folder: where the keys of a KMS live, in the reference's files and formats, so that either can adopt the other's. */
import { join } from "node:path";
import { equal, utf8 } from "../bytes.ts";
import { maySignCertificates } from "../ca/kms-certificates.ts";
import { parseCertificate } from "../ca/profile.ts";
import { KmsError } from "../errors.ts";
import { wipe } from "./kdf.ts";
import { decodeKeyPem, encodeKeyPem } from "./key-pem.ts";
import { caSpki, RootKeys } from "./root-keys.ts";
import { type Disk, diskFault, ensureFolder, systemDisk } from "./store-disk.ts";
import {
  exists,
  inFile,
  publicFile,
  readBytes,
  readText,
  removeTemporaries,
  replaceFile,
  secretFile,
  withModeBits,
} from "./store-files.ts";
import { k256KeyFile, publicKeyOf } from "./store-manifest.ts";
import { publishStage, type Recovery, recoverStage, stageFolder, writeStage } from "./store-stage.ts";

/** The seven files that make a KMS, in the order they are put in place: keys before the certificates that speak of them. */
const files = {
  tempCaKey: "tmp-ca.key",
  rootCaKey: "root-ca.key",
  rpcKey: "rpc.key",
  rootK256: k256KeyFile,
  tempCaCert: "tmp-ca.crt",
  rootCaCert: "root-ca.crt",
  rpcCert: "rpc.crt",
} as const;
const domainFile = "rpc-domain";
const bootstrapFile = "bootstrap-info.json";

/** By name, for backups; in the order they are put in place. */
export const keyStoreFiles: Readonly<Record<"required" | "optional" | "secret", readonly string[]>> = {
  required: Object.values(files),
  optional: [domainFile, bootstrapFile],
  secret: [files.tempCaKey, files.rootCaKey, files.rpcKey, files.rootK256],
};

export type CertificateName = typeof files.tempCaCert | typeof files.rootCaCert | typeof files.rpcCert;

/** All but the temp CA's key, which the protocol gives to anyone. */
const guardedFiles = [files.rootCaKey, files.rpcKey, files.rootK256];
const groupMayAccess = 0o070;
const othersMayAccess = 0o007;

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

/**
 * Mends what a process that ended left behind, before anything else looks at the folder; whoever calls holds its lock.
 * A folder of the reference has neither stage nor manifest and stays as it is.
 */
export async function recoverKeyStore(dir: string, disk: Disk = systemDisk): Promise<Recovery> {
  await removeTemporaries(dir, disk);
  return recoverStage(dir, disk);
}

/** Whether the folder holds a KMS. Part of one is refused: starting over would replace keys that may still be restored. */
export async function inspectKeyStore(dir: string): Promise<"empty" | "complete"> {
  const present = await Promise.all(Object.values(files).map((name) => exists(dir, name)));
  const missing = Object.values(files).filter((_name, index) => !present[index]);
  if (missing.length === 0) return "complete";
  if (missing.length === present.length) return "empty";
  const remedy = (await exists(dir, stageFolder))
    ? `a start of the KMS puts in place, or removes, what ${stageFolder} holds`
    : "restore them from a backup, or, if no app ever got keys from this KMS, move the other files away to start anew";
  throw new KmsError("fault.key-store", `certificate folder ${dir}: missing ${missing.join(", ")}: ${remedy}`);
}

/** Stores a new KMS, once: a crash leaves none or all of it, and nothing is ever written over a key. */
export async function createKeySet(
  dir: string,
  keySet: KeySet,
  domain: string,
  bootstrapInfo?: unknown,
  disk: Disk = systemDisk,
): Promise<void> {
  await ensureFolder(dir, disk);
  await recoverKeyStore(dir, disk);
  if ((await inspectKeyStore(dir)) !== "empty") {
    throw new KmsError("denied.already-bootstrapped", "KMS has already been bootstrapped");
  }
  if (bootstrapInfo === undefined) await setAside(dir, bootstrapFile, disk);
  const rootKeyPem = encodeKeyPem(keySet.rootKeys.caScalar);
  try {
    await writeStage(
      dir,
      [
        ...(bootstrapInfo === undefined ? [] : [publicFile(bootstrapFile, JSON.stringify(bootstrapInfo))]),
        secretFile(files.tempCaKey, utf8(keySet.tempCaKeyPem)),
        secretFile(files.rootCaKey, rootKeyPem),
        secretFile(files.rpcKey, keySet.rpcKeyPem),
        secretFile(files.rootK256, keySet.rootKeys.k256Key),
        publicFile(files.tempCaCert, keySet.tempCaCertPem),
        publicFile(files.rootCaCert, keySet.rootCaCertPem),
        publicFile(files.rpcCert, keySet.rpcCertPem),
        publicFile(domainFile, domain),
      ],
      disk,
    );
  } finally {
    wipe(rootKeyPem);
  }
  await publishStage(dir, disk);
}

/** Reads a complete folder. `domain` of the configuration, where there is one, stands in for the stored one. */
export async function loadKeySet(dir: string, options: { readonly domain?: string } = {}): Promise<StoredKeySet> {
  if ((await inspectKeyStore(dir)) === "empty") throw new KmsError("fault.key-store", `certificate folder ${dir}: no keys`);
  const domain = options.domain ?? (await readDomain(dir));
  await needGuardedKeys(dir);
  const rootKeys = await readRootKeys(dir);
  const rootCaCertPem = await readText(dir, files.rootCaCert);
  const rootSpki = inFile(files.rootCaCert, () => new Uint8Array(parseCertificate(rootCaCertPem).publicKey.rawData));
  if (!equal(rootSpki, caSpki(rootKeys))) throw new KmsError("fault.key-store", "CA certificate does not match private key");
  const rpcKeyPem = await readBytes(dir, files.rpcKey);
  const rpcSpki = publicKeyOf(files.rpcKey, rpcKeyPem);
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
      ...(await withModeBits(dir, keyStoreFiles.secret, groupMayAccess | othersMayAccess)).map(
        (name) => `${name}: more than its owner has access, want mode 0600: chmod 600 ${join(dir, name)}`,
      ),
      ...[caWarning(files.rootCaCert, rootCaCertPem), caWarning(files.tempCaCert, tempCaCertPem)].filter((line) => line !== ""),
    ],
  };
}

/** Certificates are renewed, keys never. */
export async function replaceCertificate(
  dir: string,
  name: CertificateName,
  pem: string,
  disk: Disk = systemDisk,
): Promise<void> {
  await replaceFile(dir, publicFile(name, pem), disk);
}

/** The JSON of bootstrap-info.json, or null when it is missing or none: the keys serve without it. */
export async function readBootstrapInfo(dir: string): Promise<unknown> {
  try {
    return JSON.parse(await readText(dir, bootstrapFile));
  } catch {
    return null;
  }
}

/** The bootstrap information of a KMS that never came to be must not speak for the keys of another one. */
async function setAside(dir: string, name: string, disk: Disk): Promise<void> {
  if (!(await exists(dir, name))) return;
  try {
    await disk.rename(join(dir, name), join(dir, `${name}.old`));
  } catch (cause) {
    throw diskFault(`${name}: cannot be renamed`, dir, cause);
  }
}

async function readRootKeys(dir: string): Promise<RootKeys> {
  const pem = await readBytes(dir, files.rootCaKey);
  const k256Key = await readBytes(dir, files.rootK256);
  const scalar = inFile(files.rootCaKey, () => decodeKeyPem(pem));
  publicKeyOf(files.rootK256, k256Key); // refuses another length
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

/** Keys that every user of the machine can read, or replace, have to be taken for known. */
async function needGuardedKeys(dir: string): Promise<void> {
  const open = await withModeBits(dir, guardedFiles, othersMayAccess);
  if (open.length === 0) return;
  const paths = open.map((name) => join(dir, name)).join(" ");
  throw new KmsError("fault.key-store", `${open.join(", ")}: every user has access, need mode 0600: chmod 600 ${paths}`);
}

/** Empty when the CA is fit for every client. */
function caWarning(name: string, pem: string): string {
  if (inFile(name, () => maySignCertificates(pem))) return "";
  return `${name}: key usage lacks keyCertSign (a release up to 0.5.4 made it), so OpenSSL and Node refuse what it signs`;
}
