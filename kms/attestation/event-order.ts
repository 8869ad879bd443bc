/** The grammar of a guest's boot: which events say who it is, how often each may occur, and in which order. */
import { KmsError } from "../errors.ts";
import { LAST_BOOT_EVENT, LAST_SYSTEM_EVENT } from "./events.ts";
import type { RuntimeEvent } from "./evidence.ts";

/** The events of all guests, in the order in which each of them writes those it knows. */
const bootEvents = [
  "system-preparing",
  "app-id",
  "compose-hash",
  "init-script-hash",
  "gpu-policy-hash",
  "gpu-attestation",
  "instance-id",
  LAST_BOOT_EVENT,
  "mr-kms",
  "os-image-hash",
  "key-provider",
  "storage-fs",
  LAST_SYSTEM_EVENT,
] as const;

/** One for each script of the app; every other event of the boot occurs once. */
const REPEATED_EVENT = "init-script-hash";
const MAX_REPEATS = 5;

const ranks: ReadonlyMap<string, number> = new Map(bootEvents.map((name, rank) => [name, rank]));
const lastOfBoot = bootEvents.indexOf(LAST_BOOT_EVENT);

/**
 * Stricter than the reference, which takes the first of a name wherever it stands: a log with a second identity has another
 * writer than the guest's boot. A log may end anywhere, since a guest asks for its keys while it boots. Names that nobody here
 * knows are passed over, and everything after `system-ready` belongs to the application.
 */
export function requireBootOrder(events: readonly RuntimeEvent[]): void {
  let last = -1;
  let repeats = 0;
  for (const [index, { event, version }] of events.entries()) {
    requirePlainName(event, version, index);
    const rank = ranks.get(event);
    if (rank === undefined) continue;
    if (event === REPEATED_EVENT) repeats += 1;
    else requireFirst(events, event, index);
    if (repeats > MAX_REPEATS) {
      throw new KmsError("unproven.event-duplicate", `runtime event ${index}: more than ${MAX_REPEATS} ${event} events`);
    }
    requireNext(last, rank, index);
    if (event === LAST_SYSTEM_EVENT) return;
    last = rank;
  }
}

/**
 * Stricter than the reference: version 1 hashes name, colon and payload, so `key-provider` with `{"name":…}` and
 * `key-provider:{"name"` with the rest have one digest, and a bearer could make a measured fact vanish by moving the colon.
 * No system event has a colon in its name; the application's own, after `system-ready`, are never looked up.
 */
function requirePlainName(event: string, version: 1 | 2, index: number): void {
  if (version === 1 && event.includes(":")) {
    throw new KmsError("unproven.event-log", `runtime event ${index}: colon in the name of a system event`);
  }
}

function requireFirst(events: readonly RuntimeEvent[], name: string, index: number): void {
  const first = events.findIndex(({ event }) => event === name);
  if (first === index) return;
  throw new KmsError("unproven.event-duplicate", `runtime event ${index}: a second ${name}, the first is event ${first}`);
}

function requireNext(last: number, next: number, index: number): void {
  if (next < last) {
    throw new KmsError("unproven.event-order", `runtime event ${index}: ${bootEvents[next]} after ${bootEvents[last]}`);
  }
  if (next > lastOfBoot && last < lastOfBoot) {
    throw new KmsError("unproven.event-order", `runtime event ${index}: ${bootEvents[next]} before ${LAST_BOOT_EVENT}`);
  }
}
