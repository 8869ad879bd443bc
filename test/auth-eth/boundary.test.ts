/** The one door to the webhook stays light: what the KMS imports through api.ts brings no server, no metrics and no chain library. */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";

async function importsOf(url: URL, found: Set<string> = new Set()): Promise<Set<string>> {
  const source = await readFile(url, "utf8");
  for (const [, name = ""] of source.matchAll(/^(?:import|export)(?! type)[^;]*? from "([^"]+)"/gm)) {
    if (found.has(name)) continue;
    found.add(name);
    if (name.startsWith(".")) await importsOf(new URL(name, url), found);
  }
  return found;
}

test("api.ts needs zod, node and files that need no more", async () => {
  const names = [...(await importsOf(new URL("../../auth-eth/api.ts", import.meta.url)))];
  expect(names).toContain("zod");
  expect(names.filter((name) => name !== "zod" && !name.startsWith("node:") && !name.startsWith("./"))).toEqual([]);
});
