/** The index of a collateral folder: which file is the newest of each part, and how new each was, so that none ever goes back. */
import { hash } from "node:crypto";
import { z } from "zod";
import { utf8 } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { factsOf, higher, type Item, isOlder, type Rank } from "./collateral-items.ts";
import { parseJson } from "./json-text.ts";

/** Intel certifies some dozens of platforms; a folder holds only what it signed. */
export const MAX_PARTS = 512;
/** Chains of machines whose quotes carry none; the one that was stored first makes room. */
export const MAX_CHAINS = 256;
/** A machine gets a new name with every encryption of its PPID and every new state: its chains make room for each other before those of others do. */
export const MAX_CHAINS_OF_ONE = 8;
export const MAX_INDEX_BYTES = 1024 * 1024;

export interface CollateralIndex {
  /** Changes with every reset: a KMS that runs forgets with its folder. */
  readonly generation: number;
  readonly floors: ReadonlyMap<string, Rank>;
  /** File names, which are digests, by the name of the part. */
  readonly files: ReadonlyMap<string, string>;
}

export const emptyIndex: CollateralIndex = { generation: 0, floors: new Map(), files: new Map() };

const name = z.string().max(128);
const rankSchema = z.strictObject({
  number: z.string().regex(/^(?:0|[1-9][0-9]{0,49})$/),
  issued: z.int().min(0),
});
const FORMAT = "keyward-collateral-index";
const VERSION = 2;
const indexSchema = z.strictObject({
  format: z.literal(FORMAT),
  version: z.literal(VERSION),
  generation: z.int().min(0),
  floors: z.record(name, rankSchema),
  files: z.record(name, z.string().regex(/^[0-9a-f]{64}$/)),
  checksum: z.string(),
});

export function encodeIndex(index: CollateralIndex): Uint8Array {
  return utf8(`${JSON.stringify({ ...contentOf(index), checksum: checksumOf(index) }, undefined, 1)}\n`);
}

function contentOf({ generation, floors, files }: CollateralIndex) {
  return { format: FORMAT, version: VERSION, generation, floors: Object.fromEntries(floors), files: Object.fromEntries(files) };
}

/** Against a failing disk: with one flipped digit a floor refuses all that Intel publishes. It is no secret, so it stops nobody who writes the file. */
function checksumOf(index: CollateralIndex): string {
  return hash("sha256", JSON.stringify(contentOf(index)));
}

export function decodeIndex(text: string): CollateralIndex {
  const parsed = indexSchema.safeParse(parseJson(text, "index"));
  if (!parsed.success) throw new KmsError("malformed.collateral", `index: ${z.prettifyError(parsed.error)}`);
  const { generation, floors, files } = parsed.data;
  const index = { generation, floors: new Map(Object.entries(floors)), files: new Map(Object.entries(files)) };
  if (checksumOf(index) !== parsed.data.checksum) throw new KmsError("malformed.collateral", "index: its checksum is another");
  return index;
}

export interface StoredItem {
  readonly item: Item;
  readonly digest: string;
}

/** The index with this part in it. Refuses one that is older than any that was there, and more than fit. */
export function withItem(index: CollateralIndex, { item, digest }: StoredItem): CollateralIndex {
  const { name: part, floor, rank } = factsOf(item);
  const floors = new Map(index.floors);
  if (rank !== undefined) {
    requireNotOlder(part, rank, floors.get(floor));
    floors.set(floor, higher(rank, floors.get(floor) ?? rank));
  }
  const files = new Map(index.files);
  files.delete(part); // a new one goes to the end
  files.set(part, digest);
  const chains = [...files.keys()].filter((each) => each.startsWith("pck-chain "));
  for (const oldest of chains.slice(0, Math.max(0, chains.length - MAX_CHAINS))) files.delete(oldest);
  if (files.size - Math.min(chains.length, MAX_CHAINS) > MAX_PARTS || floors.size > MAX_PARTS) {
    throw new KmsError(
      "unavailable.collateral",
      `${part}: the store holds ${MAX_PARTS} parts already: see ./run collateral reset`,
    );
  }
  return { generation: index.generation, floors, files };
}

/** The index without the oldest chains of machines that would have too many with these. */
export function withRoomFor(
  items: readonly Item[],
  index: CollateralIndex,
  stored: ReadonlyMap<string, StoredItem>,
): CollateralIndex {
  const coming = items.map(factsOf).filter(({ ppid }) => ppid !== undefined);
  const newNames = new Set(coming.map(({ name }) => name));
  const ppidOf = (part: string) => {
    const found = newNames.has(part) ? undefined : stored.get(part);
    return found?.item.kind === "pck-chain" ? factsOf(found.item).ppid : undefined;
  };
  const files = new Map(index.files);
  const there = Map.groupBy(files.keys(), ppidOf); // each chain is read once, however many machines come
  for (const [ppid, chains] of Map.groupBy(coming, (facts) => facts.ppid)) {
    const own = there.get(ppid) ?? [];
    for (const oldest of own.slice(0, Math.max(0, own.length + chains.length - MAX_CHAINS_OF_ONE))) files.delete(oldest);
  }
  return { ...index, files };
}

export function requireNotOlder(part: string, rank: Rank, floor: Rank | undefined): void {
  if (floor === undefined || !isOlder(rank, floor)) return;
  const say = ({ number, issued }: Rank) => `number ${number} of ${new Date(issued * 1000).toISOString().slice(0, 19)}Z`;
  const what = `${part}: ${say(rank)} is older than ${say(floor)}, which was accepted before`;
  const remedy = "if that came from a service with update=early, or from a test: ./run collateral reset";
  throw new KmsError("unproven.collateral-older", `${what} (${remedy})`);
}

/** What whole files say when the index is lost: the newest of each part, and its rank as the floor. */
export function rebuildIndex(stored: readonly StoredItem[], generation: number): CollateralIndex {
  let index: CollateralIndex = { ...emptyIndex, generation };
  for (const each of stored) {
    try {
      index = withItem(index, each);
    } catch (thrown) {
      if (!(thrown instanceof KmsError)) throw thrown; // older than one that is in already
    }
  }
  return index;
}
