/** The grammar of a boot: every guest's log passes at each moment of its boot, and a log with another writer does not. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { requireBootOrder } from "../../kms/attestation/event-order.ts";
import { decodeEvidence, encodeEvidence, type RuntimeEvent } from "../../kms/attestation/evidence.ts";
import { bindEvidence } from "../../kms/attestation/report-data.ts";
import { parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { verifyEvidenceWith } from "../../kms/attestation/verifier.ts";
import { fromHex } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import { collateralJson } from "../../scripts/devnet/platform.ts";
import { quoteReport, realBytes, realJson, verifyReal } from "../support/real-evidence.ts";
import { simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";

function outcome(...names: readonly string[]): string {
  return outcomeOf(names.map((event) => ({ event, payload: new Uint8Array(0), version: 1 })));
}

function outcomeOf(events: readonly RuntimeEvent[]): string {
  try {
    requireBootOrder(events);
    return "accepted";
  } catch (thrown) {
    if (thrown instanceof KmsError) return thrown.code;
    throw thrown;
  }
}

const early = ["system-preparing", "app-id", "compose-hash"];
const newest = [
  ...early,
  ...Array<string>(5).fill("init-script-hash"),
  "gpu-policy-hash",
  "gpu-attestation",
  "instance-id",
  "boot-mr-done",
  "os-image-hash",
  "key-provider",
  "storage-fs",
  "system-ready",
];
const guests: Readonly<Record<string, readonly string[]>> = {
  "of today with everything": newest,
  "of today with a local key provider": [
    ...early,
    "gpu-policy-hash",
    "instance-id",
    "boot-mr-done",
    "key-provider",
    "storage-fs",
    "system-ready",
  ],
  "that measures the KMS's registers": [
    ...early,
    "instance-id",
    "boot-mr-done",
    "mr-kms",
    "os-image-hash",
    "key-provider",
    "storage-fs",
    "system-ready",
  ],
  "without a file system event": [...early, "instance-id", "boot-mr-done", "key-provider", "system-ready"],
  "of 2024, before there was an end of the boot": ["rootfs-hash", "app-id", "compose-hash", "ca-cert-hash", "instance-id"],
  "with a name that nobody here knows": [
    "rootfs-hash",
    ...early,
    "ca-cert-hash",
    "instance-id",
    "boot-mr-done",
    "rootfs-hash",
    "key-provider",
    "system-ready",
  ],
};

describe("a guest", () => {
  test.each(Object.entries(guests))("%s passes at each moment of its boot and after it", (_name, names) => {
    for (let length = 0; length <= names.length; length++) expect(outcome(...names.slice(0, length))).toBe("accepted");
    if (!names.includes("system-ready")) return;
    expect(outcome(...names, "app-id", "started", "app-id", "boot-mr-done", "system-ready", "a:b")).toBe("accepted");
  });

  test.each(["dstack-sim-attestation.bin", "dstack-tdx-lite-attestation.json", "mpc-2026-08-tcb_info.json"])(
    "of the real capture %s passes",
    (name) => expect(outcomeOf(eventsOf(name))).toBe("accepted"),
  );

  test("of the real capture with an application event passes", () => {
    expect(outcomeOf(quoteReport().evidence.stack.runtimeEvents)).toBe("accepted");
  });

  test.each([1, 2] as const)("with version-%i events passes while it boots and when it runs", (eventVersion) => {
    for (const keyProvider of [undefined, '{"name":"none","id":""}']) {
      const td = simulatedTd({ eventVersion, ...(keyProvider === undefined ? {} : { keyProvider }) });
      const { stack } = decodeEvidence(encodeEvidence(td.evidence(new Uint8Array(64))));
      expect(outcomeOf(stack.runtimeEvents)).toBe("accepted");
    }
  });
});

function eventsOf(name: string): readonly RuntimeEvent[] {
  if (name.endsWith(".bin")) return decodeEvidence(realBytes(name)).stack.runtimeEvents;
  const capture: Record<string, unknown> = realJson(name);
  if (typeof capture["attestation"] === "string") {
    return decodeEvidence(fromHex(capture["attestation"], "attestation")).stack.runtimeEvents;
  }
  const log = capture["event_log"] as { imr: number; event: string; event_payload: string }[];
  const runtime = log.filter(({ imr }) => imr === 3);
  return runtime.map(({ event, event_payload }) => ({ event, payload: fromHex(event_payload, event), version: 1 }));
}

describe("a log is refused with", () => {
  const unique = newest.filter((name) => name !== "init-script-hash");

  test.each(unique.filter((name) => name !== "system-ready"))("a second %s", (name) => {
    const names = newest.slice(0, -1);
    const first = names.indexOf(name);
    for (let at = 0; at <= names.length; at++) {
      const doubled = names.toSpliced(at, 0, name);
      // between the first one's neighbours the two stand side by side; anywhere else the order breaks first or later
      const code = at < first ? /^unproven\.event-(order|duplicate)$/ : /^unproven\.event-duplicate$/;
      expect(outcome(...doubled, "system-ready")).toMatch(code);
    }
  });

  test("a sixth script", () => {
    expect(outcome(...early, ...Array<string>(6).fill("init-script-hash"))).toBe("unproven.event-duplicate");
  });

  test.each<[string, readonly string[]]>([
    ["compose-hash before app-id", ["system-preparing", "compose-hash", "app-id"]],
    ["instance-id before compose-hash", ["app-id", "instance-id", "compose-hash"]],
    ["an identity after the end of the boot", ["system-preparing", "compose-hash", "instance-id", "boot-mr-done", "app-id"]],
    ["a script after the policy", [...early, "gpu-policy-hash", "init-script-hash"]],
    ["the beginning at the end", ["app-id", "system-preparing"]],
    ["a key provider before the image", [...early, "boot-mr-done", "key-provider", "os-image-hash"]],
    ["a KMS after the image", [...early, "boot-mr-done", "os-image-hash", "mr-kms"]],
    ["a key provider without the end of the boot", [...early, "key-provider"]],
    ["a file system without the end of the boot", [...early, "storage-fs"]],
    ["a running system without the end of the boot", ["system-ready"]],
    ["the end of the boot after the key provider", [...early, "key-provider", "boot-mr-done"]],
  ])("%s", (_name, names) => expect(outcome(...names)).toBe("unproven.event-order"));

  test("a colon before system-ready, unless version 2 says where the name ends", () => {
    expect(outcomeOf([{ event: "x:y", payload: new Uint8Array(0), version: 2 }])).toBe("accepted");
  });

  test("a colon before system-ready", () => expect(outcome("app-id", "x:y")).toBe("unproven.event-log"));
});

describe("of all logs", () => {
  const known = fc.constantFrom(...new Set(newest));
  const log = fc.array(fc.oneof({ weight: 5, arbitrary: known }, { weight: 1, arbitrary: fc.constant("other") }), {
    maxLength: 16,
  });

  test("those that pass have each identity once, in the guest's order, and the boundary before what follows it", () => {
    fc.assert(
      fc.property(log, (names) => {
        const end = names.indexOf("system-ready");
        const system = (end === -1 ? names : names.slice(0, end + 1)).filter((name) => name !== "other");
        const sorted = system.toSorted((a, b) => newest.indexOf(a) - newest.indexOf(b));
        const scripts = system.filter((name) => name === "init-script-hash").length;
        const isUnique = new Set(system).size === system.length - Math.max(0, scripts - 1) && scripts <= 5;
        const needsBoundary = ["mr-kms", "os-image-hash", "key-provider", "storage-fs", "system-ready"];
        const isBounded = system.includes("boot-mr-done") || !system.some((name) => needsBoundary.includes(name));
        const isLegal = isUnique && isBounded && system.every((name, index) => name === sorted[index]);
        expect(outcome(...names) === "accepted").toBe(isLegal);
      }),
    );
  });
});

describe("evidence whose log replays", () => {
  const now = new Date("2026-06-15T00:00:00Z");
  const platform = simulatedPlatform();
  const collateral = parseCollateral(collateralJson(platform.collateral(now)));
  const zeros = new Uint8Array(64);

  test("is refused however its list of events is changed, once, twice or more often", () => {
    const { evidence } = quoteReport();
    const { runtimeEvents } = evidence.stack;
    const place = fc.nat(runtimeEvents.length - 1);
    const change = fc.tuple(fc.constantFrom("drop", "double", "swap", "move"), place, place);
    const same = JSON.stringify(runtimeEvents);
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const events = changes.reduce<readonly RuntimeEvent[]>(
          (list, [kind, from, to]) => edited(list, kind, from, to),
          runtimeEvents,
        );
        fc.pre(JSON.stringify(events) !== same);
        const verify = () =>
          verifyReal({ ...quoteReport(), evidence: { ...evidence, stack: { ...evidence.stack, runtimeEvents: events } } });
        expect(verify).toThrow(expect.objectContaining({ code: "unproven.event-log" }));
      }),
      { numRuns: 40 },
    );
  });

  function edited(events: readonly RuntimeEvent[], kind: string, from: number, to: number): readonly RuntimeEvent[] {
    const [one, other] = [events[from], events[to]];
    if (one === undefined || other === undefined) return events;
    if (kind === "drop") return events.toSpliced(from, 1);
    if (kind === "double") return events.toSpliced(to, 0, one);
    if (kind === "swap") return events.with(from, other).with(to, one);
    return events.toSpliced(from, 1).toSpliced(to, 0, one);
  }

  test.each<[string, string, string]>([
    ["a second app id, written by the image while it boots", "app-id", "unproven.event-duplicate"],
    ["an identity that comes late", "gpu-attestation", "unproven.event-order"],
  ])("is refused for %s", (_name, event, code) => {
    const td = simulatedTd({ platform });
    td.measure(event, new Uint8Array(20).fill(9));
    const bound = bindEvidence(td.evidence(zeros), zeros);
    const verify = () => verifyEvidenceWith(bound, collateral, loadTrustAnchor(platform.rootDer), now);
    expect(verify).toThrow(expect.objectContaining({ code }));
  });
});
