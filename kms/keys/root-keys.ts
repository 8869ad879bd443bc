/** The two root keys of a KMS, held so that printing, spreading or serialising them shows nothing, and wiped by their owner. */
import { KmsError } from "../errors.ts";
import { k256Point, needK256Scalar, needP256Scalar, p256Spki, wipe } from "./kdf.ts";
import { PublicMemory } from "./public-memory.ts";

/** Draws random bytes; the composition root passes the system's generator. */
export type Random = (length: number) => Uint8Array;

const scalarLength = 32;
/** A drawn scalar is out of range once in 2^32 for P-256; more failures than this mean a broken generator. */
const maxDraws = 4;

export class RootKeys {
  readonly #caScalar: Uint8Array;
  readonly #k256Key: Uint8Array;
  /** Of apps, by the prefix of what is signed. */
  readonly signatures = new PublicMemory();
  /** Of derived P-256 keys: their public halves, by the purpose of the key. */
  readonly points = new PublicMemory();
  #wiped = false;

  /** Copies its arguments; the caller wipes its own. */
  constructor(caScalar: Uint8Array, k256Key: Uint8Array) {
    this.#caScalar = needP256Scalar(caScalar, "root CA key").slice();
    this.#k256Key = needK256Scalar(k256Key, "root k256 key").slice();
  }

  /** The P-256 scalar of the root CA. */
  get caScalar(): Uint8Array {
    return this.#unwiped(this.#caScalar);
  }

  /** The secp256k1 root key. */
  get k256Key(): Uint8Array {
    return this.#unwiped(this.#k256Key);
  }

  wipe(): void {
    this.#wiped = true;
    wipe(this.#caScalar, this.#k256Key);
  }

  /** Deriving from a wiped key would give out keys that anyone can compute. */
  #unwiped(key: Uint8Array): Uint8Array {
    if (this.#wiped) throw new KmsError("fault.internal", "root keys are wiped");
    return key;
  }
}

export function generateRootKeys(random: Random): RootKeys {
  const caScalar = generateP256Scalar(random);
  const k256Key = draw(random, (bytes) => needK256Scalar(bytes, "drawn secp256k1 scalar"));
  const keys = new RootKeys(caScalar, k256Key);
  wipe(caScalar, k256Key);
  return keys;
}

/** A fresh key for the RPC server or the temp CA. */
export function generateP256Scalar(random: Random): Uint8Array {
  return draw(random, (bytes) => needP256Scalar(bytes, "drawn P-256 scalar"));
}

/** SubjectPublicKeyInfo of the root CA key, 91 bytes: the id of this KMS as key provider. */
export function caSpki(root: RootKeys): Uint8Array {
  return p256Spki(root.caScalar);
}

/** Compressed public key of the secp256k1 root, 33 bytes: what the registry contract publishes. */
export function k256Pubkey(root: RootKeys): Uint8Array {
  return k256Point(root.k256Key);
}

function draw(random: Random, accept: (bytes: Uint8Array) => Uint8Array): Uint8Array {
  for (let count = 1; ; count += 1) {
    try {
      return accept(random(scalarLength));
    } catch (cause) {
      if (count === maxDraws) throw new KmsError("fault.internal", "the random generator gives no usable key", { cause });
    }
  }
}
