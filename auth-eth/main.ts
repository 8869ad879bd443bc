/** The webhook's process: settings, chain, routes, listener and signals. */
import pino from "pino";
import { createApp } from "./app.ts";
import { createAuthority } from "./authority.ts";
import { createChainRpc } from "./chain-rpc.ts";
import { ConfigError, loadConfig, loadDotEnv } from "./config.ts";
import { listen } from "./server.ts";

const exit = { fault: 1, malformed: 2 };
const log = pino({ name: "auth-eth" }, pino.destination({ sync: true }));

async function main(): Promise<void> {
  if (loadDotEnv()) log.info("environment completed from .env");
  const settings = loadConfig();
  const authority = createAuthority({ ...settings, rpc: createChainRpc(settings.rpcUrl) });
  const { kmsContractAddr, rpcOrigin: ethRpcUrl } = settings;
  const listener = await listen(createApp({ authority, log, kmsContractAddr, ethRpcUrl }), settings.host, settings.port);
  let isStopping = false;
  const stop = (signal: NodeJS.Signals) => {
    if (isStopping) process.exit(exit.fault);
    isStopping = true;
    log.info({ signal }, "stopping");
    void listener.close().then(() => process.exit(0));
  };
  process.on("SIGTERM", stop).on("SIGINT", stop);
  log.info({ url: listener.url }, "listening"); // last: whoever reads it may send a signal at once
}

main().catch((error: unknown) => {
  if (error instanceof ConfigError) {
    log.error({ code: "malformed.config", problems: error.problems }, "configuration refused");
    process.exit(exit.malformed);
  }
  const reason = error instanceof Error && "code" in error ? error.code : "unexpected";
  log.error({ code: "fault.start", reason }, "cannot start");
  process.exit(exit.fault);
});
