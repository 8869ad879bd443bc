/** Event logs: JSON form, digests, replay, lookup and the preimage rule. */

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  checkPreimages,
  eventDigest,
  findEvent,
  parseEventLog,
  RUNTIME_EVENT_TYPE,
  replayEvents,
  runtimeEventsOf,
} from "../../kms/attestation/events.ts";
import { stripEvidence, type TdxEvent } from "../../kms/attestation/evidence.ts";
import { MAX_EVENTS } from "../../kms/attestation/evidence-limits.ts";
import { fromHex, toHex, utf8 } from "../../kms/bytes.ts";
import { quoteReport } from "../support/real-evidence.ts";
import { codeOf } from "./support/refusals.ts";

const vectors = JSON.parse(readFileSync(new URL("../fixtures/vectors/kdf.json", import.meta.url), "utf8"));
const none = new Uint8Array(0);

function runtime(event: string, payload: Uint8Array = none, version: 1 | 2 = 1) {
  return { event, payload, version };
}

describe("digests", () => {
  test.each(vectors.runtime_event_digest as { event: string; version: 1 | 2; payload: string; sha384: string; sha256: string }[])(
    "of $event, version $version",
    ({ event, version, payload, sha384, sha256 }) => {
      const value = runtime(event, fromHex(payload, "payload"), version);
      expect(toHex(eventDigest(value, "sha384"))).toBe(sha384);
      expect(toHex(eventDigest(value, "sha256"))).toBe(sha256);
    },
  );

  test.each<[string, Uint8Array, 1 | 2, string]>([
    [
      "system-preparing",
      none,
      1,
      "f9974020ef507068183313d0ca808e0d1ca9b2d1ad0c61f5784e7157c362c06536f5ddacdad4451693f48fcc72fff624",
    ],
    ["boot-mr-done", none, 1, "98bd7e6bd3952720b65027fd494834045d06b4a714bf737a06b874638b3ea00ff402f7f583e3e3b05e921c8570433ac6"],
    ["system-ready", none, 1, "1a76b2a80a0be71eae59f80945d876351a7a3fb8e9fd1ff1cede5734aa84ea11fd72b4edfbb6f04e5a85edd114c751bd"],
    [
      "storage-fs",
      utf8("zfs"),
      1,
      "ba51104636900268b0e059fa3d266419d079d1e94aea26fb9fcbb8d764bf4c89a67ac271b8a0d1a3989945132a111fc7",
    ],
    [
      "app-id",
      new Uint8Array(20).fill(0x11),
      1,
      "3f1fbb6cfe25e7f19bd48cfa9dc590cabaa946da04f9215402e7083550177292c1478402b258a90c649ccfcb5f408175",
    ],
    [
      "app-id",
      new Uint8Array(20).fill(0x11),
      2,
      "f3fdf5a4af4b5554d2fd20456bd667fce7df585c5d94a4f36b5c16ae22eab4123bf6f4e97a30efb6ec980a950e28d1a8",
    ],
    ["system-ready", none, 2, "8c748e7cf5aa7ef37f036bd15cb78308279511a408bcd2aab352802cccd79cf07d7d5e4d174c5b311f2d98f35f53ccd6"],
  ])("of %s with a %o payload in version %i is the published one", (event, payload, version, expected) => {
    expect(toHex(eventDigest(runtime(event, payload, version), "sha384"))).toBe(expected);
  });

  test("SHA-256 serves the PCR form", () => {
    const digest = eventDigest(runtime("boot-mr-done"), "sha256");
    expect(toHex(digest)).toBe("b1d85949d4c82f10dafb96ea3934336ff7040202af92013d8f2e5edcd5f1857b");
  });

  test("names are escaped as RFC 8785 says", () => {
    const name = '"\\\b\f\n\r\t\u0001\u007f/é\u2028';
    const preimage = '{"name":"\\"\\\\\\b\\f\\n\\r\\t\\u0001\u007f/é\u2028","payload":"","type":134217729}';
    const event = {
      ...platformEvent(name, 2),
      digest: eventDigest(runtime(name, none, 2), "sha384"),
      preimage: toHex(utf8(preimage)),
    };
    expect(codeOf(() => checkPreimages([event]))).toBe("accepted");
  });
});

