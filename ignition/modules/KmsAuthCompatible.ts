/** Deploys a trust domain that behaves as those deployed before: both implementations and a proxy with every hardening switch off. */
import { buildModule } from "@nomicfoundation/hardhat-ignition/modules";

export default buildModule("KmsAuthCompatible", (m) => {
  const owner = m.getParameter("owner", m.getAccount(0));
  const appImplementation = m.contract("AppAuth", [], { id: "AppAuthImplementation" });
  const kmsImplementation = m.contract("KmsAuth", [], { id: "KmsAuthImplementation" });
  // A proxy without init data could be taken over between two transactions.
  const initData = m.encodeFunctionCall(kmsImplementation, "initialize", [owner, appImplementation]);
  const proxy = m.contract("ERC1967Proxy", [kmsImplementation, initData], { id: "KmsAuthProxy" });
  const kmsAuth = m.contractAt("KmsAuth", proxy, { id: "KmsAuth" });
  return { kmsAuth, appImplementation, kmsImplementation };
});
