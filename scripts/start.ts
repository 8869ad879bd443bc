/** `./run start`: brings up the whole local stack, shows the main job from end to end, and leaves nothing behind. */
import { families, familyOf, KmsError } from "../kms/errors.ts";
import { Components } from "./start-components.ts";
import { parseStartOptions, type StartOptions, usage } from "./start-options.ts";
import { Report, whatToTryNext } from "./start-report.ts";
import { openState, type State } from "./start-state.ts";
import { runSteps } from "./start-steps.ts";

/** Conventional: 128 and the number of the signal. */
const signalExits = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;
type StopSignal = keyof typeof signalExits;
/** When a component dies, the call that waited for it may fail a moment earlier than we hear of the death. */
const deathNoticeMs = 500;

class Interrupted extends KmsError {
  readonly signal: StopSignal;

  constructor(signal: StopSignal) {
    super("unavailable.component", `stopped by ${signal}`);
    this.signal = signal;
  }
}

/** Rejects at the first signal; a second one does not wait. */
function interruption(): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => {});
  let count = 0;
  for (const signal of ["SIGHUP", "SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      count++;
      if (count > 1) process.exit(signalExits[signal]); // the children notice and end too
      reject(new Interrupted(signal));
    });
  }
  return promise;
}

async function main(argv: readonly string[]): Promise<number> {
  const json = argv.includes("--json");
  const report = new Report(json);
  const interrupted = interruption();
  let state: State | undefined;
  try {
    const options = parseStartOptions(argv);
    if (options === undefined) {
      process.stdout.write(usage);
      return 0;
    }
    state = await openState(options.stateDir);
    return await runStack(options, state, report, interrupted);
  } catch (thrown) {
    const { code } = report.fail(thrown, false);
    if (code === "malformed.usage") process.stderr.write(`\n${usage}`);
    return exitOf(thrown, code);
  } finally {
    await state?.release();
  }
}

async function runStack(options: StartOptions, state: State, report: Report, interrupted: Promise<never>): Promise<number> {
  const components = new Components(state);
  const trouble = Promise.race([components.failure, interrupted]);
  trouble.catch(() => {});
  let isUp = false;
  try {
    const steps = runSteps({ components, state, ports: options.ports }, report.step);
    steps.catch(() => {}); // after an interruption it fails on its own, and nobody asks any more
    const outcome = await Promise.race([steps, trouble]).catch(async (thrown) => {
      throw await deathBehind(thrown, trouble);
    });
    report.succeed(outcome, state);
    isUp = true;
    if (options.once) return 0;
    report.say(whatToTryNext(outcome, state));
    return await trouble;
  } catch (thrown) {
    if (isUp && thrown instanceof Interrupted && thrown.signal === "SIGINT") {
      report.say("\nstopping");
      return 0;
    }
    const { code } = report.fail(thrown, isUp);
    return exitOf(thrown, code);
  } finally {
    await components.stop();
  }
}

/** The death of a component explains a failed step better than the call that broke off. */
async function deathBehind(thrown: unknown, trouble: Promise<never>): Promise<unknown> {
  const { promise, resolve } = Promise.withResolvers<unknown>();
  setTimeout(() => resolve(thrown), deathNoticeMs);
  return Promise.race([promise, trouble.catch((death: unknown) => death)]);
}

function exitOf(thrown: unknown, code: Parameters<typeof familyOf>[0]): number {
  return thrown instanceof Interrupted ? signalExits[thrown.signal] : families[familyOf(code)].exit;
}

for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {}); // a reader that went away stops nothing
const status = await main(process.argv.slice(2));
process.stdout.write("", () => process.exit(status)); // a step that was given up may still hold the event loop
