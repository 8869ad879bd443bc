/** The files of a KMS as bytes in memory: read whole, and checked to belong together before they are archived or restored. */
import { X509Certificate } from "node:crypto";
import { equal } from "../bytes.ts";
import { KmsError } from "../errors.ts";
import { wipe } from "../keys/kdf.ts";
import { decodeKeyPem } from "../keys/key-pem.ts";
import { RootKeys } from "../keys/root-keys.ts";
import { keyStoreFiles } from "../keys/store.ts";
import { exists, type FileWrite, publicMode, readBytes, secretMode } from "../keys/store-files.ts";
import { publicKeyOf } from "../keys/store-manifest.ts";

/** Of the folder of a running KMS too: each file is replaced as one, and keys never are. */
export async function readKeyFiles(dir: string): Promise<FileWrite[]> {
  const present = [...keyStoreFiles.required];
  for (const name of keyStoreFiles.optional) if (await exists(dir, name)) present.push(name);
  const files: FileWrite[] = [];
  for (const name of present) files.push(keyFile(name, await readBytes(dir, name)));
  return files;
}

export function keyFile(name: string, content: Uint8Array): FileWrite {
  return { name, content, mode: keyStoreFiles.secret.includes(name) ? secretMode : publicMode };
}

export function wipeFiles(files: readonly FileWrite[]): void {
  wipe(...files.map(({ content }) => content));
}

/** All seven are there, every certificate is its key's, and the server's is the root's. */
export function verifyKeyFiles(files: readonly FileWrite[]): void {
  const content = (name: string) => {
    const found = files.find((file) => file.name === name);
    if (found === undefined) throw new KmsError("fault.key-store", `${name}: is missing`);
    return found.content;
  };
  for (const name of keyStoreFiles.required) content(name);
  for (const name of ["root-ca", "tmp-ca", "rpc"]) {
    const certificate = certificateOf(`${name}.crt`, content(`${name}.crt`));
    const spki = certificate.publicKey.export({ format: "der", type: "spki" });
    if (equal(spki, publicKeyOf(`${name}.key`, content(`${name}.key`)))) continue;
    throw new KmsError("fault.key-store", `${name}.crt: is not the certificate of ${name}.key`);
  }
  const root = certificateOf("root-ca.crt", content("root-ca.crt"));
  if (!certificateOf("rpc.crt", content("rpc.crt")).verify(root.publicKey)) {
    throw new KmsError("fault.key-store", "rpc.crt: is not signed by root-ca.key");
  }
}

/** The caller wipes them. */
export function rootKeysOf(files: readonly FileWrite[]): RootKeys {
  const [pem, k256] = ["root-ca.key", "root-k256.key"].map((wanted) => files.find(({ name }) => name === wanted)?.content);
  if (pem === undefined || k256 === undefined) throw new KmsError("fault.key-store", "root keys are missing");
  const scalar = decodeKeyPem(pem);
  try {
    return new RootKeys(scalar, k256);
  } finally {
    wipe(scalar);
  }
}

function certificateOf(name: string, pem: Uint8Array): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new KmsError("fault.key-store", `${name}: cannot be decoded`, { cause });
  }
}
