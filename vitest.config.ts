import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

process.env.HARDHAT_CONFIG ??= fileURLToPath(new URL("./hardhat.config.ts", import.meta.url));

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/build.ts"],
    pool: "forks",
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
