/** What comes after DCAP: the registers, the events that say who the guest is, the preimages, the report data, the envelope. */
import type { Evidence, RuntimeEvent, TdxEvent } from "../../../kms/attestation/evidence.ts";
import { reportData as boundTo } from "../../../kms/attestation/report-data.ts";
import { toHex } from "../../../kms/bytes.ts";
import type { Draft } from "./draft.ts";
import type { Check, Expected, Parts } from "./format.ts";
import { bytesOf } from "./format.ts";
import { appId, bootInfoOf, composeHash, freshGuest, type Guest, instanceId, keyProvider } from "./guests.ts";
import { digest, flip } from "./world.ts";

export interface GuestDraft extends Omit<Draft, "edit"> {
  readonly guest?: (guest: Guest) => void;
}

const bases = { 1: "guest-v0", 2: "guest-v1" } as const;
type Version = keyof typeof bases;
type Row = readonly [name: string, code: string | undefined, change: (guest: Guest) => void, stricter?: string];

export function guests(check: Check, version: Version, rows: readonly Row[]): GuestDraft[] {
  return rows.map(([name, code, guest, stricter]) => ({
    name,
    check,
    base: bases[version],
    expect: code === undefined ? accepted(version, guest) : { code },
    guest,
    ...(stricter === undefined ? {} : { stricter }),
  }));
}

function accepted(version: Version, change: (guest: Guest) => void): Expected {
  const guest = freshGuest(version);
  change(guest);
  return { status: "UpToDate", advisoryIds: [], bootInfo: bootInfoOf(guest) };
}

const replayed = "unproven.event-log";
const names = [
  "system-preparing",
  "app-id",
  "compose-hash",
  "gpu-policy-hash",
  "instance-id",
  "boot-mr-done",
  "os-image-hash",
  "key-provider",
  "storage-fs",
  "system-ready",
];
const change = (name: string, event: (event: RuntimeEvent) => RuntimeEvent) => (guest: Guest) => {
  guest.measured = guest.events;
  guest.events = guest.events.map((one) => (one.event === name ? event(one) : one));
};
export const measuredToo = (edit: (events: RuntimeEvent[]) => RuntimeEvent[]) => (guest: Guest) => {
  guest.events = edit(guest.events);
};
const toldOnly = (edit: (events: readonly RuntimeEvent[]) => RuntimeEvent[]) => (guest: Guest) => {
  guest.measured = guest.events;
  guest.events = edit(guest.events);
};
const exchanged = (events: readonly RuntimeEvent[], a: string, b: string) => {
  const [first, second] = [events.find(({ event }) => event === a), events.find(({ event }) => event === b)];
  if (first === undefined || second === undefined) throw new Error(`${a} and ${b}`);
  return events.map((event) => (event === first ? second : event === second ? first : event));
};
export const behind = (events: readonly RuntimeEvent[], name: string, ...added: readonly RuntimeEvent[]) => {
  const at = events.findIndex(({ event }) => event === name);
  return [...events.slice(0, at + 1), ...added, ...events.slice(at + 1)];
};
export const event = (name: string, payload: Uint8Array = new Uint8Array(), version: Version = 1): RuntimeEvent => ({
  event: name,
  payload,
  version,
});
export const without = (name: string) => (events: readonly RuntimeEvent[]) => events.filter((one) => one.event !== name);

