/** docs/hardening.md names every switch with its bit, and everything else that has no predecessor. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ADDED, TAGS } from "./deployed-interface.ts";

const root = join(import.meta.dirname, "../..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const document = read("docs/hardening.md");
const named = (words: Iterable<string>) => [...words].filter((word) => !document.includes(`\`${word}\``));

function sources(folder: string): string {
  const files = readdirSync(join(root, folder)).filter((name) => name.endsWith(".sol"));
  return files.map((name) => read(join(folder, name))).join("\n");
}
const contracts = ["contracts", "contracts/base", "contracts/libraries"].map(sources).join("\n");
const found = (text: string, pattern: RegExp) => new Set([...text.matchAll(pattern)].map(([, word = ""]) => word));

test("the table has one row for each switch of the enum, in order, with its bit and both behaviours", () => {
  const names = (/enum Switch \{([^}]*)\}/.exec(read("contracts/interfaces/IHardening.sol"))?.[1] ?? "").split(",");
  const table = document.slice(document.indexOf("## Switches"), document.indexOf("## Root keys"));
  const rows = [...table.matchAll(/^\| `(\w+)` \| (\d+) \|(.*)\|$/gm)];
  expect(rows.map(([, name, bit]) => `${name} ${bit}`)).toEqual(names.map((name, position) => `${name.trim()} ${2 ** position}`));
  for (const [, , , rest = ""] of rows) {
    const [kms, app, made, off = "", on = "", ...more] = rest.split(" | ").map((cell) => cell.trim());
    expect(["yes", "–"]).toContain(kms);
    expect([made, more]).toEqual([app === "yes" ? "on" : "–", []]);
    expect(Math.min(off.length, on.length)).toBeGreaterThan(10);
  }
});

test("the table says of an app the switches that an app has", () => {
  const [, last = ""] = /ALL_SWITCHES = 2 \*\* \(uint256\(Switch\.(\w+)\) \+ 1\) - 1;/.exec(read("contracts/AppAuth.sol")) ?? [];
  const ofApps = [...document.matchAll(/^\| `(\w+)` \| \d+ \| yes \| yes \|/gm)].map(([, name]) => name);
  expect(ofApps.at(-1)).toBe(last);
  expect(ofApps).toHaveLength(2);
});

test("every function without a predecessor is named", () => {
  const { both, KmsAuth, AppAuth } = ADDED.functions;
  expect(named([...both, ...KmsAuth, ...AppAuth])).toEqual([]);
});

test("every error of ours is named", () => {
  const own = ["IRefusals", "IHardening", "IKmsAuthHardening", "IAppAuthHardening", "ITcbAcceptance"];
  const errors = own.flatMap((name) => [...found(read(`contracts/interfaces/${name}.sol`), /^ {4}error (\w+)\(/gm)]);
  expect(errors.length).toBeGreaterThan(15);
  expect(named(errors)).toEqual([]);
});

test("every audit tag without a predecessor is named", () => {
  const deployed = new Set(TAGS.map(([name]) => name));
  const tags = [...found(contracts, /keccak256\("([a-z0-9-]+)"\)/g)].filter((name) => !deployed.has(name));
  // names of a size that a typed error tells, no rules
  const ofErrors = ["kms-k256-pubkey", "kms-ca-pubkey", "quote-verifier-output"];
  expect(named(tags.filter((name) => !ofErrors.includes(name)))).toEqual([]);
  expect(tags).toEqual(expect.arrayContaining(["hardening", "paused", "suspended-app", ...ofErrors]));
});

test("every reason without a predecessor is named, and every namespace of ours", () => {
  const reasons = found(contracts, /"((?:KMS|App|TCB)[^"]* (?:paused|suspended|accepted|failed|malformed))"/g);
  expect(reasons.size).toBe(5);
  expect(named(reasons)).toEqual([]);
  expect(named(found(contracts, /erc7201:(keyward\.storage\.\w+)/g))).toEqual([]);
});

test("the sizes that the document tells are those of the contracts", () => {
  const plain = document.replaceAll(",", "");
  for (const name of ["MAX_GAS", "MAX_ANSWER_BYTES", "MAX_GATEWAY_APP_ID_BYTES"]) {
    const [, size = "none"] = new RegExp(`constant ${name} = ([\\d_]+)`).exec(contracts) ?? [];
    expect(plain).toContain(size.replaceAll("_", ""));
  }
  expect(contracts).toContain("uint256 internal constant MAX_BYTES = 24_575");
  expect(plain).toContain("24575 bytes");
});

test("links lead to files", () => {
  for (const [, target = ""] of document.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) expect(read(join("docs", target))).not.toBe("");
});
