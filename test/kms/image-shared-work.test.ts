/** Work that callers share: once for each key, so many at a time, so many callers, and to its end without them. */
import { describe, expect, test } from "vitest";
import { SharedWork, type SharedWorkSettings } from "../../kms/attestation/image/shared-work.ts";
import { refusal } from "./support/refusals.ts";

const late = { code: "unavailable.timeout", message: "it goes on" } as const;

function shared(change: Partial<SharedWorkSettings> = {}) {
  return new SharedWork<string>({ running: 2, waiting: 4, patienceMs: 10_000, late, ...change });
}

/** Works that end when they are told to. */
function works() {
  const begun: string[] = [];
  const ends = new Map<string, PromiseWithResolvers<string>>();
  return {
    begun,
    work: (key: string) => () => {
      begun.push(key);
      const end = Promise.withResolvers<string>();
      ends.set(key, end);
      return end.promise;
    },
    end: (key: string) => ends.get(key)?.resolve(`${key} done`),
    fail: (key: string) => ends.get(key)?.reject(new Error(`${key} failed`)),
  };
}

const soon = () => new Promise((resolve) => setImmediate(resolve));

test("is done once for all who ask while it runs, and again for who asks later", async () => {
  const [pool, { begun, work, end }] = [shared(), works()];
  const asked = [pool.run("a", work("a")), pool.run("a", work("a"))];
  end("a");
  expect(await Promise.all(asked)).toEqual(["a done", "a done"]);
  const again = pool.run("a", work("a"));
  end("a");
  expect(await again).toBe("a done");
  expect(begun).toEqual(["a", "a"]);
});

test("of one owner does not fill the line, as long as it is not done", async () => {
  const [pool, { begun, work, end, fail }] = [shared({ running: 1, ofOneOwner: 2 }), works()];
  const first = ["a", "b"].map((key) => pool.run(key, work(key), "one"));
  expect((await refusal(pool.run("c", work("c"), "one"))).code).toBe("unavailable.overloaded");
  const others = [pool.run("a", work("a"), "one"), pool.run("d", work("d"), "two")];
  fail("a");
  await expect(first[0]).rejects.toThrow("a failed");
  await expect(others[0]).rejects.toThrow("a failed");
  const next = pool.run("c", work("c"), "one");
  for (const key of ["b", "d", "c"]) {
    await soon();
    end(key);
  }
  expect(await Promise.all([first[1], others[1], next])).toEqual(["b done", "d done", "c done"]);
  expect(begun).toEqual(["a", "b", "d", "c"]);
});

test("that fails three times rests for a while: who asks meanwhile is told how it failed, and others are served", async () => {
  const [pool, { begun, work, end, fail }] = [shared({ restMs: 200 }), works()];
  for (let time = 0; time < 3; time += 1) {
    const asked = pool.run("a", work("a"));
    fail("a");
    await expect(asked).rejects.toThrow("a failed");
  }
  await expect(pool.run("a", work("a"))).rejects.toThrow("a failed");
  const other = pool.run("b", work("b"));
  end("b");
  expect(await other).toBe("b done");
  expect(begun).toEqual(["a", "a", "a", "b"]);
  await new Promise((resolve) => setTimeout(resolve, 220));
  const again = pool.run("a", work("a"));
  end("a");
  expect(await again).toBe("a done");
});

