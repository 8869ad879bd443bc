/** The webhook's process: settings, what decides, routes, listener and signals. */
import pino from "pino";
import { createApp } from "./app.ts";
import { createBackend, withoutSecrets } from "./backend.ts";
import { ConfigError, loadConfig, loadDotEnv } from "./config.ts";
import { createMetrics } from "./metrics.ts";
import { createRequestLog, type Log } from "./request-log.ts";
import { type Listener, listen } from "./server.ts";
import { checkAtStart } from "./start-check.ts";

const exit = { fault: 1, malformed: 2 };
const output = pino({ name: "auth-eth" }, pino.destination({ sync: true }));

async function main(): Promise<void> {
  const log = createRequestLog(output);
  let listener: Listener | undefined;
  stopOnSignals(log, async () => listener?.close()); // first: a signal may come as soon as something is logged
  if (loadDotEnv()) log.info({}, "environment completed from .env");
  const { host, port, maxConcurrent, backend: settings } = loadConfig();
  log.info({ host, port, maxConcurrent, backend: withoutSecrets(settings) }, "settings");
  const metrics = createMetrics();
  const backend = createBackend(settings, { metrics, log, maxConcurrent });
  const boundary = await checkAtStart(backend.authority, settings);
  if (boundary !== undefined) log.warn({ boundary }, "not ready yet");
  const app = createApp({ ...backend, log, metrics, maxConcurrent });
  listener = await listen(app, host, port, { deadlineMs: backend.deadlineMs, maxConcurrent });
  log.info({ url: listener.url }, "listening");
}

function stopOnSignals(log: Log, close: () => Promise<void>): void {
  let isStopping = false;
  const stop = (signal: NodeJS.Signals) => {
    if (isStopping) process.exit(exit.fault);
    isStopping = true;
    void close().then(() => process.exit(0));
    log.info({ signal }, "stopping");
  };
  process.on("SIGTERM", stop).on("SIGINT", stop);
}

main().catch((error: unknown) => {
  if (error instanceof ConfigError) {
    output.error({ code: "malformed.config", problems: error.problems }, "configuration refused");
    process.exit(exit.malformed);
  }
  const reason = error instanceof Error && "code" in error ? error.code : "unexpected";
  output.error({ code: "fault.start", reason }, "cannot start");
  process.exit(exit.fault);
});
