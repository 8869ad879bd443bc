/** The terminal rules of every operator command: results on stdout, words on stderr, a hint after an error, exit code by family. */
import { asKmsError, type Code, codes, families, KmsError } from "../../kms/errors.ts";

export interface CommandResult {
  /** For `--json`; `ok: true` is added. */
  readonly json: object;
  /** For people, without `--json`. */
  readonly text: string;
  /** What a person should know besides, on stderr in both modes. */
  readonly notes?: readonly string[];
  /** The result is that something is refused: it is shown like any other, and the command ends as the refusal does. */
  readonly refusal?: KmsError;
}

export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  exit(status: number): void;
}

export const processTerminal: Terminal = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  // not process.exit: output to a pipe would be cut off
  exit: (status) => {
    process.exitCode = status;
  },
};

const hints = new WeakMap<KmsError, string>();

/** A refusal that says what to do about it. */
export function hinted(code: Code, message: string, hint: string, options?: { cause?: unknown }): KmsError {
  const error = new KmsError(code, message, options);
  hints.set(error, hint);
  return error;
}

export function usageError(message: string, hint: string): KmsError {
  return hinted("malformed.usage", message, hint);
}

/** Runs a command to its end: exactly one JSON document on stdout with `json`, also for a failure. */
export async function runCommand(
  options: { readonly json: boolean },
  command: () => Promise<CommandResult>,
  terminal: Terminal = processTerminal,
): Promise<void> {
  try {
    const result = await command();
    for (const note of result.notes ?? []) terminal.err(`note: ${note}\n`);
    const { refusal } = result;
    const outcome = refusal === undefined ? { ok: true } : { ok: false, code: refusal.code, message: refusal.message };
    terminal.out(options.json ? `${JSON.stringify({ ...outcome, ...result.json })}\n` : `${result.text}\n`);
    if (refusal !== undefined) fail(refusal, terminal);
  } catch (thrown) {
    const error = asKmsError(thrown);
    fail(error, terminal);
    if (options.json) terminal.out(`${JSON.stringify({ ok: false, code: error.code, message: error.message })}\n`);
  }
}

function fail(error: KmsError, terminal: Terminal): void {
  terminal.err(`error: ${error.message} (${error.code})\n`);
  if (error.code === "fault.internal" && error.cause instanceof Error) terminal.err(`${error.cause.stack}\n`);
  terminal.err(`hint: ${hints.get(error) ?? codes[error.code]}\n`);
  terminal.exit(families[error.family].exit);
}
