/** How the mutation run starts vitest: nothing is built, and which tests a mutant is put before is said in scripts/dev/mutation.ts. */
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The corpus first: it kills most mutants within a second, and the first failure ends a run. */
class CorpusFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isCorpus = ({ moduleId }: TestSpecification) => Number(moduleId.endsWith("evidence-corpus.test.ts"));
    return files.toSorted((a, b) => isCorpus(b) - isCorpus(a));
  }
}

export default defineConfig({
  // beside the sandbox's own files, not in the node_modules that it shares
  cacheDir: "cache/vite",
  test: {
    include: process.env["MUTATION_TESTS"]?.split(",") ?? ["test/kms/*.test.ts"],
    testTimeout: 120_000,
    sequence: { sequencer: CorpusFirst },
  },
});
