/** Public things that never change for an app and are dearer to make than its keys: the last signatures over them, the last points. */
import { BoundedMap } from "../bounded-map.ts";
import { toHex } from "../bytes.ts";

const MAX_KEPT = 1_024;

/** Belongs to one root key: under another, the same app has others. Nothing secret goes in. */
export class PublicMemory {
  readonly #kept = new BoundedMap<string, Uint8Array>(MAX_KEPT);

  /** What `make` gives must follow from the root key, the purpose and the ids alone. */
  of(purpose: string, ids: readonly Uint8Array[], make: () => Uint8Array): Uint8Array {
    const name = [purpose, ...ids.map(toHex)].join(" ");
    const known = this.#kept.get(name);
    if (known !== undefined) return known.slice();
    const made = make();
    this.#kept.set(name, made.slice());
    return made;
  }
}
