/** Our commands and other programs, run as an operator's shell would from the top of the project. */
import { execFile, execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

export interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** With no environment but the one given. */
export function runCommandLine(script: string, args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  return runProgram(process.execPath, [join(root, "scripts", script), ...args], env);
}

export function runProgram(
  program: string,
  args: readonly string[],
  env: Record<string, string> = {},
  input = "",
): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { cwd: root, env: { PATH: process.env["PATH"] ?? "", ...env }, timeout: 30_000 };
    const child = execFile(program, [...args], options, (error, stdout, stderr) => {
      const status = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
      resolve({ status, stdout, stderr });
    });
    child.stdin?.on("error", () => undefined).end(input); // the program may end before it reads
  });
}

/** Where a program is on PATH; tests that need one that is not installed say so and are skipped. */
export function isInstalled(program: string): boolean {
  return (process.env["PATH"] ?? "").split(":").some((folder) => existsSync(join(folder, program)));
}

/** Its output; fails where it does. */
export function openssl(...args: string[]): string {
  return execFileSync("openssl", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}