function platformEvent(event: string, version: 1 | 2): TdxEvent {
  return { imr: 3, eventType: RUNTIME_EVENT_TYPE, digest: none, event, eventPayload: none, version };
}

describe("replay", () => {
  test("starts at zero and extends event by event", () => {
    expect(replayEvents([], "sha384")).toEqual(new Uint8Array(48));
    expect(replayEvents([], "sha256")).toEqual(new Uint8Array(32));
    expect(toHex(replayEvents([runtime("system-preparing")], "sha384"))).toBe(
      "6a9a63f48733aba50d6892c873d838f97351040ddb0b497dcbdb0571ad78d0c1f1b8b3e87a9719706604b6cc5faedee0",
    );
  });

  test("of a real log gives the boot value up to the first boot-mr-done", () => {
    const { runtimeEvents } = quoteReport().evidence.stack;
    expect(toHex(replayEvents(runtimeEvents, "sha384", "boottime"))).toBe(
      "cae24527d80a62638ec88377c85cec4d006877126770c69907b575959beb3208cc67faf4295f44e0ff605ffbe4c38feb",
    );
    const twice = [...runtimeEvents, runtime("boot-mr-done")];
    expect(replayEvents(twice, "sha384", "boottime")).toEqual(replayEvents(runtimeEvents, "sha384", "boottime"));
  });

  test("boot time without boot-mr-done is the whole list", () => {
    const events = [runtime("a"), runtime("b")];
    expect(replayEvents(events, "sha384", "boottime")).toEqual(replayEvents(events, "sha384", "runtime"));
  });
});

describe("lookup", () => {
  const events = [
    runtime("app-id", utf8("1")),
    runtime("app-id", utf8("2")),
    runtime("system-ready"),
    runtime("late", utf8("3")),
  ];
  test("takes the first of a name", () => expect(findEvent(events, "app-id")).toEqual(utf8("1")));
  test("sees nothing that the application wrote", () => expect(findEvent(events, "late")).toBeUndefined());
  test("knows a missing event from an empty one", () => {
    expect(findEvent(events, "compose-hash")).toBeUndefined();
    expect(findEvent([runtime("compose-hash")], "compose-hash")).toEqual(none);
  });
});

