/** The stored corpus is what its sources make of it, and has what it promises: every check, many faults, both sides. */
import { describe, expect, test } from "vitest";
import { readCorpusFile, readManifest, text } from "../support/evidence-corpus/format.ts";
import { generateCorpus, manifestText } from "../support/evidence-corpus/generate.ts";

const { manifest, files } = generateCorpus();
const { cases } = readManifest();
const mending = "run: node test/support/evidence-corpus/write.ts";

describe("the corpus of evidence", () => {
  test("is stored as its sources make it", () => {
    expect(text(readCorpusFile("manifest.json")) === manifestText(manifest), mending).toBe(true);
    for (const [name, bytes] of Object.entries(files)) expect(readCorpusFile(name), `${name}, ${mending}`).toEqual(bytes);
  });

  test("has at least 400 cases, each with a name of its own", () => {
    expect(cases.length).toBeGreaterThanOrEqual(400);
    const names = cases.map(({ name }) => name);
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  });

  test("changes something in every case that is not the base itself", () => {
    const same = cases.filter(({ changes, base }) => changes.length === 0 && cases.some((other) => other.base === base));
    const refused = same.filter(({ expect: outcome, name }) => "code" in outcome && !name.startsWith("the real sample"));
    expect(refused.map(({ name }) => name)).toEqual([]);
  });

  const checks = ["0a", ...Array.from({ length: 25 }, (_, number) => number)];
  test.each(checks)("has at least five faults of check %s, and what just passes it", (check) => {
    const own = cases.filter((entry) => entry.check === check);
    const faults = new Set(own.filter(({ expect: outcome }) => "code" in outcome).map(({ changes }) => JSON.stringify(changes)));
    expect(faults.size).toBeGreaterThanOrEqual(5);
    expect(own.some(({ expect: outcome }) => "status" in outcome)).toBe(true);
  });
});