const registers: readonly GuestDraft[] = [
  ...guests("registers", 1, [["the events of a guest give its BootInfo", undefined, () => undefined]]),
  ...guests("registers", 2, [["version 2 events of a guest give its BootInfo", undefined, () => undefined]]),
  ...names.flatMap((name) =>
    guests("registers", 1, [[`a log without the measured ${name} is refused`, replayed, toldOnly(without(name))]]),
  ),
  ...["app-id", "compose-hash", "instance-id", "key-provider"].flatMap((name) =>
    ([1, 2] as const).flatMap((version) =>
      guests("registers", version, [
        [
          `a version ${version} ${name} with another byte than was measured is refused`,
          replayed,
          change(name, (one) => ({ ...one, payload: flip(one.payload, -1) })),
        ],
      ]),
    ),
  ),
  ...guests("registers", 1, [
    ["a log with an event that was not measured is refused", replayed, toldOnly((events) => [...events, event("more")])],
    ["a log that is empty is refused", replayed, toldOnly(() => [])],
    [
      "a log in another order than was measured is refused",
      replayed,
      toldOnly((events) => exchanged(events, "storage-fs", "key-provider")),
    ],
    [
      "a log that tells version 1 events as version 2 is refused",
      replayed,
      toldOnly((events) => events.map((one) => ({ ...one, version: 2 }))),
    ],
    ["a log that stops at boot-mr-done though more was measured is refused", replayed, toldOnly((events) => events.slice(0, 6))],
    [
      "a log whose measured name has another letter is refused",
      replayed,
      change("app-started", (one) => ({ ...one, event: "app-Started" })),
    ],
    [
      "a key provider whose colon was moved into its name is refused",
      replayed,
      change("key-provider", () => event('key-provider:{"name"', bytesOf('"local-sgx","id":"00"}'))),
      "both readings have one digest, and a bearer could make a measured fact vanish",
    ],
  ]),
];

export const twice = "an event that says who the guest is has two values; the reference takes the first";
export const order = "a guest writes its events in one order; the reference takes any";

const identity: readonly GuestDraft[] = [
  ...[
    ["app-id", digest("sha256", "other").subarray(0, 20)],
    ["compose-hash", digest("sha256", "other")],
    ["instance-id", digest("sha256", "other").subarray(0, 20)],
  ].flatMap(([name, payload]) =>
    guests("events", 1, [
      [
        `a second ${String(name)} right behind the first is refused`,
        "unproven.event-duplicate",
        measuredToo((events) => behind(events, String(name), event(String(name), payload as Uint8Array))),
        twice,
      ],
    ]),
  ),
  ...guests("events", 1, [
    [
      "a second app-id of the same value is refused",
      "unproven.event-duplicate",
      measuredToo((events) => behind(events, "app-id", event("app-id", appId))),
      twice,
    ],
    [
      "a second key-provider right behind the first is refused",
      "unproven.event-duplicate",
      measuredToo((events) => behind(events, "key-provider", event("key-provider", bytesOf("{}")))),
      twice,
    ],
    [
      "a second os-image-hash right behind the first is refused",
      "unproven.event-duplicate",
      measuredToo((events) => behind(events, "os-image-hash", event("os-image-hash", composeHash))),
      twice,
    ],
    [
      "an app-id after system-ready is the application's own and does not count",
      undefined,
      measuredToo((events) => [...events, event("app-id", digest("sha256", "other").subarray(0, 20))]),
    ],
    [
      "a compose-hash before the app-id is refused",
      "unproven.event-order",
      measuredToo((events) => exchanged(events, "app-id", "compose-hash")),
      order,
    ],
    [
      "an instance-id before the compose-hash is refused",
      "unproven.event-order",
      measuredToo((events) => exchanged(events, "instance-id", "compose-hash")),
      order,
    ],
    [
      "an app-id after boot-mr-done is refused",
      "unproven.event-order",
      measuredToo((events) => behind(without("app-id")(events), "boot-mr-done", event("app-id", appId))),
      order,
    ],
    [
      "an instance-id after boot-mr-done is refused",
      "unproven.event-order",
      measuredToo((events) => behind(without("instance-id")(events), "boot-mr-done", event("instance-id", instanceId))),
      order,
    ],
    [
      "a key-provider before boot-mr-done is refused",
      "unproven.event-order",
      measuredToo((events) => behind(without("key-provider")(events), "compose-hash", event("key-provider", keyProvider))),
      order,
    ],
    [
      "a version 1 event with a colon in its name is refused",
      replayed,
      measuredToo((events) => behind(events, "app-id", event("a:b"))),
      "name and payload could be read in two ways",
    ],
  ]),
  ...guests("boot-info", 1, [
    ["a guest without app-id is refused", "unproven.app-id", measuredToo(without("app-id"))],
    [
      "an app-id of 19 bytes is refused",
      "unproven.app-id",
      measuredToo((events) => events.map((one) => (one.event === "app-id" ? event("app-id", appId.subarray(1)) : one))),
    ],
    [
      "an app-id of 21 bytes is refused",
      "unproven.app-id",
      measuredToo((events) =>
        events.map((one) => (one.event === "app-id" ? event("app-id", new Uint8Array([...appId, 0])) : one)),
      ),
    ],
    [
      "an app-id of no bytes is refused",
      "unproven.app-id",
      measuredToo((events) => events.map((one) => (one.event === "app-id" ? event("app-id") : one))),
    ],
    [
      "an OS image hash of 31 bytes is refused",
      "malformed.length",
      (guest) => void Object.assign(guest, { config: `{"os_image_hash":"${"00".repeat(31)}"}` }),
    ],
    [
      "an OS image hash that is no hex is refused",
      "malformed.vm-config",
      (guest) => void Object.assign(guest, { config: '{"os_image_hash":"zz"}' }),
    ],
    [
      "a VM configuration that is no JSON is refused",
      "malformed.vm-config",
      (guest) => void Object.assign(guest, { config: "{" }),
    ],
  ]),
];

