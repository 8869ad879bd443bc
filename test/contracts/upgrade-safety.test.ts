/** The validator that `./run validate` asks accepts our contracts over the deployed storage, and does refuse a storage that differs. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

function validate(contract: string, reference: string) {
  const names = [
    "--contract",
    `contracts/${contract}.sol:${contract}`,
    "--reference",
    `contracts/test/DeployedLayout.sol:${reference}`,
  ];
  const args = ["validate", "artifacts/build-info", "--requireReference", ...names];
  return spawnSync(`${root}node_modules/.bin/openzeppelin-upgrades-core`, args, { cwd: root, encoding: "utf8" });
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
