/** The validator that `./run validate` asks accepts our contracts over the deployed storage, and does refuse a storage that differs. */
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createHardhatRuntimeEnvironment } from "hardhat/hre";
import { afterAll, beforeAll, expect, test } from "vitest";
import config from "../../hardhat.config.ts";

const root = join(import.meta.dirname, "../..");
let folder: string;
let buildInfo = join(root, "artifacts/build-info");

// The validator takes every contract from every build info, and a build that compiles only what changed leaves older ones.
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "keyward-validate-"));
  if ((await readdir(buildInfo)).length === 2) return; // one, with its output
  const paths = { ...config.paths, artifacts: join(folder, "artifacts"), cache: join(folder, "cache") };
  const hre = await createHardhatRuntimeEnvironment({ ...config, paths }, { config: join(root, "hardhat.config.ts") }, root);
  await hre.tasks.getTask("build").run({ quiet: true });
  buildInfo = join(folder, "artifacts/build-info");
}, 120_000);
afterAll(() => rm(folder, { recursive: true }));

function validate(contract: string, reference: string) {
  const names = [
    "--contract",
    `contracts/${contract}.sol:${contract}`,
    "--reference",
    `contracts/test/DeployedLayout.sol:${reference}`,
  ];
  const args = ["validate", buildInfo, "--requireReference", ...names];
  return spawnSync(join(root, "node_modules/.bin/openzeppelin-upgrades-core"), args, { cwd: root, encoding: "utf8" });
}

// U4
test.each([
  ["KmsAuth", "DeployedKmsAuth"],
  ["AppAuth", "DeployedAppAuth"],
  ["AppAuth", "DeployedOlderAppAuth"],
])("%s may take the place of %s", (contract, reference) => {
  const { status, stdout, stderr } = validate(contract, reference);
  expect(status, stderr).toBe(0);
  expect(stdout).toContain("SUCCESS");
});

test("a contract with another storage may not", () => {
  const { status, stdout, stderr } = validate("AppAuth", "DeployedKmsAuth");
  expect(status).toBe(1);
  expect(stdout + stderr).toMatch(/allowedComposeHashes/);
});
