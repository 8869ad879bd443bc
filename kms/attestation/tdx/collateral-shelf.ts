/** What a collateral store has in memory: the newest verified part of each name, and the value that is assembled of four of them. */
import { BoundedMap } from "../../bounded-map.ts";
import { toHex } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import type { Collateral } from "./collateral.ts";
import { MAX_CHAINS, MAX_CHAINS_OF_ONE, MAX_PARTS, requireNotOlder } from "./collateral-index.ts";
import { higher, type Item, type ItemKey, type ItemKind, isOlder, nameOf, type Rank, type Tee } from "./collateral-items.ts";
import type { VerifiedItem } from "./collateral-verify.ts";
import type { PckCa } from "./pck.ts";

/** What collateral depends on. */
export interface CollateralKey {
  readonly tee: Tee;
  readonly fmspc: Uint8Array;
  readonly ca: PckCa;
  /** Of a machine whose quotes carry none. */
  readonly chain?: string;
}

/** Times in seconds since 1970. */
export interface Kept {
  readonly part: VerifiedItem;
  /** When the service last said that this is the newest; undefined for what only the disk or an import says. */
  checkedAt: number | undefined;
  /** When it last gave no usable answer, if that was after the last good one. */
  failedAt: number | undefined;
}

export interface Put {
  readonly isNew: boolean;
  /** Than before: none made room for it, and none had its name. */
  readonly isOneMore: boolean;
}

type FourKeys = readonly [
  Extract<ItemKey, { kind: "root-crl" }>,
  Extract<ItemKey, { kind: "pck-crl" }>,
  Extract<ItemKey, { kind: "tcb-info" }>,
  Extract<ItemKey, { kind: "qe-identity" }>,
];

export function partsOf({ tee, fmspc, ca }: CollateralKey): FourKeys {
  return [
    { kind: "root-crl" },
    { kind: "pck-crl", ca },
    { kind: "tcb-info", tee, fmspc: toHex(fmspc) },
    { kind: "qe-identity", tee },
  ];
}

/** Values that are assembled at once: platforms, and machines that need a chain. */
const MAX_ASSEMBLED = 512;

export class Shelf {
  readonly #kept = new Map<string, Kept>();
  readonly #floors = new Map<string, Rank>();
  /** Last seconds of parts that were here and have ended, so that a refusal can say so. */
  readonly #ended = new BoundedMap<string, number>(MAX_PARTS + MAX_CHAINS);
  readonly #assembled = new BoundedMap<string, { readonly parts: readonly VerifiedItem[]; readonly value: Collateral }>(
    MAX_ASSEMBLED,
  );
  readonly #partsOf = new WeakMap<Collateral, readonly VerifiedItem[]>();

  get(name: string): Kept | undefined {
    return this.#kept.get(name);
  }

  all(): readonly Kept[] {
    return [...this.#kept.values()];
  }

  endOf(name: string): number | undefined {
    return this.#kept.get(name)?.part.lastSecond ?? this.#ended.get(name);
  }

  raiseFloor(floor: string, rank: Rank): void {
    this.#floors.set(floor, higher(rank, this.#floors.get(floor) ?? rank));
  }

  /** Whether something newer was seen, even if it is not kept. */
  isPast({ rank, floor }: VerifiedItem): boolean {
    const highest = this.#floors.get(floor);
    return rank !== undefined && highest !== undefined && isOlder(rank, highest);
  }

  noteEnded(name: string, lastSecond: number): void {
    this.#ended.set(name, lastSecond);
  }

  /** Takes a part that is not older than any before it; the very same one leaves all values as they are. */
  put(part: VerifiedItem): Put {
    const { name, floor, rank } = part;
    if (rank !== undefined) {
      requireNotOlder(name, rank, this.#floors.get(floor));
      this.raiseFloor(floor, rank);
    }
    const known = this.#kept.get(name);
    if (known?.part.digest === part.digest) return { isNew: false, isOneMore: false };
    const before = this.#kept.size;
    if (known === undefined) this.#makeRoom(part);
    this.#ended.delete(name);
    this.#kept.set(name, { part, checkedAt: known?.checkedAt, failedAt: known?.failedAt });
    return { isNew: true, isOneMore: this.#kept.size > before };
  }

  remove(name: string): void {
    this.#kept.delete(name);
  }

  forgetAll(): void {
    for (const map of [this.#kept, this.#floors, this.#ended, this.#assembled]) map.clear();
  }

  /** One value for as long as its parts are the same, so that what was opened of it stays open. */
  assemble(key: CollateralKey): Collateral {
    const parts = partsOf(key).map((each) => this.#need(nameOf(each)));
    const name = `${parts.map((part) => part.name).join(" ")} ${key.chain ?? ""}`;
    const known = this.#assembled.get(name);
    if (known?.parts.every((part, index) => part === parts[index])) return known.value;
    const value = collateralOf(parts, key.chain);
    this.#assembled.set(name, { parts, value });
    this.#partsOf.set(value, parts);
    return value;
  }

  /** The names of the parts of a value, or undefined where one of them was replaced since. */
  currentPartsOf(value: Collateral): readonly string[] | undefined {
    const parts = this.#partsOf.get(value);
    if (!parts?.every((part) => this.#kept.get(part.name)?.part === part)) return undefined;
    return parts.map(({ name }) => name);
  }

  /** Intel signs for some dozens of platforms; machines' chains may come and go, those of one machine in place of its own. */
  #makeRoom({ item, name, ppid }: VerifiedItem): void {
    const isChain = item.kind === "pck-chain";
    const alike = this.all().flatMap(({ part }) => ((part.item.kind === "pck-chain") === isChain ? [part] : []));
    const own = alike.filter((part) => isChain && part.ppid === ppid);
    if (own.length >= MAX_CHAINS_OF_ONE) this.remove(own[0]?.name ?? "");
    else if (alike.length >= (isChain ? MAX_CHAINS : MAX_PARTS)) {
      if (!isChain) throw new KmsError("unavailable.collateral", `${name}: ${MAX_PARTS} parts are kept already`);
      this.remove(alike[0]?.name ?? "");
    }
  }

  #need(name: string): VerifiedItem {
    const found = this.#kept.get(name)?.part;
    if (found === undefined) throw new KmsError("unavailable.collateral", `${name}: none is kept`);
    return found;
  }
}

function collateralOf(parts: readonly VerifiedItem[], chain: string | undefined): Collateral {
  const [root, pck] = [itemOf(parts, "root-crl"), itemOf(parts, "pck-crl")];
  const [tcb, qe] = [itemOf(parts, "tcb-info"), itemOf(parts, "qe-identity")];
  return {
    rootCaCrl: root.crl,
    pckCrl: pck.crl,
    tcbInfoIssuerChain: tcb.issuerChain,
    tcbInfo: tcb.text,
    tcbInfoSignature: tcb.signature,
    qeIdentityIssuerChain: qe.issuerChain,
    qeIdentity: qe.text,
    qeIdentitySignature: qe.signature,
    ...(chain === undefined ? {} : { pckCertificateChain: chain }),
  };
}

function itemOf<Kind extends ItemKind>(parts: readonly VerifiedItem[], kind: Kind): Extract<Item, { kind: Kind }> {
  const found = parts.find(({ item }) => item.kind === kind)?.item;
  if (found === undefined) throw new KmsError("fault.internal", `no ${kind} among the parts`);
  return found as Extract<Item, { kind: Kind }>;
}
