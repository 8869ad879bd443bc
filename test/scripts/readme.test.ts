/** The README's commands: those tagged `local` are run as they stand, the others must name scripts, tasks and flags that exist. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import manifest from "../../package.json" with { type: "json" };

const root = fileURLToPath(new URL("../..", import.meta.url));
const readme = readFileSync(`${root}README.md`, "utf8");

/** Command lines of the `sh` blocks with this tag; a line that ends in a backslash goes on. */
function commands(tag: string): string[] {
  const blocks = readme.matchAll(new RegExp(`^\`\`\`sh ${tag}\\n(.*?)^\`\`\`$`, "gms"));
  return [...blocks]
    .flatMap(([, body = ""]) => body.replaceAll(/\\\n\s*/g, "").split("\n"))
    .map((line) => line.replace(/\s+#.*$/, "").trim())
    .filter((line) => line !== "");
}

/** Task words and option names of `./run hardhat …`. */
function taskOf(command: string): { path: string[]; options: string[] } {
  const words = command.split(/\s+/).slice(2);
  const end = words.findIndex((word) => !/^[a-z][a-z-]*$/.test(word));
  const path = end < 0 ? words : words.slice(0, end);
  return { path, options: words.filter((word) => word.startsWith("--")).map((word) => word.replace(/=.*/, "")) };
}

const helpOf = new Map<string, string>();
function help(path: readonly string[]): string {
  const key = path.join(" ");
  const known = helpOf.get(key) ?? spawnSync("./run", ["hardhat", ...path, "--help"], { cwd: root, encoding: "utf8" }).stdout;
  helpOf.set(key, known);
  return known;
}

test("every sh block says how it is checked", () => {
  const tags = [...readme.matchAll(/^```sh ?(.*)$/gm)].map(([, tag]) => tag);
  expect(new Set(tags)).toEqual(new Set(["local", "suite", "sepolia"]));
});

test.each(commands("local"))(
  "runs: %s",
  (command) => {
    const result = spawnSync("bash", ["-c", command], { cwd: root, encoding: "utf8", timeout: 120_000 });
    expect(result, result.stderr).toMatchObject({ status: 0 });
  },
  130_000,
);

test.each(commands("suite"))("is a package script: %s", (command) => {
  const [run, name = ""] = command.split(/\s+/);
  expect(run).toBe("./run");
  expect(manifest.scripts).toHaveProperty(name);
});

test.each(commands("sepolia").filter((command) => command.startsWith("./run hardhat ")))("exists: %s", (command) => {
  const { path, options } = taskOf(command);
  const text = help(path);
  expect(text).toContain(`Usage: hardhat [GLOBAL OPTIONS] ${path.join(" ")} `);
  for (const option of options) expect(text, `${command}: ${option}`).toMatch(new RegExp(`^ {2}${option}\\b`, "m"));
});

test("every command of the Sepolia part is a task or a package script", () => {
  for (const command of commands("sepolia")) {
    const [run, name = ""] = command.replace(/^([A-Z_]+=\S+ )*/, "").split(/\s+/);
    expect(["./run", "export", "curl"]).toContain(run);
    if (run === "./run") expect(manifest.scripts).toHaveProperty(name);
  }
});

test("every path that the README names exists", () => {
  for (const [, path = ""] of readme.matchAll(/\]\(([^)#:]+)\)/g)) expect(existsSync(root + path), path).toBe(true);
});
