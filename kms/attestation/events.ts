/** Events of the guest: their JSON form, the digests they extend registers with, the replay, and the lookup by name. */
import { createHash, hash as digestOf } from "node:crypto";
import { z } from "zod";
import { concat, equal, fromHex, toHex, utf8 } from "../bytes.ts";
import { KmsError } from "../errors.ts";
import type { RuntimeEvent, TdxEvent } from "./evidence.ts";
import { MAX_EVENT_LOG_CHARACTERS, MAX_EVENTS } from "./evidence-limits.ts";
import { parseJsonTree, plainValue } from "./json-tree.ts";

export const RUNTIME_EVENT_TYPE = 0x08000001;

/** Whether the whole log counts, or only what was measured up to the end of the boot. */
export type BootMode = "runtime" | "boottime";

export type RegisterHash = "sha384" | "sha256";

/** What follows is not part of the boot-time measurement. */
export const LAST_BOOT_EVENT = "boot-mr-done";
/** What follows was written by the application. */
export const LAST_SYSTEM_EVENT = "system-ready";

const u32 = z.int().min(0).max(0xffffffff);
/** Text that has UTF-8 bytes: a lone surrogate would be hashed as something else. */
const text = z.string().refine((value) => value.isWellFormed(), "not well-formed");
const eventLogSchema = z
  .array(
    z.object({
      imr: u32,
      event_type: u32,
      digest: z.string().default(""),
      event: text,
      event_payload: z.string(),
      version: z.union([z.literal(1), z.literal(2)]).default(1),
      preimage: z.string().optional(),
    }),
  )
  .max(MAX_EVENTS);

/** The log as JSON, the form of the legacy certificate extension. */
export function parseEventLog(json: string): TdxEvent[] {
  if (json.length > MAX_EVENT_LOG_CHARACTERS) {
    const limit = `need at most ${MAX_EVENT_LOG_CHARACTERS} characters`;
    throw new KmsError("malformed.event-log", `event log: ${limit}, have ${json.length}`);
  }
  return readLog(json).map((entry, index) => ({
    imr: entry.imr,
    eventType: entry.event_type,
    digest: fromHex(entry.digest, `event log[${index}].digest`, undefined, "malformed.event-log"),
    event: entry.event,
    eventPayload: fromHex(entry.event_payload, `event log[${index}].event_payload`, undefined, "malformed.event-log"),
    version: entry.version,
    ...(entry.preimage === undefined ? {} : { preimage: entry.preimage }),
  }));
}

function readLog(json: string): z.infer<typeof eventLogSchema> {
  const parsed = eventLogSchema.safeParse(plainValue(parseJsonTree(json, "event log", "malformed.event-log")));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new KmsError("malformed.event-log", `event log${pathOf(issue?.path ?? [])}: ${issue?.message.toLowerCase()}`);
}

function pathOf(path: readonly PropertyKey[]): string {
  return path.map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`)).join("");
}

/** The runtime events in a platform log, whatever register they name: a bare quote has no other list of them. */
export function runtimeEventsOf(eventLog: readonly TdxEvent[]): RuntimeEvent[] {
  return eventLog
    .filter((event) => event.eventType === RUNTIME_EVENT_TYPE)
    .map(({ event, eventPayload, version }) => ({ event, payload: eventPayload, version }));
}

/** What is hashed for an event. Version 2 is RFC 8785 JSON; its string escapes are those of ECMAScript's JSON.stringify. */
function eventPreimage({ event, payload, version }: RuntimeEvent): Uint8Array {
  if (version === 2) {
    return utf8(`{"name":${JSON.stringify(event)},"payload":"${toHex(payload)}","type":${RUNTIME_EVENT_TYPE}}`);
  }
  return concat(Uint8Array.of(0x01, 0x00, 0x00, 0x08), utf8(`:${event}:`), payload);
}

/** The digest an event extends its register with; always computed, never taken from a log. */
export function eventDigest(event: RuntimeEvent, hash: RegisterHash): Uint8Array {
  return new Uint8Array(digestOf(hash, eventPreimage(event), "buffer"));
}

/** One register extension: new = H(old ‖ digest). */
export function extend(register: Uint8Array, digest: Uint8Array, hash: RegisterHash): Uint8Array {
  return new Uint8Array(digestOf(hash, concat(register, digest), "buffer"));
}

/** The register's value after the events; `boottime` stops after the first `boot-mr-done`, if there is one. */
export function replayEvents(events: readonly RuntimeEvent[], hash: RegisterHash, mode: BootMode = "runtime"): Uint8Array {
  let register: Uint8Array = new Uint8Array(hash === "sha384" ? 48 : 32);
  for (const event of events) {
    register = extend(register, eventDigest(event, hash), hash);
    if (mode === "boottime" && event.event === LAST_BOOT_EVENT) break;
  }
  return register;
}

/** The payload of the first event with the name. What follows `system-ready` was written by the application, not by the system. */
export function findEvent(events: readonly RuntimeEvent[], name: string): Uint8Array | undefined {
  return findEvents(events, name)[0];
}

/** The payloads of all events with the name, under the same rule. */
export function findEvents(events: readonly RuntimeEvent[], name: string): Uint8Array[] {
  const end = events.findIndex(({ event }) => event === LAST_SYSTEM_EVENT);
  const system = end === -1 ? events : events.slice(0, end);
  return system.filter(({ event }) => event === name).map(({ payload }) => payload);
}

/**
 * Every version-2 runtime event of the platform log must carry the canonical preimage of its digest.
 * Deviation: the form for certificates has no digests, and guests add no preimages, so by the letter no version-2 guest could
 * ask for a key. An event without a digest claims none; nothing is lost, since replay computes every digest anew.
 */
export function checkPreimages(eventLog: readonly TdxEvent[]): void {
  for (const [index, event] of eventLog.entries()) {
    if (event.version !== 2 || event.eventType !== RUNTIME_EVENT_TYPE) continue;
    if (event.preimage === undefined && event.digest.length === 0) continue;
    const where = `event log[${index}].preimage`;
    if (event.preimage === undefined) throw new KmsError("unproven.event-log", `${where}: missing`);
    const preimage = fromHex(event.preimage, where, undefined, "unproven.event-log");
    const expected = eventPreimage({ event: event.event, payload: event.eventPayload, version: 2 });
    if (!equal(preimage, expected)) throw new KmsError("unproven.event-log", `${where}: not the canonical form of the event`);
    if (event.digest.length > 0 && !equal(createHash("sha384").update(preimage).digest(), event.digest)) {
      throw new KmsError("unproven.event-log", `${where}: does not hash to the digest of the event`);
    }
  }
}
