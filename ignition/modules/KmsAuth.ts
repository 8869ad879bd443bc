/** Deploys a trust domain in strict mode: both implementations, and a KmsAuth proxy that is set up as it is built. */
import { buildModule } from "@nomicfoundation/hardhat-ignition/modules";

export default buildModule("KmsAuth", (m) => {
  const owner = m.getParameter("owner", m.getAccount(0));
  const appImplementation = m.contract("AppAuth", [], { id: "AppAuthImplementation" });
  const kmsImplementation = m.contract("KmsAuth", [], { id: "KmsAuthImplementation" });
  // A proxy without init data could be taken over between two transactions.
  const initData = m.encodeFunctionCall(kmsImplementation, "initializeStrict", [owner, appImplementation]);
  const proxy = m.contract("ERC1967Proxy", [kmsImplementation, initData], { id: "KmsAuthProxy" });
  const kmsAuth = m.contractAt("KmsAuth", proxy, { id: "KmsAuth" });
  return { kmsAuth, appImplementation, kmsImplementation };
});
