/** Rewrites the sources in the house format. */
import { runStep } from "./run-steps.ts";

await runStep({ name: "typescript", command: ["biome", "check", "--write", "."], live: true });
await runStep({ name: "solidity", command: ["prettier", "--write", "contracts/**/*.sol"], live: true });
