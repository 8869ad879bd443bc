/** docs/clients.md: its commands have the flags that it shows, and every flag that weakens something is named there. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { limits } from "../../scripts/lib/env-document.ts";
import { runCommandLine } from "../support/programs.ts";

const page = readFileSync(new URL("../../docs/clients.md", import.meta.url), "utf8");
const programs: readonly [string, readonly string[]][] = [
  ["get-keys.ts", ["--help"]],
  ["env.ts", ["encrypt", "--help"]],
  ["env.ts", ["decrypt", "--help"]],
];

test("every command line uses flags that its command has", async () => {
  const lines = [...page.matchAll(/^\.\/run (get-keys|env encrypt|env decrypt|evidence verify) .*$/gm)];
  expect(lines.map(([, name]) => name)).toEqual(["get-keys", "env encrypt", "env decrypt", "evidence verify"]);
  for (const [line, name = ""] of lines) {
    const [script = "", ...words] = name.split(" ");
    const { stdout } = await runCommandLine(`${script}.ts`, [...words, "--help"]);
    for (const flag of line.match(/--[a-z0-9-]+/g) ?? []) expect(stdout, line).toContain(`${flag} <`);
  }
});

test("every flag is explained in the usage, and those that weaken something are on the page", async () => {
  for (const [script, args] of programs) {
    const { stdout, status } = await runCommandLine(script, args);
    expect(status).toBe(0);
    for (const flag of stdout.match(/--dangerously-[a-z-]+/g) ?? []) expect(page).toContain(flag);
  }
});

test("the limits are those of the code", () => {
  expect(page).toContain(`${limits.items.toLocaleString("en")} variables, ${limits.valueBytes / 1024} KiB a value`);
});