const bound = "unproven.report-data";
const claims: readonly GuestDraft[] = [
  ...guests("report-data", 1, [
    [
      "a stack that claims report data of zeros is refused",
      bound,
      (guest) => void Object.assign(guest, { claimed: new Uint8Array(64) }),
    ],
    [
      "a stack that claims another first byte of report data is refused",
      bound,
      (guest) => void Object.assign(guest, { claimed: flip(digest("sha512", "corpus report data"), 0) }),
    ],
    [
      "a stack that claims another last byte of report data is refused",
      bound,
      (guest) => void Object.assign(guest, { claimed: flip(digest("sha512", "corpus report data"), 63) }),
    ],
  ]),
  ...(["first", "last"] as const).map(
    (end): GuestDraft => ({
      name: `evidence that is bound to report data with another ${end} byte is refused`,
      check: "report-data",
      base: bases[1],
      expect: { code: bound },
      alter: (parts: Parts) => ({
        ...parts,
        report_data: flip(parts.report_data ?? new Uint8Array(64), end === "first" ? 0 : -1),
      }),
    }),
  ),
  {
    name: "a quote of other report data than the stack and the bearer claim is refused",
    check: "report-data",
    base: bases[1],
    expect: { code: bound },
    guest: (guest) => void Object.assign(guest, { claimed: boundTo("ratls-cert", appId) }),
    alter: (parts: Parts) => ({ ...parts, report_data: boundTo("ratls-cert", appId) }),
  },
];

const logged = (name: string, edit: (event: TdxEvent) => TdxEvent) => (guest: Guest) => {
  guest.log = (events) => events.map((one) => (one.event === name ? edit(one) : one));
};
const hexOf = (text: string) => toHex(bytesOf(text));
const withPreimage =
  (preimage: string | undefined) =>
  ({ preimage: _, ...rest }: TdxEvent): TdxEvent =>
    preimage === undefined ? rest : { ...rest, preimage };
