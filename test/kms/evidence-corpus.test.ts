/** Every case of the corpus, as data, before the functions that release keys and that `evidence verify` calls. */
import { describe, expect, test } from "vitest";
import { type Case, changedParts, type Parts, partsOf, readCorpusFile, readManifest } from "../support/evidence-corpus/format.ts";
import { judge } from "../support/evidence-corpus/judge.ts";

const { bases, cases } = readManifest();
const known = new Map<string, Parts>();

function baseOf(name: string): Parts {
  const base = bases[name];
  if (base === undefined) throw new Error(`no base ${name}`);
  const parts = known.get(name) ?? partsOf(base, readCorpusFile);
  known.set(name, parts);
  return parts;
}

function outcome({ base, changes }: Case) {
  return judge(changedParts(baseOf(base), changes, baseOf));
}

for (const [check, group = []] of Object.entries(Object.groupBy(cases, (entry) => String(entry.check)))) {
  describe(`check ${check}`, () => {
    for (const entry of group) {
      test(entry.name, () => {
        expect(outcome(entry)).toMatchObject(entry.expect);
      });
    }
  });
}