test("that fails fails for all who asked, and is not remembered", async () => {
  const [pool, { begun, work, end, fail }] = [shared(), works()];
  const asked = [pool.run("a", work("a")), pool.run("a", work("a"))];
  fail("a");
  expect((await Promise.allSettled(asked)).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  const again = pool.run("a", work("a"));
  end("a");
  expect(await again).toBe("a done");
  expect(begun).toHaveLength(2);
});

describe("in line", () => {
  test("works begin in the order of asking, each when a place is free", async () => {
    const [pool, { begun, work, end, fail }] = [shared(), works()];
    const asked = ["a", "b", "c", "d"].map((key) => pool.run(key, work(key)));
    asked.forEach((each) => void each.catch(() => undefined));
    await soon();
    expect(begun).toEqual(["a", "b"]);
    fail("b");
    await soon();
    expect(begun).toEqual(["a", "b", "c"]);
    end("c");
    await soon();
    expect(begun).toEqual(["a", "b", "c", "d"]);
    end("a");
    end("d");
    await Promise.allSettled(asked);
    const more = ["e", "f", "g"].map((key) => pool.run(key, work(key)));
    await soon();
    expect(begun.slice(4)).toEqual(["e", "f"]); // no place was lost or won
    for (const key of ["e", "f"]) end(key);
    await soon();
    end("g");
    await Promise.all(more);
  });

  test("there is room for so many callers of one work", async () => {
    const [pool, { work, end }] = [shared(), works()];
    const asked = Array.from({ length: 4 }, () => pool.run("a", work("a")));
    const said = await refusal(pool.run("a", work("a")));
    expect(said).toEqual({ code: "unavailable.overloaded", message: expect.stringContaining("at most 4") });
    end("a");
    await Promise.all(asked);
    const next = pool.run("a", work("a"));
    end("a");
    expect(await next).toBe("a done");
  });

  test("one owner has a share of the places, and has it again when its callers leave", async () => {
    const [pool, { begun, work, end }] = [shared({ callersOfOneOwner: 2 }), works()];
    const asked = [pool.run("a", work("a"), "one"), pool.run("a", work("a"), "one")];
    for (const key of ["a", "b"]) {
      const said = await refusal(pool.run(key, work(key), "one"));
      expect(said).toEqual({ code: "unavailable.overloaded", message: expect.stringContaining("one app: at most 2") });
    }
    asked.push(pool.run("a", work("a"), "two"), pool.run("a", work("a"), "two"));
    end("a");
    expect(await Promise.all(asked)).toEqual(Array(4).fill("a done"));
    const next = pool.run("b", work("b"), "one");
    end("b");
    expect(await next).toBe("b done");
    expect(begun).toEqual(["a", "b"]);
  });

  test("a caller whose work finds no place does not keep its own", async () => {
    const [pool, { work, end }] = [shared({ ofOneOwner: 1, callersOfOneOwner: 2 }), works()];
    const first = pool.run("a", work("a"), "one");
    for (const key of ["b", "c", "d"])
      expect((await refusal(pool.run(key, work(key), "one"))).code).toBe("unavailable.overloaded");
    const second = pool.run("a", work("a"), "one");
    end("a");
    expect(await Promise.all([first, second])).toEqual(["a done", "a done"]);
  });

  test("there is room for so many works, though their callers left", async () => {
    const [pool, { begun, work, end }] = [shared({ patienceMs: 1 }), works()];
    for (const key of ["a", "b", "c", "d"]) expect(await refusal(pool.run(key, work(key)))).toEqual(late);
    expect((await refusal(pool.run("e", work("e")))).code).toBe("unavailable.overloaded");
    const back = pool.run("a", work("a")); // for a work that is there is room
    end("a");
    expect(await back).toBe("a done");
    for (const key of ["b", "c", "d"]) {
      end(key);
      await soon();
    }
    expect(begun).toEqual(["a", "b", "c", "d"]);
  });
});

test("goes on when its caller's patience ends, and fails without a word when nobody waits", async () => {
  const [pool, { work, end, fail }] = [shared({ patienceMs: 20 }), works()];
  expect(await refusal(pool.run("a", work("a")))).toEqual(late);
  const back = pool.run("a", work("a"));
  end("a");
  expect(await back).toBe("a done");
  expect(await refusal(pool.run("b", work("b")))).toEqual(late);
  fail("b");
  await soon();
});

test("one after the other is waited for until one time, by a caller who says so", async () => {
  const [pool, { begun, work, end }] = [shared(), works()];
  const until = performance.now() + 50;
  const first = pool.run("a", work("a"), undefined, until);
  end("a");
  expect(await first).toBe("a done");
  expect(await refusal(pool.run("b", work("b"), undefined, until))).toEqual(late);
  expect(await refusal(pool.run("c", work("c"), undefined, until))).toEqual(late);
  const back = pool.run("c", work("c"));
  end("c");
  expect([await back, begun]).toEqual(["c done", ["a", "b", "c"]]);
});
