/** ACPI digests from the program that dstack ships for them: started without a shell, with a limit on its time and its output. */
import { execFile } from "node:child_process";
import { KmsError } from "../../errors.ts";
import type { AcpiMachine, AcpiSource } from "./acpi.ts";
import { acpiArguments } from "./acpi-arguments.ts";
import { acpiDigestsOf, MAX_ACPI_BYTES } from "./acpi-loader.ts";
import type { ImagePaths } from "./image-files.ts";

export const ACPI_PROGRAM = "dstack-acpi-tables";
const TIME_LIMIT_MS = 60_000;

export interface AcpiProgramSettings {
  /** A path, or a name that is looked for on the PATH of the environment. */
  readonly program: string;
  /** Nothing else is inherited. */
  readonly environment: Readonly<Record<string, string>>;
  readonly timeLimitMs?: number;
}

export function createAcpiProgram(settings: AcpiProgramSettings): AcpiSource {
  return { digestsOf: async (machine, paths) => acpiDigestsOf(await tablesOf(settings, machine, paths)) };
}

function tablesOf(settings: AcpiProgramSettings, machine: AcpiMachine, paths: ImagePaths): Promise<Uint8Array> {
  const timeLimitMs = settings.timeLimitMs ?? TIME_LIMIT_MS;
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const options = {
    env: { ...settings.environment, QEMU_ACPI_COMPAT_VER: machine.qemuVersion },
    encoding: "buffer",
    maxBuffer: MAX_ACPI_BYTES,
    timeout: timeLimitMs,
    killSignal: "SIGKILL",
    shell: false,
  } as const;
  const child = execFile(settings.program, acpiArguments(machine, paths), options, (error, stdout) => {
    if (error === null) resolve(new Uint8Array(stdout));
    else reject(failure(settings.program, error, timeLimitMs));
  });
  // its serial console is its input: nobody types
  child.stdin?.end();
  return promise;
}

interface Failure {
  readonly code?: string | number | null | undefined;
  readonly killed?: boolean | undefined;
  readonly signal?: string | null | undefined;
}

/** What it wrote to stderr is in the cause, for the log: it may name paths of this host. */
function failure(program: string, error: Failure, timeLimitMs: number): KmsError {
  return new KmsError("unavailable.acpi-tables", `${program}: ${reasonOf(error, timeLimitMs)}`, { cause: error });
}

function reasonOf({ code, killed, signal }: Failure, timeLimitMs: number): string {
  if (code === "ENOENT") return "no such program";
  if (code === "EACCES") return "may not be started";
  if (code === "ERR_CHILD_PROCESS_STDIO_MAXBUFFER") return `need at most ${MAX_ACPI_BYTES} bytes of output`;
  if (killed) return `need an end within ${timeLimitMs} ms`;
  return signal ? `ended by ${signal}` : `need exit status 0, have ${code}`;
}
