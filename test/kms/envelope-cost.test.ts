/** What a stranger's certificate costs before anything in it is verified: each request of its connection pays it again. */
import { describe, expect, test } from "vitest";
import { decodeEvidence } from "../../kms/attestation/evidence.ts";
import { MAX_EVENTS } from "../../kms/attestation/evidence-limits.ts";
import { scaleBytes, scaleCompact, scaleText } from "../../kms/attestation/scale.ts";
import { concat, fromUtf8 } from "../../kms/bytes.ts";

const withEvents = (count: number) => {
  const head = concat(Uint8Array.of(0, 0), scaleBytes(new Uint8Array(0)), scaleCompact(0), scaleCompact(count));
  return concat(head, new Uint8Array(2 * count), new Uint8Array(64), scaleText(""));
};

describe("an envelope with nothing but empty events", () => {
  test("is read quickly up to the limit and refused beyond", () => {
    const envelope = withEvents(MAX_EVENTS);
    decodeEvidence(envelope);
    const started = performance.now();
    for (let count = 0; count < 20; count += 1) decodeEvidence(envelope);
    expect((performance.now() - started) / 20).toBeLessThan(30);
    expect(() => decodeEvidence(withEvents(MAX_EVENTS + 1))).toThrow(expect.objectContaining({ code: "malformed.envelope" }));
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
