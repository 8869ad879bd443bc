/** A command line of commander, parsed before anything runs, so that usage errors end like any other refusal. */
import { type Command, CommanderError } from "commander";
import { type Code, families, KmsError } from "../../kms/errors.ts";
import { type CommandResult, hinted, runCommand, usageError } from "./cli.ts";

export type Work = () => Promise<CommandResult>;

/** Builds the program anew; an action hands its work over instead of doing it. */
export type ProgramOf = (chosen: (work: Work) => void) => Command;

/** Runs this process's arguments. None at all prints the usage and is a refusal; help is a result. */
export async function runProgram(create: ProgramOf, helpCommand: string): Promise<void> {
  const args = process.argv.slice(2);
  if (args.length === 0) {
    quiet(create(() => undefined)).outputHelp({ error: true });
    process.exitCode = families.malformed.exit;
    return;
  }
  const work = chosenWork(create, args, helpCommand);
  if (work !== undefined) await runCommand({ json: args.includes("--json") }, work);
}

/** The work with a hint for what usually mends a refusal of it. */
export async function withHints(hints: Readonly<Partial<Record<Code, string>>>, work: Work): Promise<CommandResult> {
  try {
    return await work();
  } catch (thrown) {
    const hint = thrown instanceof KmsError ? hints[thrown.code] : undefined;
    if (!(thrown instanceof KmsError) || hint === undefined) throw thrown;
    throw hinted(thrown.code, thrown.message, hint, { cause: thrown });
  }
}

function chosenWork(create: ProgramOf, args: readonly string[], helpCommand: string): Work | undefined {
  let work: Work | undefined;
  const program = create((choice) => {
    work = choice;
  });
  try {
    quiet(program).parse([...args], { from: "user" });
    return work;
  } catch (thrown) {
    if (thrown instanceof KmsError) return () => Promise.reject(thrown);
    if (!(thrown instanceof CommanderError)) throw thrown;
    if (thrown.exitCode === 0) return undefined;
    const error = usageError(thrown.message.replace(/^error: /, ""), helpCommand);
    return () => Promise.reject(error);
  }
}

function quiet(program: Command): Command {
  for (const command of [program, ...program.commands]) command.exitOverride().configureOutput({ outputError: () => undefined });
  return program;
}
