/** The attestation of a simulated guest: events, the register they extend, and the quote that has it. */

import { type Evidence, encodeEvidence, type RuntimeEvent, type TdxEvent } from "../../../kms/attestation/evidence.ts";
import { toHex } from "../../../kms/bytes.ts";
import { bytesOf, type Parts } from "./format.ts";
import { build, digest, ppid, set, type World } from "./world.ts";
import { freshWorld, td } from "./worlds.ts";

const runtimeType = 0x08000001;

export interface Guest {
  readonly world: World;
  events: RuntimeEvent[];
  /** What the quoted register was extended with, when the evidence tells of other events. */
  measured?: readonly RuntimeEvent[];
  /** Changes what the platform's log says, which nobody replays. */
  log: (events: readonly TdxEvent[]) => readonly TdxEvent[];
  evidence: (evidence: Evidence) => Evidence;
  config: string;
  /** What the stack claims, when it is not what the quote has. */
  claimed?: Uint8Array;
  /** In the quote, and what the bearer has to be bound to. */
  reportData: Uint8Array;
}

export const appId = digest("sha256", "corpus app").subarray(0, 20);
export const composeHash = digest("sha256", "corpus compose");
export const instanceId = digest("sha256", "corpus instance").subarray(0, 20);
export const osImageHash = digest("sha256", "corpus image");
export const keyProvider = bytesOf('{"name":"local-sgx","id":"00"}');
export const reportData = digest("sha512", "corpus report data");
const none = new Uint8Array();

/** What a guest writes, in its order. */
export function guestEvents(version: 1 | 2 = 1): RuntimeEvent[] {
  const event = (name: string, payload: Uint8Array = none): RuntimeEvent => ({ event: name, payload, version });
  return [
    event("system-preparing"),
    event("app-id", appId),
    event("compose-hash", composeHash),
    event("gpu-policy-hash", digest("sha256", "{}")),
    event("instance-id", instanceId),
    event("boot-mr-done"),
    event("os-image-hash", osImageHash),
    event("key-provider", keyProvider),
    event("storage-fs", bytesOf("zfs")),
    event("system-ready"),
    event("app-started", bytesOf("yes")),
  ];
}

export function freshGuest(version: 1 | 2 = 1): Guest {
  return {
    world: freshWorld("v4"),
    reportData,
    events: guestEvents(version),
    log: (events) => events,
    evidence: (evidence) => evidence,
    config: JSON.stringify({ os_image_hash: toHex(osImageHash) }),
  };
}

/** The preimage of an event: version 1 joins with colons, version 2 is canonical JSON. */
export function preimageOf({ event, payload, version }: RuntimeEvent): Uint8Array {
  if (version === 2) return bytesOf(`{"name":${JSON.stringify(event)},"payload":"${toHex(payload)}","type":${runtimeType}}`);
  return new Uint8Array(Buffer.concat([Uint8Array.of(1, 0, 0, 8), bytesOf(`:${event}:`), payload]));
}

function replay(events: readonly RuntimeEvent[]): Uint8Array {
  return events.reduce<Uint8Array>(
    (old, event) => digest("sha384", old, digest("sha384", preimageOf(event))),
    new Uint8Array(48),
  );
}

export function buildGuest(guest: Guest): Parts {
  const { world, events } = guest;
  const rtmr3 = replay(guest.measured ?? events);
  Object.assign(world.quote, { body: set(set(world.quote.body, td.rtmr3, ...rtmr3), td.reportData, ...guest.reportData) });
  const { quote = none, ...parts } = build(world);
  const eventLog = events.map((event): TdxEvent => {
    const { event: name, payload, version } = event;
    const common = {
      imr: 3,
      eventType: runtimeType,
      digest: digest("sha384", preimageOf(event)),
      event: name,
      eventPayload: payload,
    };
    return version === 2 ? { ...common, version, preimage: toHex(preimageOf(event)) } : { ...common, version };
  });
  const stack = {
    kind: "dstack",
    reportData: guest.claimed ?? guest.reportData,
    runtimeEvents: events,
    config: guest.config,
  } as const;
  const wire = events.some(({ version }) => version === 2) ? "v1" : "v0";
  const evidence: Evidence = { wire, platform: { kind: "tdx", quote, eventLog: [...guest.log(eventLog)] }, stack };
  return { ...parts, attestation: encodeEvidence(guest.evidence(evidence)), report_data: guest.reportData };
}

/** What has to come out for the guest above, by the rules of BootInfo, counted here once more. */
export function bootInfoOf({ world, events }: Guest): Record<string, string> {
  const { body } = buildBody(world, events);
  const at = (offset: number, length = 48) => body.subarray(offset, offset + length);
  const launch = [at(td.mrTd), at(td.rtmr0), at(td.rtmr1), at(td.rtmr2)];
  const owner = at(td.mrConfigId, 144);
  const payload = (name: string) => events.find(({ event }) => event === name)?.payload ?? none;
  const provider = payload("key-provider");
  return {
    teeVariant: "dstack-tdx",
    mrAggregated: toHex(digest("sha256", ...launch, replay(events), owner)),
    osImageHash: toHex(osImageHash),
    mrSystem: toHex(digest("sha256", ...launch, provider.length === 0 ? new Uint8Array(32) : digest("sha256", provider))),
    appId: toHex(payload("app-id")),
    composeHash: toHex(payload("compose-hash")),
    instanceId: toHex(payload("instance-id")),
    deviceId: toHex(digest("sha256", ppid)),
    keyProviderInfo: toHex(provider),
    tcbStatus: "UpToDate",
  };
}

function buildBody(world: World, events: readonly RuntimeEvent[]): { body: Uint8Array } {
  return { body: set(world.quote.body, td.rtmr3, ...replay(events)) };
}
