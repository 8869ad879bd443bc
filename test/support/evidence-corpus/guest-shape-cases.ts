/** Which events a guest may leave out or repeat, how long their values are, and what binds a pod. */
import type { Evidence } from "../../../kms/attestation/evidence.ts";
import { behind, event, type GuestDraft, guests, measuredToo, order, twice, without } from "./guest-cases.ts";
import { appId, composeHash, type Guest, instanceId } from "./guests.ts";
import { digest } from "./world.ts";

const bound = "unproven.report-data";
const short = "the policy compares words of fixed size, and a short value must not be padded onto an allowed one";
const scripts = (count: number) =>
  Array.from({ length: count }, (_, index) => event("init-script-hash", digest("sha256", `script ${index}`)));

const told = (name: string, value?: Uint8Array) =>
  measuredToo((events) => events.map((one) => (one.event === name ? event(name, value) : one)));

const shapes: readonly GuestDraft[] = [
  ...guests("boot-info", 1, [
    ["a guest that still boots, without key provider, is accepted", undefined, measuredToo((events) => events.slice(0, 6))],
    ["a guest without compose-hash has none", undefined, measuredToo(without("compose-hash"))],
    ["a guest without instance-id has none", undefined, measuredToo(without("instance-id"))],
    ["a guest with an empty instance-id has none", undefined, told("instance-id")],
    ["a compose-hash of 31 bytes is refused", "malformed.length", told("compose-hash", composeHash.subarray(1)), short],
    [
      "a compose-hash of 33 bytes is refused",
      "malformed.length",
      told("compose-hash", new Uint8Array([...composeHash, 0])),
      short,
    ],
    ["an instance-id of 19 bytes is refused", "malformed.length", told("instance-id", instanceId.subarray(1)), short],
  ]),
  ...guests("events", 1, [
    [
      "five init-script-hash events in their place are accepted",
      undefined,
      measuredToo((events) => behind(events, "compose-hash", ...scripts(5))),
    ],
    [
      "six init-script-hash events are refused",
      "unproven.event-duplicate",
      measuredToo((events) => behind(events, "compose-hash", ...scripts(6))),
      twice,
    ],
    [
      "an init-script-hash before the compose-hash is refused",
      "unproven.event-order",
      measuredToo((events) => behind(events, "app-id", ...scripts(1))),
      order,
    ],
    [
      "an event that nobody knows between others is passed over",
      undefined,
      measuredToo((events) => behind(events, "app-id", event("something-new"))),
    ],
    [
      "a second system-preparing at the end of the boot is refused",
      "unproven.event-duplicate",
      measuredToo((events) => behind(events, "storage-fs", event("system-preparing"))),
      twice,
    ],
    [
      "a second boot-mr-done is refused",
      "unproven.event-duplicate",
      measuredToo((events) => behind(events, "key-provider", event("boot-mr-done"))),
      twice,
    ],
    [
      "a key-provider in a log without boot-mr-done is refused",
      "unproven.event-order",
      measuredToo(without("boot-mr-done")),
      order,
    ],
    [
      "a second app-id of version 2 is refused",
      "unproven.event-duplicate",
      measuredToo((events) => behind(events, "app-id", event("app-id", appId, 2))),
      twice,
    ],
  ]),
  ...guests("events", 2, [
    [
      "a version 2 event with a colon in its name is accepted, for it can be read in one way only",
      undefined,
      measuredToo((events) => behind(events, "app-id", event("a:b", new Uint8Array(), 2))),
    ],
  ]),
];

const payload = '{"order":7}';
const pod = (boundPayload: string, toldPayload: string | undefined) => (guest: Guest) => {
  const reportData = digest("sha512", `app-data:${boundPayload}`);
  const told = toldPayload === undefined ? {} : { reportDataPayload: toldPayload };
  const evidence = ({ stack, platform }: Evidence): Evidence => ({
    wire: "v1",
    platform,
    stack: { ...stack, kind: "dstack-pod", ...told },
  });
  Object.assign(guest, { reportData, evidence });
};
const pods: readonly GuestDraft[] = guests("report-data", 2, [
  ["a pod whose report data is of its payload is accepted", undefined, pod(payload, payload)],
  ["a pod without payload is accepted, bound like any guest", undefined, pod(payload, undefined)],
  ["a pod whose report data is of another payload is refused", bound, pod("{}", payload)],
  ["a pod with an empty payload is refused when its report data is of another", bound, pod(payload, "")],
]);

export const guestShapeCases: readonly GuestDraft[] = [...shapes, ...pods];
