/** The environment of the webhook: defaults, every refusal in words without values, and the two sources of a policy. */
import { expect, test } from "vitest";
import { ConfigError, loadConfig } from "../../auth-eth/config.ts";

const contract = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
const good = { ETH_RPC_URL: "https://user:s3cret@rpc.example:8443/s3cret?k=s3cret", KMS_CONTRACT_ADDR: contract };
const rpcs = (...hosts: string[]) => hosts.map((host) => `https://${host}`).join(",");

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    loadConfig(env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

test("has the documented defaults", () => {
  expect(loadConfig(good)).toEqual({
    host: "127.0.0.1",
    port: 8000,
    maxConcurrent: 256,
    backend: {
      kind: "chain",
      rpcUrls: [good.ETH_RPC_URL],
      rpcOrigins: ["https://rpc.example:8443"],
      quorum: 1,
      kmsContract: contract.toLowerCase(),
      kmsContractAddr: contract,
      chainId: undefined,
      confirmations: 0,
      blockTag: "latest",
      maxHeadAgeSeconds: 120,
      deadlineMs: 5_000,
      maxBatch: 10,
    },
  });
  for (const tag of ["safe", "finalized"]) {
    expect(loadConfig({ ...good, ETH_BLOCK_TAG: tag }).backend).toMatchObject({ blockTag: tag, maxHeadAgeSeconds: 1800 });
  }
});

test.each([
  ["https://a", 1],
  ["https://a,https://b", 2],
  ["https://a, https://b\n\thttps://c", 2],
  [",https://a https://b https://c,https://d ", 3],
  [rpcs("a", "b", "c", "d", "e"), 3],
])("asks for a majority of %j", (urls, quorum) => {
  expect(loadConfig({ ...good, ETH_RPC_URL: urls }).backend).toMatchObject({ quorum });
});

test("takes the limits and the quorum that it is given", () => {
  const env = {
    ...good,
    HOST: "::1",
    PORT: "0",
    ETH_RPC_URL: rpcs("a", "b", "c"),
    ETH_RPC_QUORUM: "3",
    ETH_CHAIN_ID: "8453",
    ETH_FINALITY_CONFIRMATIONS: "6",
    ETH_MAX_HEAD_AGE_SECONDS: "30",
    AUTH_DEADLINE_MS: "2500",
    AUTH_MAX_CONCURRENT: "8",
    ETH_RPC_MAX_BATCH: "50",
  };
  const backend = { quorum: 3, chainId: 8453, confirmations: 6, maxHeadAgeSeconds: 30, deadlineMs: 2500, maxBatch: 50 };
  expect(loadConfig(env)).toMatchObject({ host: "::1", port: 0, maxConcurrent: 8, backend });
});

test("a path selects the policy file, and only the file", () => {
  expect(loadConfig({ AUTH_CONFIG_PATH: "/etc/policy.json" }).backend).toEqual({ kind: "file", path: "/etc/policy.json" });
  expect(problemsOf({ ...good, AUTH_CONFIG_PATH: "/etc/policy.json" })).toEqual([
    "AUTH_CONFIG_PATH and ETH_RPC_URL are both set: choose file or chain",
    "AUTH_CONFIG_PATH and KMS_CONTRACT_ADDR are both set: choose file or chain",
  ]);
});

test.each([
  ["ETH_RPC_URL", "localhost:8545", "ETH_RPC_URL must be an http or https URL"],
  ["ETH_RPC_URL", "", "ETH_RPC_URL is not set: name the RPC endpoint of the chain"],
  ["ETH_RPC_URL", " , ", "ETH_RPC_URL must be an http or https URL"],
  ["ETH_RPC_URL", "https://a,s3cret", "ETH_RPC_URL 2 must be an http or https URL"],
  ["ETH_RPC_URL", "https://s3cret%zz@a", "ETH_RPC_URL has a user name or password with a bad escape"],
  ["ETH_RPC_URL", "https://a/s3cret,https://b,https://A:443/s3cret", "ETH_RPC_URL 3 repeats endpoint 1"],
  ["ETH_RPC_URL", "https://a/,https://s3cret@a#x", "ETH_RPC_URL 2 repeats endpoint 1"],
  ["ETH_RPC_URL", rpcs(..."abcdefghijklmnopq"), "ETH_RPC_URL must name at most 16 endpoints"],
  ["ETH_RPC_QUORUM", "0", "ETH_RPC_QUORUM must be at least 1"],
  ["ETH_RPC_QUORUM", "2", "ETH_RPC_QUORUM must be at most 1"],
  ["ETH_RPC_QUORUM", "one", "ETH_RPC_QUORUM must be a non-negative integer"],
  ["KMS_CONTRACT_ADDR", contract.slice(0, 41), "KMS_CONTRACT_ADDR must be 0x and 40 hex digits"],
  ["KMS_CONTRACT_ADDR", `0x${"0".repeat(40)}`, "KMS_CONTRACT_ADDR must not be the zero address"],
  ["KMS_CONTRACT_ADDR", contract.replace("F", "f"), "KMS_CONTRACT_ADDR has a wrong checksum: is there a typo?"],
  ["PORT", "80a", "PORT must be a non-negative integer"],
  ["PORT", "65536", "PORT must be at most 65535"],
  ["ETH_CHAIN_ID", "9007199254740993", "ETH_CHAIN_ID exceeds the safe integer range"],
  ["ETH_CHAIN_ID", "0", "ETH_CHAIN_ID must be at least 1"],
  ["ETH_BLOCK_TAG", "pending", "ETH_BLOCK_TAG must be latest, safe or finalized"],
  ["ETH_MAX_HEAD_AGE_SECONDS", "-1", "ETH_MAX_HEAD_AGE_SECONDS must be a non-negative integer"],
  ["ETH_FINALITY_CONFIRMATIONS", "1.5", "ETH_FINALITY_CONFIRMATIONS must be a non-negative integer"],
  ["AUTH_DEADLINE_MS", "99", "AUTH_DEADLINE_MS must be at least 100"],
  ["AUTH_DEADLINE_MS", "60001", "AUTH_DEADLINE_MS must be at most 60000"],
  ["AUTH_MAX_CONCURRENT", "0", "AUTH_MAX_CONCURRENT must be at least 1"],
  ["ETH_RPC_MAX_BATCH", "0", "ETH_RPC_MAX_BATCH must be at least 1"],
  ["ETH_RPC_MAX_BATCH", "1001", "ETH_RPC_MAX_BATCH must be at most 1000"],
])("refuses %s=%s", (name, value, problem) => {
  expect(problemsOf({ ...good, [name]: value })).toEqual([problem]);
});

test("refuses confirmations together with a tag, and tells every problem at once", () => {
  const both = { ETH_BLOCK_TAG: "safe", ETH_FINALITY_CONFIRMATIONS: "1" };
  const conflict = "ETH_FINALITY_CONFIRMATIONS counts from the latest block: set it or ETH_BLOCK_TAG, not both";
  expect(problemsOf({ ...good, ...both })).toEqual([conflict]);
  const all = problemsOf({
    ...both,
    PORT: "x",
    ETH_RPC_URL: "https://s3cret,s3cret",
    ETH_RPC_QUORUM: "0",
    AUTH_DEADLINE_MS: "1",
  });
  expect(all).toHaveLength(6);
  expect(all.join()).not.toContain("s3cret");
});
