/** What a stranger's certificate costs before anything in it is verified: each request of its connection pays it again. */
import { describe, expect, test } from "vitest";
import { decodeEvidence } from "../../kms/attestation/evidence.ts";
import { MAX_EVENTS } from "../../kms/attestation/evidence-limits.ts";
import { scaleBytes, scaleCompact, scaleText } from "../../kms/attestation/scale.ts";
import { concat, fromUtf8 } from "../../kms/bytes.ts";
import { hashing, workOf } from "../support/work.ts";
import { codeOf } from "./support/refusals.ts";

const withEvents = (count: number) => {
  const head = concat(Uint8Array.of(0, 0), scaleBytes(new Uint8Array(0)), scaleCompact(0), scaleCompact(count));
  return concat(head, new Uint8Array(2 * count), new Uint8Array(64), scaleText(""));
};

describe("an envelope with nothing but empty events", () => {
  test("costs about what JSON of as many events does up to the limit, and is refused beyond", () => {
    const envelope = withEvents(MAX_EVENTS);
    const json = JSON.stringify(decodeEvidence(envelope));
    const often = (call: () => unknown) => () => {
      for (let count = 0; count < 20; count += 1) call();
    };
    const work = workOf(
      often(() => decodeEvidence(envelope)),
      often(() => JSON.parse(json)),
    );
    expect(work).toBeLessThan(10);
    expect(() => decodeEvidence(withEvents(MAX_EVENTS + 1))).toThrow(expect.objectContaining({ code: "malformed.envelope" }));
  });
});

describe("ten megabytes of msgpack", () => {
  const size = 10_000_000;
  const filled = (head: string, fill: number) => {
    const bytes = new Uint8Array(size).fill(fill);
    bytes.set(Buffer.from(head, "hex"));
    return bytes;
  };
  const keys = () => {
    const bytes = filled("df001e8480", 0xc0);
    for (let at = 5, name = 0; at + 6 < size; at += 6, name += 1) {
      bytes.set([0xa4, ...Buffer.from(name.toString(36).padStart(4, "0"))], at);
    }
    return bytes;
  };
  const quote = "82a776657273696f6e01a8706c6174666f726d82a46b696e64a3746478a46461746181a571756f7465dd00989000";

  test.each<[string, () => Uint8Array, string]>([
    ["a quote of single integers", () => filled(quote, 0x01), "platform.data: more than 1048576 values"],
    ["members that nobody knows", keys, "need at most 256 members, have 2000000"],
    ["values that nobody reads", () => filled("81a178dd00989000", 0xc0), "more than 1048576 values"],
    ["arrays in arrays", () => filled("81a178", 0x91), "nested deeper than 16"],
    ["maps in maps", () => filled("81a178", 0x81), "nested deeper than 16"],
  ])("with %s are refused with work of the order of hashing them", (_what, make, message) => {
    const bytes = make();
    expect(() => decodeEvidence(bytes)).toThrow(
      expect.objectContaining({ code: "malformed.envelope", message: expect.stringContaining(message) }),
    );
    expect(workOf(() => codeOf(() => decodeEvidence(bytes)), hashing(bytes))).toBeLessThan(40);
  });
});

test("text that was refused leaves nothing behind for the next", () => {
  const read = (...bytes: number[]) => fromUtf8(Uint8Array.from(bytes), "text", "malformed.envelope");
  const refused = expect.objectContaining({ code: "malformed.envelope" });
  expect(() => read(0x61, 0xe2, 0x82)).toThrow(refused);
  expect(() => read(0xac)).toThrow(refused);
  expect(read(0xef, 0xbb, 0xbf, 0x61)).toBe("\ufeffa");
  expect(read(0xe2, 0x82, 0xac)).toBe("€");
});
