import { createRequire } from "node:module";
import hardhatIgnitionViem from "@nomicfoundation/hardhat-ignition-viem";
import hardhatKeystore from "@nomicfoundation/hardhat-keystore";
import hardhatNetworkHelpers from "@nomicfoundation/hardhat-network-helpers";
import hardhatVerify from "@nomicfoundation/hardhat-verify";
import hardhatViem from "@nomicfoundation/hardhat-viem";
import hardhatViemAssertions from "@nomicfoundation/hardhat-viem-assertions";
import { configVariable, defineConfig } from "hardhat/config";
import { operatorTasks } from "./scripts/tasks/definitions.ts";

const require = createRequire(import.meta.url);
const solc = {
  version: "0.8.37",
  path: require.resolve("solc/soljson.js"), // the npm compiler: nothing is downloaded
  settings: {
    optimizer: { enabled: true, runs: 200 },
    evmVersion: "cancun",
    outputSelection: { "*": { "*": ["storageLayout"] } },
  },
};

export default defineConfig({
  plugins: [hardhatViem, hardhatIgnitionViem, hardhatNetworkHelpers, hardhatViemAssertions, hardhatKeystore, hardhatVerify],
  tasks: operatorTasks,
  solidity: {
    npmFilesToBuild: [
      "@openzeppelin/contracts/access/manager/AccessManager.sol",
      "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol",
    ],
    profiles: { default: solc, production: { ...solc, isolated: true } },
  },
  networks: {
    localhost: {
      type: "http",
      chainType: "l1",
      chainId: 31337, // a tunnel to a real chain at the same port is refused
      url: process.env["KEYWARD_LOCALHOST_RPC_URL"] ?? "http://127.0.0.1:8545",
    },
    sepolia: {
      type: "http",
      chainType: "l1",
      chainId: 11155111,
      url: configVariable("SEPOLIA_RPC_URL"),
      accounts: [configVariable("SEPOLIA_PRIVATE_KEY")],
    },
  },
  // sequences of 48 calls reach every state of the models; more only costs time
  test: { solidity: { invariant: { runs: 24, depth: 48, failurePersistDir: "cache/invariant" } } },
  verify: { etherscan: { apiKey: configVariable("ETHERSCAN_API_KEY") } },
});
