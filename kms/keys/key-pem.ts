/** P-256 keys as PKCS#8 PEM, the form in which the certificate folder and TLS hold them. */
import { createPrivateKey } from "node:crypto";
import { fromUtf8, utf8 } from "../bytes.ts";
import { KmsError } from "../errors.ts";
import { decodePkcs8, encodePkcs8, wipe } from "./kdf.ts";

const armour = /^-----BEGIN PRIVATE KEY-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END PRIVATE KEY-----\s*$/;

export function encodeKeyPem(scalar: Uint8Array): Uint8Array {
  const der = encodePkcs8(scalar);
  const key = createPrivateKey({ key: Buffer.from(der.buffer, der.byteOffset, der.length), format: "der", type: "pkcs8" });
  wipe(der);
  return utf8(key.export({ format: "pem", type: "pkcs8" }).toString());
}

/** The scalar. Rust peers refuse SEC1 and a PKCS#8 key without its public half, so neither is accepted here. */
export function decodeKeyPem(pem: Uint8Array): Uint8Array {
  const body = armour.exec(fromUtf8(pem, "key", "malformed.key"))?.[1];
  if (body === undefined) throw new KmsError("malformed.key", "need one PKCS#8 key in PEM (BEGIN PRIVATE KEY)");
  const der = new Uint8Array(Buffer.from(body, "base64"));
  try {
    return decodePkcs8(der);
  } finally {
    wipe(der);
  }
}
