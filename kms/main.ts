/** The process of a KMS: arguments, configuration, log and signals around its states. */
import { join } from "node:path";
import { parseArgs } from "node:util";
import pino, { type Logger } from "pino";
import manifest from "../package.json" with { type: "json" };
import { loadConfig } from "./config.ts";
import { asKmsError, families, KmsError } from "./errors.ts";
import type { Listener } from "./http/listeners.ts";
import { lockKeyStore } from "./keys/store-lock.ts";
import { readRevision } from "./revision.ts";
import { startKms } from "./run.ts";
import { createServices } from "./services.ts";

const usage = `usage: kms [-c FILE]

Releases keys to attested confidential VMs as the owner's contracts allow.
Reads /etc/kms/kms.toml, /etc/kms/kms.json, ./kms.toml, ./kms.json and FILE; a later one wins key by key.

  -c, --config FILE  TOML if it ends in .toml, else JSON; must exist
  -V, --version      print the version
  -h, --help         print this

environment: DSTACK_AGENT_ADDRESS (unix:/path or http://host:port), RUST_LOG (error, warn, info, debug, trace, off)
             KEYWARD_REVISION (the commit that an image was built from, for X-App-Version)
             DSTACK_KMS_ADMIN_TOKEN, else ADMIN_API_TOKEN (where core.admin.auth_token is empty)
exit code: 0 stopped by a signal, 1 fault, 2 malformed, 3 unproven, 4 denied, 5 unavailable
`;

function parseArguments(argv: readonly string[]) {
  try {
    const options = {
      config: { type: "string", short: "c" },
      help: { type: "boolean", short: "h" },
      version: { type: "boolean", short: "V" },
    } as const;
    return parseArgs({ args: [...argv], options, allowPositionals: false }).values;
  } catch (cause) {
    throw new KmsError("malformed.usage", cause instanceof Error ? cause.message : "wrong arguments", { cause });
  }
}

function createLog(level: string): Logger {
  return pino({ name: "kms", level }, pino.destination({ sync: true }));
}

async function main(): Promise<void> {
  const options = parseArguments(process.argv.slice(2));
  if (options.help === true) return void process.stdout.write(usage);
  if (options.version === true) return void process.stdout.write(`${manifest.version}\n`);

  const { settings, reports } = loadConfig({ explicit: options.config, cwd: process.cwd() });
  const log = createLog(settings.logLevel);
  for (const report of reports) log.warn({ config: true }, report);

  const lock = await lockKeyStore(settings.certDir);
  process.once("exit", () => lock.release());
  if (!lock.isHeld)
    log.warn({ certDir: settings.certDir }, "the certificate folder cannot be written: certificates are not renewed");

  let current: Listener | undefined;
  stopOnSignals(log, async () => current?.close());
  const services = await createServices(settings, manifest.version);
  const serving = (listener: Listener) => {
    current = listener;
  };
  const revision = await readRevision(join(import.meta.dirname, ".."), settings.toldRevision);
  await startKms({ services, log, version: manifest.version, revision, serving });
}

/** The first signal lets running requests end, the second does not wait. */
function stopOnSignals(log: Logger, close: () => Promise<void>): void {
  let isStopping = false;
  const stop = (signal: NodeJS.Signals) => {
    if (isStopping) process.exit(families.fault.exit);
    isStopping = true;
    log.info({ signal }, "stopping");
    void close().then(() => process.exit(0));
  };
  process.on("SIGTERM", stop).on("SIGINT", stop);
}

main().catch((thrown: unknown) => {
  const error = asKmsError(thrown);
  createLog("error").error({ code: error.code, err: error.cause }, error.message);
  process.exit(families[error.family].exit);
});
