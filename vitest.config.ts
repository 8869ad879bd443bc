import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

process.env.HARDHAT_CONFIG ??= fileURLToPath(new URL("./hardhat.config.ts", import.meta.url));

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/build.ts"],
    pool: "forks",
    maxWorkers: 2, // of two cores it would take one, and most of the tests wait for processes and sockets
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
