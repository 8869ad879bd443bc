/** Compiles the contracts once before the tests; vitest does not. */
import hre from "hardhat";

export default async function build(): Promise<void> {
  await hre.tasks.getTask("build").run({ quiet: true });
}
