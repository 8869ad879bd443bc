/** The published JavaScript SDK of the reference, in a process of its own and from a lock of its own. */
import { execFileSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { runProgram } from "./programs.ts";

const folder = fileURLToPath(new URL("../../tools/dstack-sdk/", import.meta.url));
const installed = `${folder}node_modules/.package-lock.json`;

/** Installs it once; a changed lock installs anew. */
export function installReferenceSdk(): void {
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(`${folder}package-lock.json`).mtimeMs) return;
  const flags = ["ci", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  execFileSync("npm", flags, { stdio: ["ignore", "ignore", "inherit"] });
}

export async function askReferenceSdk(call: string, input: object): Promise<unknown> {
  const ended = await runProgram(process.execPath, [`${folder}ask.mjs`], {}, JSON.stringify({ call, ...input }));
  if (ended.status !== 0) throw new Error(`the SDK failed: ${ended.stderr}`);
  return JSON.parse(ended.stdout).answer;
}
