/** The simulated machine as a process: it owns the seed file, writes the root certificate and serves the collateral. */
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { parseArgs } from "node:util";
import { announce, closeServer, endWithParent, refuseProduction, required } from "./child-process.ts";
import { createPccs } from "./pccs.ts";
import { createPlatform } from "./platform.ts";
import { createSeedFile, loadSeedFile } from "./seed-file.ts";

refuseProduction();
const { values } = parseArgs({
  options: { "seed-file": { type: "string" }, "root-file": { type: "string" }, port: { type: "string", default: "0" } },
});
const seedFile = required(values["seed-file"], "seed-file");
const rootFile = required(values["root-file"], "root-file");

if (!existsSync(seedFile)) await createSeedFile(seedFile);
const platform = createPlatform(await loadSeedFile(seedFile));
await writeFile(rootFile, platform.rootPem);
const server = createPccs(platform, () => new Date());
server.listen(Number(values.port), "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo; // a TCP listener has no other form
  announce({ url: `http://127.0.0.1:${port}`, rootFile });
});
server.on("error", (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
endWithParent(() => closeServer(server));
