/** The map behind what is remembered: so many entries, and the one that was set longest ago goes. */
import { expect, test } from "vitest";
import { BoundedMap } from "../../kms/bounded-map.ts";

test("a bounded map lets go what was set longest ago, and nothing before it is full", () => {
  const map = new BoundedMap<string, number>(2);
  map.set("a", 1).set("b", 2);
  expect([...map]).toEqual([
    ["a", 1],
    ["b", 2],
  ]);
  map.set("c", 3);
  expect([...map.keys()]).toEqual(["b", "c"]);
});

test("an entry that is set again takes no second place, and is the last to go", () => {
  const map = new BoundedMap<string, number>(2);
  map.set("a", 1).set("b", 2).set("a", 3).set("c", 4);
  expect([...map]).toEqual([
    ["a", 3],
    ["c", 4],
  ]);
});
