/** The command `bench`: measures a part of the project beside its floor, and names each target met or not met. */
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { benchAuth } from "./auth.ts";
import { textOf } from "./auth-report.ts";
import { benchImage, imageTextOf } from "./image.ts";
import { benchKms } from "./kms.ts";
import { kmsTextOf } from "./kms-report.ts";
import { benchTdx } from "./tdx.ts";
import { tdxTextOf } from "./tdx-report.ts";

interface AuthOptions {
  readonly json?: true;
  readonly full?: true;
  readonly seconds: number;
  readonly warmUp: number;
  readonly rounds: number;
  readonly connections: readonly number[];
  readonly latency: readonly number[];
  readonly requests?: number;
  readonly revocations: number;
}

const shortRequests = 20_000;
const fullRequests = 100_000;

interface KmsOptions {
  readonly json?: true;
  readonly full?: true;
  readonly rounds: number;
  readonly turn: number;
  readonly warmUp: number;
  readonly connections: number;
  readonly starts: number;
  readonly releases?: number;
}

interface TdxOptions {
  readonly json?: true;
  readonly rounds: number;
  readonly turn: number;
}

const imageRounds = 9;
const shortReleases = 5_000;
const fullReleases = 50_000;

const amount = (text: string): number => {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value < 0) throw new InvalidArgumentError("need a number of zero or more");
  return value;
};
const count = (text: string): number => {
  if (!Number.isSafeInteger(amount(text))) throw new InvalidArgumentError("need a whole number");
  return amount(text);
};
const positive = (text: string): number => {
  if (amount(text) === 0) throw new InvalidArgumentError("need more than zero");
  return amount(text);
};
const list = (parse: (text: string) => number) => (text: string) => text.split(",").map(parse);

const program = new Command("bench")
  .description("Measure parts of the project; targets are reported, never enforced.")
  .exitOverride();
program
  .command("auth")
  .description("The webhook beside the bare eth_call: decisions a second, latency, memory, and how fast a revocation counts.")
  .option("--seconds <n>", "length of each turn", positive, 1)
  .option("--warm-up <n>", "at most so many seconds for each contender before the first round", amount, 8)
  .option("--rounds <n>", "turns of each contender; the median counts", (text) => count(String(positive(text))), 5)
  .option(
    "--connections <list>",
    "kept-alive connections, comma separated",
    list((text) => count(String(positive(text)))),
    [1, 32],
  )
  .option("--latency <list>", "milliseconds that the stub chain takes, comma separated", list(amount), [0, 30])
  .option("--requests <n>", `requests of the memory part, 0 leaves it out (default: ${shortRequests})`, count)
  .option("--full", `${fullRequests} requests in the memory part`)
  .option("--revocations <n>", "rounds of the revocation part, 0 leaves it out", count, 10)
  .option("--json", "one JSON document on stdout")
  .action(async (options: AuthOptions) => {
    const { seconds, warmUp: warmUpSeconds, rounds, connections, latency: latenciesMs, revocations } = options;
    const timing = { seconds, warmUpSeconds, rounds, connections, latenciesMs };
    const memoryRequests = options.requests ?? (options.full ? fullRequests : shortRequests);
    const note = (sentence: string) => console.error(sentence);
    const report = await benchAuth({ ...timing, memoryRequests, revocations }, note);
    console.log(options.json ? JSON.stringify({ ok: true, ...report }) : textOf(report));
  });

program
  .command("kms")
  .description("The KMS beside a bare TLS server: CPU and latency of its calls, start and memory.")
  .option("--rounds <n>", "turns of each row; the median counts", (text) => count(String(positive(text))), 5)
  .option(
    "--turn <n>",
    "requests in a turn on kept connections, a tenth on new ones",
    (text) => count(String(positive(text))),
    500,
  )
  .option("--warm-up <n>", "at most so many seconds for each row before the first round", amount, 4)
  .option("--connections <n>", "connections at a time", (text) => count(String(positive(text))), 1)
  .option("--starts <n>", "starts to time, 0 leaves them out", count, 5)
  .option("--releases <n>", `releases of the memory part, 0 leaves it out (default: ${shortReleases})`, count)
  .option("--full", `${fullReleases} releases in the memory part`)
  .option("--json", "one JSON document on stdout")
  .action(async ({ rounds, turn: turnRequests, warmUp: warmUpSeconds, connections, starts, ...options }: KmsOptions) => {
    const releases = options.releases ?? (options.full ? fullReleases : shortReleases);
    const note = (sentence: string) => console.error(sentence);
    const report = await benchKms({ rounds, turnRequests, warmUpSeconds, connections, starts, releases }, note);
    console.log(options.json ? JSON.stringify({ ok: true, ...report }) : kmsTextOf(report));
  });

program
  .command("tdx")
  .description(
    "The verification of a real quote beside its bare signature checks and another verifier; work that grows with the input.",
  )
  .option("--rounds <n>", "turns of each row; the least disturbed one counts", (text) => count(String(positive(text))), 15)
  .option("--turn <n>", "verifications in a turn", (text) => count(String(positive(text))), 300)
  .option("--json", "one JSON document on stdout")
  .action(async ({ rounds, turn, json }: TdxOptions) => {
    const note = (sentence: string) => console.error(sentence);
    const report = benchTdx({ rounds, turn }, note);
    const image = await benchImage({ rounds: Math.min(rounds, imageRounds) }, note);
    console.log(json ? JSON.stringify({ ok: true, ...report, image }) : `${tdxTextOf(report)}\n\n${imageTextOf(image)}`);
  });

program
  .command("image")
  .description("The measuring of a 100 MiB image beside the bare hashing of its files; also the last part of `tdx`.")
  .option(
    "--rounds <n>",
    "turns of each row; the least disturbed one counts",
    (text) => count(String(positive(text))),
    imageRounds,
  )
  .option("--json", "one JSON document on stdout")
  .action(async ({ rounds, json }: Omit<TdxOptions, "turn">) => {
    const report = await benchImage({ rounds }, (sentence) => console.error(sentence));
    console.log(json ? JSON.stringify({ ok: true, ...report }) : imageTextOf(report));
  });

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? 0 : 2;
}