describe("the JSON form", () => {
  const entry = { imr: 3, event_type: RUNTIME_EVENT_TYPE, digest: "aa", event: "app-id", event_payload: "BB" };

  test("reads entries, and takes a missing digest for none", () => {
    const log = parseEventLog(JSON.stringify([entry, { ...entry, digest: undefined, version: 2, preimage: "cc", more: 1 }]));
    expect(log[0]).toEqual({
      imr: 3,
      eventType: RUNTIME_EVENT_TYPE,
      digest: Uint8Array.of(0xaa),
      event: "app-id",
      eventPayload: Uint8Array.of(0xbb),
      version: 1,
    });
    expect(log[1]).toMatchObject({ digest: none, version: 2, preimage: "cc" });
  });

  test("gives runtime events whatever register they name", () => {
    const log = parseEventLog(
      JSON.stringify([
        { ...entry, imr: 0 },
        { ...entry, event_type: 10 },
      ]),
    );
    expect(runtimeEventsOf(log)).toEqual([{ event: "app-id", payload: Uint8Array.of(0xbb), version: 1 }]);
  });

  test.each<[string, string]>([
    ["no JSON", "["],
    ["an object", "{}"],
    ["a number for an entry", "[1]"],
    ["a negative register", JSON.stringify([{ ...entry, imr: -1 }])],
    ["a type over 32 bits", JSON.stringify([{ ...entry, event_type: 2 ** 32 }])],
    ["half a byte", JSON.stringify([{ ...entry, event_payload: "a" }])],
    ["a digest that is not hex", JSON.stringify([{ ...entry, digest: "0x" }])],
    ["version 3", JSON.stringify([{ ...entry, version: 3 }])],
    ["no name", JSON.stringify([{ ...entry, event: undefined }])],
    ["a member twice", `[{"imr":3,"event_type":1,"event":"app-id","event":"other","event_payload":""}]`],
    ["a number that is none", `[{"imr":NaN,"event_type":1,"event":"a","event_payload":""}]`],
    ["a huge number", `[{"imr":3,"event_type":1${"0".repeat(400)},"event":"a","event_payload":""}]`],
    ["a huge number that nobody reads", `[{"imr":3,"event_type":1,"event":"a","event_payload":"","more":9007199254740993}]`],
    ["deep nesting", `${"[".repeat(100_000)}${"]".repeat(100_000)}`],
    ["10 MiB", JSON.stringify([{ ...entry, event_payload: "00".repeat(5 * 1024 * 1024) }])],
    ["half a surrogate pair as it is", `[{"imr":3,"event_type":1,"event":"\ud800","event_payload":""}]`],
    ["a control character", `[{"imr":3,"event_type":1,"event":"a\nb","event_payload":""}]`],
    ["a bad escape", String.raw`[{"imr":3,"event_type":1,"event":"\x41","event_payload":""}]`],
    ["text after the log", "[] []"],
    ["a lone surrogate", `[{"imr":3,"event_type":1,"event":"\\ud800","event_payload":""}]`],
    ["too many events", JSON.stringify(Array(MAX_EVENTS + 1).fill(entry))],
  ])("refuses %s", (_name, json) => {
    expect(codeOf(() => parseEventLog(json))).toBe("malformed.event-log");
  });

  test("any text is a log or a refusal", () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (json) => {
        expect(["malformed.event-log", "accepted"]).toContain(codeOf(() => parseEventLog(json)));
      }),
    );
  });
});

describe("a version-2 event of the platform log", () => {
  const preimage = utf8('{"name":"a","payload":"","type":134217729}');
  const digest = eventDigest(runtime("a", none, 2), "sha384");
  const whole: TdxEvent = { ...platformEvent("a", 2), digest, preimage: toHex(preimage) };
  const { preimage: _dropped, ...bare } = whole;

  test.each<[string, TdxEvent, string]>([
    ["with digest and canonical preimage passes", whole, "accepted"],
    ["stripped of its digest passes", { ...bare, digest: none }, "accepted"],
    ["stripped of its digest but not of its preimage passes", { ...whole, digest: none }, "accepted"],
    ["with a digest and no preimage is refused", bare, "unproven.event-log"],
    ["with another digest is refused", { ...whole, digest: new Uint8Array(48) }, "unproven.event-log"],
    ["with a preimage of another event is refused", { ...whole, event: "b" }, "unproven.event-log"],
    ["with a preimage that is no hex is refused", { ...whole, preimage: "zz" }, "unproven.event-log"],
    ["of another type is not looked at", { ...bare, eventType: 10 }, "accepted"],
    ["of version 1 is not looked at", { ...bare, version: 1 }, "accepted"],
  ])("%s", (_name, event, code) => {
    expect(codeOf(() => checkPreimages([event]))).toBe(code);
  });

  test("passes in the form for certificates", () => {
    const { evidence } = quoteReport();
    const stripped = stripEvidence({ ...evidence, wire: "v1", platform: { kind: "tdx", quote: none, eventLog: [whole] } });
    const log = stripped.platform.kind === "tdx" ? stripped.platform.eventLog : [];
    expect(log).toEqual([{ ...whole, digest: none }]);
    expect(codeOf(() => checkPreimages(log))).toBe("accepted");
  });
});
