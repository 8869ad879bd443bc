/** The parts a store keeps, in memory and in its folder: verified on the way in from wherever they come, and written back. */
import { asKmsError, KmsError } from "../../errors.ts";
import type { CollateralFolder, StoredCollateral } from "./collateral-disk.ts";
import { factsOf, type Item, itemKinds } from "./collateral-items.ts";
import { type Put, Shelf } from "./collateral-shelf.ts";
import { type VerifiedItem, verifyItem } from "./collateral-verify.ts";
import type { TrustAnchor } from "./trust-anchor.ts";

export interface KeeperSettings {
  readonly anchor: TrustAnchor;
  readonly now: () => Date;
  readonly folder: CollateralFolder | undefined;
}

/** How many notes wait for somebody to read them. */
const MAX_PROBLEMS = 64;

export class Keeper {
  readonly shelf = new Shelf();
  readonly #settings: KeeperSettings;
  readonly #unwritten = new Map<string, VerifiedItem>();
  #problems: string[] = [];
  #generation = 0;
  #stamp: string | undefined;
  /** One access to the folder at a time. */
  #last: Promise<void> = Promise.resolve();

  constructor(settings: KeeperSettings) {
    this.#settings = settings;
  }

  /** Verifies a part and keeps it, in memory now and in the folder soon. */
  accept(item: Item): Put {
    const part = this.#verify(item);
    const put = this.shelf.put(part);
    if (put.isNew) this.#unwritten.set(part.name, part);
    return put;
  }

  /** Takes over what another process wrote, and writes what is not in the folder yet. A folder that fails is a note, not a refusal. */
  settle(): Promise<void> {
    const { folder } = this.#settings;
    if (folder === undefined) return Promise.resolve();
    this.#last = this.#last.then(() => this.#settle(folder)).catch((thrown: unknown) => this.note(asKmsError(thrown).message));
    return this.#last;
  }

  /** What the operator should know, once. */
  takeProblems(): readonly string[] {
    const problems = this.#problems;
    this.#problems = [];
    return problems;
  }

  async #settle(folder: CollateralFolder): Promise<void> {
    if (this.#stamp === undefined || (await folder.stamp()) !== this.#stamp) this.#take(await folder.read());
    const isWanted = (part: VerifiedItem) => this.shelf.get(part.name)?.part === part && !this.shelf.isPast(part);
    for (const part of this.#unwritten.values()) if (!isWanted(part)) this.#unwritten.delete(part.name);
    const parts = [...this.#unwritten.values()];
    if (parts.length === 0) return;
    const stored = await folder.add(
      parts.map(({ item }) => item),
      this.#generation,
    );
    for (const part of parts) if (this.#unwritten.get(part.name) === part) this.#unwritten.delete(part.name);
    this.#take(stored);
  }

  #take({ index, items, problems, stamp }: StoredCollateral): void {
    for (const problem of problems) this.note(problem);
    if (index.generation > this.#generation) {
      this.shelf.forgetAll();
      this.#unwritten.clear();
    }
    this.#generation = Math.max(this.#generation, index.generation);
    this.#stamp = stamp;
    for (const [floor, rank] of index.floors) this.shelf.raiseFloor(floor, rank);
    // the root's list first: it judges the signers of the others
    for (const kind of itemKinds) {
      for (const { item, digest } of items.values()) if (item.kind === kind) this.#takeStored(item, digest);
    }
    // what the folder has lost is given back to it
    for (const { part } of this.shelf.all()) {
      const isThere = problems.length === 0 && items.get(part.name)?.digest === part.digest;
      if (!isThere) this.#unwritten.set(part.name, part);
    }
  }

  /** Not trusted because it is on disk: it is verified as if it came from the network. */
  #takeStored(item: Item, digest: string): void {
    try {
      const { name, lastSecond } = factsOf(item);
      if (this.shelf.get(name)?.part.digest === digest) return;
      if (this.#seconds() > lastSecond) this.shelf.noteEnded(name, lastSecond);
      else this.shelf.put(this.#verify(item));
    } catch (thrown) {
      if (!(thrown instanceof KmsError)) throw thrown;
      if (thrown.code !== "unproven.collateral-older") this.note(`stored ${item.kind} is not used: ${thrown.message}`);
    }
  }

  #verify(item: Item): VerifiedItem {
    const root = this.shelf.get("root-crl")?.part.item;
    if (item.kind !== "root-crl" && root?.kind !== "root-crl") {
      throw new KmsError("unavailable.collateral", "root_ca_crl: none is kept, so no signer can be judged");
    }
    const rootCrl = root?.kind === "root-crl" ? root.crl : new Uint8Array();
    return verifyItem(item, { anchor: this.#settings.anchor, now: this.#settings.now(), rootCrl });
  }

  #seconds(): number {
    return Math.floor(this.#settings.now().getTime() / 1000);
  }

  note(problem: string): void {
    if (this.#problems.length < MAX_PROBLEMS && !this.#problems.includes(problem)) this.#problems.push(problem);
  }
}
