/** One simulated VM as a process: boots it on the platform of the seed file and serves its guest agent on a Unix socket. */
import { readFile, rm } from "node:fs/promises";
import { parseArgs } from "node:util";
import { fromHex, toHex } from "../../kms/bytes.ts";
import { announce, closeServer, endWithParent, refuseProduction, required } from "./child-process.ts";
import { launchDiskImage } from "./disk-image.ts";
import { createGuestAgentServer } from "./guest-agent.ts";
import { createLiteImage } from "./lite-image.ts";
import { createPlatform } from "./platform.ts";
import { loadSeedFile } from "./seed-file.ts";
import { startTd } from "./td.ts";

const gib = 1024 ** 3;
refuseProduction();
const { values } = parseArgs({
  options: {
    "seed-file": { type: "string" },
    socket: { type: "string" },
    compose: { type: "string" },
    name: { type: "string", default: "app" },
    "app-id": { type: "string" },
    "instance-seed": { type: "string" },
    "key-provider": { type: "string" },
    image: { type: "string", default: "keyward-simulated-1.0.0" },
    "image-dir": { type: "string" },
    attestation: { type: "string", default: "lite" },
    cpus: { type: "string", default: "2" },
    "memory-gib": { type: "string", default: "2" },
  },
});
const socket = required(values.socket, "socket");

const shape = { cpuCount: Number(values.cpus), memorySize: Number(values["memory-gib"]) * gib };
const variant = values.attestation;
if (variant !== "legacy" && variant !== "lite") throw new Error(`--attestation: need legacy or lite, have ${variant}`);
const launched =
  values["image-dir"] === undefined ? {} : { launched: await launchDiskImage(values["image-dir"], shape, variant) };

const td = startTd({
  platform: createPlatform(await loadSeedFile(required(values["seed-file"], "seed-file"))),
  image: createLiteImage(values.image),
  shape,
  ...launched,
  appCompose: await readFile(required(values.compose, "compose"), "utf8"),
  ...(values["app-id"] === undefined ? {} : { appId: fromHex(values["app-id"], "app id", 20) }),
  ...(values["instance-seed"] === undefined ? {} : { instanceSeed: fromHex(values["instance-seed"], "instance seed", 20) }),
  ...(values["key-provider"] === undefined ? {} : { keyProvider: values["key-provider"] }),
});
const server = createGuestAgentServer(td, { appName: values.name, version: "0.1.0" });
await rm(socket, { force: true }); // of a VM that was killed
server.listen(socket, () =>
  announce({
    url: `unix:${socket}`,
    appId: toHex(td.appId),
    instanceId: toHex(td.instanceId),
    composeHash: toHex(td.composeHash),
    osImageHash: toHex(td.osImageHash),
  }),
);
server.on("error", (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
endWithParent(() => closeServer(server));
