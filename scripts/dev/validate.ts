/** Asks OpenZeppelin's validator whether our contracts are safe behind proxies, and safe upgrades of those already deployed. */
import { runStep } from "./run-steps.ts";

const layouts = "contracts/test/DeployedLayout.sol";
const upgrades = [
  ["contracts/KmsAuth.sol:KmsAuth", `${layouts}:DeployedKmsAuth`],
  ["contracts/AppAuth.sol:AppAuth", `${layouts}:DeployedAppAuth`],
  ["contracts/AppAuth.sol:AppAuth", `${layouts}:DeployedOlderAppAuth`],
] as const;

const validator = ["openzeppelin-upgrades-core", "validate", "artifacts/build-info", "--requireReference"] as const;
const results = [await runStep({ name: "contracts compile", command: ["hardhat", "build", "--force", "--quiet"] })];
for (const [contract, reference] of upgrades) {
  const name = `${contract} upgrades ${reference}`;
  results.push(await runStep({ name, command: [...validator, "--contract", contract, "--reference", reference] }));
}
const failed = results.filter((result) => !result.ok).length;
console.log(`validate: ${results.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
