/** The webhook as its users start it: a process with an environment of its own, whose log lines are read as they come. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";

const main = fileURLToPath(new URL("../../../auth-eth/main.ts", import.meta.url));
export const contract = "0x5FbDB2315678afecb367f032d93F642f64180aa3";

export function startProcess(env: Record<string, string>, cwd?: string) {
  const child = spawn(process.execPath, [main], {
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "pipe", "inherit"],
    ...(cwd !== undefined && { cwd }),
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async (): Promise<unknown> => JSON.parse((await lines.next()).value ?? "null");
  /** The line with that message; fails where any line up to it tells a secret. */
  const lineOf = async (msg: string): Promise<{ url: string; boundary?: string }> => {
    for (;;) {
      const line = (await nextLine()) as { msg: string; url: string } | null;
      expect(JSON.stringify(line)).not.toContain("s3cret");
      if (line === null || line.msg === msg) return line ?? { url: "" };
    }
  };
  return { child, nextLine, lineOf };
}
