/** Options that several operator tasks share. */
import { ArgumentType } from "hardhat/types/arguments";

export const dryRun = { name: "dryRun", description: "Show sender, call and decoded change; send nothing" } as const;
export const schedule = {
  name: "schedule",
  description: "Where an access manager owns the contract: schedule a call that has to wait",
} as const;
export const json = { name: "json", description: "One JSON document on stdout" } as const;
export const text = <const N extends string>(name: N, description: string) => ({
  name,
  description,
  type: ArgumentType.STRING_WITHOUT_DEFAULT as const,
  defaultValue: undefined,
});
export const kmsAuth = text("kmsAuth", "Address of the KmsAuth proxy (default: the environment's KMS_CONTRACT_ADDR)");
export const app = text("app", "Address of the app contract: the app id with 0x");

/** What both upgrade tasks take besides the proxy. */
export const implementation = text("implementation", "Address of the new implementation (default: deploy one)");
export const knownEntry = text(
  "knownEntry",
  "A value that you know is on one of the lists: compared in storage before anything is sent",
);
