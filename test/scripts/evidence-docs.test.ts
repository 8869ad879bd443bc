/** docs/evidence.md: its commands have the flags that it shows, and its list of events is the grammar. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { requireBootOrder } from "../../kms/attestation/event-order.ts";
import { codes } from "../../kms/errors.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const page = readFileSync(new URL("../../docs/evidence.md", import.meta.url), "utf8");

function help(program: string, command: string): Promise<string> {
  return new Promise((resolve) => {
    execFile(process.execPath, [`scripts/${program}.ts`, command, "--help"], { cwd: root }, (_error, stdout) => resolve(stdout));
  });
}

test("every command line uses flags that its command has", async () => {
  const lines = [...page.matchAll(/^\.\/run (evidence|compose) ([a-z-]+) .*$/gm)];
  expect(lines.map(([, program, command]) => `${program} ${command}`)).toEqual([
    "evidence verify",
    "evidence verify",
    "evidence verify",
    "evidence key-provider",
    "compose hash",
    "compose manifest",
  ]);
  const usages = new Map<string, string>();
  for (const [line, program = "", command = ""] of lines) {
    const usage = usages.get(program + command) ?? (await help(program, command));
    usages.set(program + command, usage);
    for (const flag of line.match(/--[a-z0-9-]+/g) ?? []) expect(usage, line).toContain(`  ${flag}`);
  }
});

test("the events stand in the order that is demanded", () => {
  const list = /^`system-preparing`[^.]*\./m.exec(page)?.[0] ?? "";
  const names = [...list.matchAll(/`([a-z-]+)`/g)].map(([, name = ""]) => name);
  const events = (order: readonly string[]) => order.map((event) => ({ event, payload: new Uint8Array(0), version: 1 as const }));
  expect(names).toHaveLength(13);
  expect(() => requireBootOrder(events(names))).not.toThrow();
  for (let at = 1; at < names.length - 1; at++) {
    const swapped = [...names.slice(0, at - 1), names[at] ?? "", names[at - 1] ?? "", ...names.slice(at + 1)];
    expect(() => requireBootOrder(events(swapped))).toThrow();
  }
});

test("every code on the page is one that there is", () => {
  const named = [...page.matchAll(/`((?:malformed|unproven)\.[a-z-]+)`/g)].map(([, code = ""]) => code);
  expect(named.length).toBeGreaterThan(4);
  for (const code of named) expect(codes).toHaveProperty([code]);
});
