/** How the mutation run starts vitest: nothing is built, and which tests a mutant is put before is said in scripts/dev/mutation.ts. */
import { defineConfig } from "vitest/config";

export default defineConfig({
  // beside the sandbox's own files, not in the node_modules that it shares
  cacheDir: "cache/vite",
  test: { include: ["test/kms/*.test.ts"], testTimeout: 120_000 },
});