const preimages: readonly GuestDraft[] = guests("preimage", 2, [
  ["a version 2 event without preimage is refused", replayed, logged("app-id", withPreimage(undefined))],
  ["a version 2 event whose preimage is no hex is refused", replayed, logged("app-id", withPreimage("zz"))],
  ["a version 2 event with an empty preimage is refused", replayed, logged("app-id", withPreimage(""))],
  [
    "a version 2 event with the preimage of another is refused",
    replayed,
    logged("app-id", withPreimage(hexOf('{"name":"app-id","payload":"","type":134217729}'))),
  ],
  [
    "a version 2 event whose preimage has white space is refused",
    replayed,
    logged("system-ready", withPreimage(hexOf('{"name":"system-ready", "payload":"","type":134217729}'))),
  ],
  [
    "a version 2 event whose preimage has its members in another order is refused",
    replayed,
    logged("system-ready", withPreimage(hexOf('{"payload":"","name":"system-ready","type":134217729}'))),
  ],
  [
    "a version 2 event with another digest is refused",
    replayed,
    logged("app-id", (one) => ({ ...one, digest: flip(one.digest, 0) })),
  ],
  [
    "a version 2 event with a digest of zeros is refused",
    replayed,
    logged("app-id", (one) => ({ ...one, digest: new Uint8Array(48) })),
  ],
  [
    "a version 2 event with another payload in the platform's log is refused",
    replayed,
    logged("app-id", (one) => ({ ...one, eventPayload: flip(one.eventPayload, 0) })),
  ],
  [
    "a version 2 event of another register's log needs its preimage too",
    replayed,
    logged("app-id", (one) => ({ ...withPreimage(undefined)(one), imr: 2 })),
  ],
  [
    "a boot event of version 2 needs no preimage",
    undefined,
    (guest) =>
      void Object.assign(guest, {
        log: (events: readonly TdxEvent[]) => [
          ...events,
          { ...withPreimage(undefined)(events[0] as TdxEvent), imr: 0, eventType: 4 },
        ],
      }),
  ],
]);

const platforms = (edit: (evidence: Evidence) => Evidence) => (guest: Guest) => void Object.assign(guest, { evidence: edit });
const alter = (
  version: Version,
  name: string,
  code: string,
  edit: (bytes: Uint8Array) => Uint8Array,
  stricter?: string,
): GuestDraft => ({
  name,
  check: "envelope",
  base: bases[version],
  expect: { code },
  alter: (parts: Parts) => ({ ...parts, attestation: edit(parts.attestation ?? new Uint8Array()) }),
  ...(stricter === undefined ? {} : { stricter }),
});
const malformed = "malformed.envelope";
const envelopes: readonly GuestDraft[] = [
  ...([1, 2] as const).flatMap((version) => [
    alter(version, `a V${version - 1} envelope of no bytes is refused`, malformed, () => new Uint8Array()),
    alter(version, `a V${version - 1} envelope of its first byte alone is refused`, malformed, (bytes) => bytes.subarray(0, 1)),
    alter(version, `a V${version - 1} envelope cut in half is refused`, malformed, (bytes) =>
      bytes.subarray(0, bytes.length / 2),
    ),
    alter(version, `a V${version - 1} envelope without its last byte is refused`, malformed, (bytes) => bytes.subarray(0, -1)),
    alter(version, `a V${version - 1} envelope with an unknown first byte is refused`, malformed, (bytes) => bytes.with(0, 0x7f)),
  ]),
  alter(1, "a V0 envelope of an unknown platform is refused", malformed, (bytes) => bytes.with(1, 0x7f)),
  ...guests("envelope", 1, [
    ["a GCP attestation is refused", "unproven.platform-unsupported", platforms((evidence) => gcp(evidence))],
  ]),
];

function gcp(evidence: Evidence): Evidence {
  if (evidence.platform.kind !== "tdx") throw new Error("a TDX guest");
  const nothing = new Uint8Array();
  const tpmQuote = {
    message: nothing,
    signature: nothing,
    pcrValues: [],
    akCert: nothing,
    platform: "gcp",
    eventLog: [],
  } as const;
  return { ...evidence, platform: { ...evidence.platform, kind: "gcp-tdx", tpmQuote } };
}

export const guestCases: readonly GuestDraft[] = [...registers, ...identity, ...claims, ...preimages, ...envelopes];
