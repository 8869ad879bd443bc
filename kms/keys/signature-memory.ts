/** The last signatures over things that never change for an app: deterministic and public, and dearer to make than all of its keys. */
import { BoundedMap } from "../bounded-map.ts";
import { toHex } from "../bytes.ts";
import type { SignaturePrefix } from "./kdf.ts";

const MAX_KEPT = 1_024;

/** Belongs to one root key: under another, the same app has other signatures. */
export class SignatureMemory {
  readonly #kept = new BoundedMap<string, Uint8Array>(MAX_KEPT);

  of(prefix: SignaturePrefix, appId: Uint8Array, sign: () => Uint8Array): Uint8Array {
    const name = `${prefix} ${toHex(appId)}`;
    const known = this.#kept.get(name);
    if (known !== undefined) return known.slice();
    const signature = sign();
    this.#kept.set(name, signature.slice());
    return signature;
  }
}
