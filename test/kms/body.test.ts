import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { type BodyLease, BodyMemory, MAX_BODY_BYTES, readBody, SMALL_BODY_BYTES } from "../../kms/http/body.ts";

const post = (size: number) => Object.assign(Readable.from([Buffer.alloc(size)]), { headers: {} });
const overloaded = expect.objectContaining({ code: "unavailable.overloaded" });

describe("the memory of all bodies together", () => {
  test("is limited for large bodies until their answers are out, and never for small ones", async () => {
    const memory = new BodyMemory(2 * MAX_BODY_BYTES);
    const leases: BodyLease[] = [];
    const read = (size: number) => {
      const lease = memory.lease();
      leases.push(lease);
      return readBody(post(size), lease);
    };
    expect(await read(MAX_BODY_BYTES)).toHaveLength(MAX_BODY_BYTES);
    await expect(read(MAX_BODY_BYTES)).resolves.toBeInstanceOf(Uint8Array);
    await expect(read(SMALL_BODY_BYTES + 1)).rejects.toThrow(overloaded);
    expect(await read(SMALL_BODY_BYTES)).toHaveLength(SMALL_BODY_BYTES);
    leases[0]?.end();
    leases[0]?.end();
    expect(await read(MAX_BODY_BYTES)).toHaveLength(MAX_BODY_BYTES);
    await expect(read(MAX_BODY_BYTES)).rejects.toThrow(overloaded);
  });

  test("is given back by a request that was refused", async () => {
    const memory = new BodyMemory(MAX_BODY_BYTES);
    for (let count = 0; count < 3; count += 1) {
      const lease = memory.lease();
      await expect(readBody(post(MAX_BODY_BYTES + 1), lease)).rejects.toThrow(
        expect.objectContaining({ code: "malformed.body-too-large" }),
      );
      lease.end();
    }
    expect(await readBody(post(MAX_BODY_BYTES), memory.lease())).toHaveLength(MAX_BODY_BYTES);
  });
});
