/** Runs commands one after the other for the developer scripts: a tick and a duration each, output only of what failed. */
import { spawn } from "node:child_process";

export interface Step {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  /** Show the output as it comes instead of keeping it for a failure. */
  readonly live?: boolean;
}

export interface StepResult {
  readonly name: string;
  readonly ok: boolean;
  readonly output: string;
}

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Resolves with the result, whatever it is; a signal sent to this process goes on to the command. */
export async function runStep(step: Step): Promise<StepResult> {
  const started = performance.now();
  const [file, ...args] = step.command;
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"] });
  const forward = (signal: NodeJS.Signals) => child.kill(signal);
  for (const signal of signals) process.on(signal, forward);

  let output = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk;
    if (step.live) process.stdout.write(chunk);
  });
  child.stderr.on("data", (chunk: Buffer) => {
    output += chunk;
    if (step.live) process.stderr.write(chunk);
  });
  const ok = await new Promise<boolean>((resolve) => {
    child.once("error", (error) => {
      output += `${error.message}\n`;
      resolve(false);
    });
    child.once("close", (code) => resolve(code === 0));
  });

  for (const signal of signals) process.off(signal, forward);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stderr.write(`${ok ? "✓" : "✗"} ${step.name} ${seconds} s\n`);
  if (!ok && !step.live) process.stderr.write(output);
  return { name: step.name, ok, output };
}
