/** The project's Hardhat configuration for one account of the local chain, with Ignition's journals in a folder of the test's. */
import config from "../../hardhat.config.ts";

const { KEYWARD_TEST_ACCOUNT_KEY: key = "", KEYWARD_TEST_IGNITION: ignition = "" } = process.env;

export default {
  ...config,
  paths: { ...config.paths, ignition },
  networks: { ...config.networks, localhost: { ...config.networks?.["localhost"], accounts: [key] } },
};
