/** What names the platform behind a quoting enclave: a certificate chain, or an encrypted id by which a PCCS finds the chain. */
import { ByteReader } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";

/** Type 5: leaf, CA and root in one PEM text, usually with a zero byte at its end. */
export interface PckChain {
  readonly kind: "pck-chain";
  readonly pem: Uint8Array;
}

/** Types 2 and 3: the id under Intel's key of 2,048 or 3,072 bits, and the platform's state as a request names it. */
export interface EncryptedPpid {
  readonly kind: "encrypted-ppid";
  readonly encryptedPpid: Uint8Array;
  readonly cpuSvn: Uint8Array;
  /** Two bytes, little endian, as a PCCS takes and returns them. */
  readonly pceSvn: Uint8Array;
  /** Two bytes, little endian. */
  readonly pceId: Uint8Array;
}

/** Types that no real quoting enclave uses: 1 and 4, and those that Intel has not defined. */
export interface OtherCertification {
  readonly kind: "other";
  readonly type: number;
}

export type Certification = PckChain | EncryptedPpid | OtherCertification;

const RSA_2048 = 2;
const RSA_3072 = 3;
const PEM_CHAIN = 5;

export function parseCertification(type: number, data: Uint8Array): Certification {
  if (type === PEM_CHAIN) return { kind: "pck-chain", pem: data };
  if (type === RSA_2048) return readEncryptedPpid(data, 256);
  if (type === RSA_3072) return readEncryptedPpid(data, 384);
  return { kind: "other", type };
}

/** Of exact length: nothing signs these bytes, and one that is left over would be unread. */
function readEncryptedPpid(data: Uint8Array, length: number): EncryptedPpid {
  const wanted = length + 20;
  if (data.length !== wanted) {
    const detail = `qe.certificationData: need ${wanted} bytes, have ${data.length}`;
    throw new KmsError("malformed.quote", `Failed to decode quote: ${detail}`);
  }
  const reader = new ByteReader(data, "malformed.quote");
  return {
    kind: "encrypted-ppid",
    encryptedPpid: reader.take(length, "encryptedPpid"),
    cpuSvn: reader.take(16, "cpuSvn"),
    pceSvn: reader.take(2, "pceSvn"),
    pceId: reader.take(2, "pceId"),
  };
}
