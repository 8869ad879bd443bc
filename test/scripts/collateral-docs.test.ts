/** docs/collateral.md: its settings are those of the code, its commands have the flags that it shows, and no metric is missing. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { itemKinds } from "../../kms/attestation/tdx/collateral-items.ts";
import { DEFAULT_PCCS_URL } from "../../kms/attestation/tdx/pccs.ts";
import { collateralMetrics } from "../../kms/collateral-metrics.ts";
import { loadConfig } from "../../kms/config.ts";
import { codes } from "../../kms/errors.ts";

const page = readFileSync(new URL("../../docs/collateral.md", import.meta.url), "utf8");
const program = fileURLToPath(new URL("../../scripts/collateral.ts", import.meta.url));

test("its settings load, and are the defaults", () => {
  const dir = mkdtempSync(join(tmpdir(), "collateral-docs-"));
  const load = (text: string) => {
    writeFileSync(join(dir, "kms.toml"), text);
    return loadConfig({ cwd: dir, env: {}, systemDir: join(dir, "none") }).settings;
  };
  const shown = load(/```toml\n([^`]*)```/.exec(page)?.[1] ?? "none");
  expect(shown.collateral).toEqual(load("").collateral);
  expect(shown.pccsUrl).toBe(DEFAULT_PCCS_URL);
  rmSync(dir, { recursive: true });
});

test("its commands exist with the flags that it shows", () => {
  const shown = [...page.matchAll(/\.\/run collateral (\w+)([^\n`]*)/g)];
  expect(shown.length).toBeGreaterThan(4);
  const help = new Map<string, string>();
  for (const [, command = "", rest = ""] of shown) {
    const text = help.get(command) ?? execFileSync(process.execPath, [program, command, "--help"], { encoding: "utf8" });
    help.set(command, text);
    for (const [flag] of rest.split("#")[0]?.matchAll(/(?<= )--?[a-z-]+/g) ?? []) expect(text).toContain(flag);
  }
  for (const flag of ["--dry-run", "--tee", "--ca", "--dir", "--root", "--json"])
    expect([...help.values()].join()).toContain(flag);
});

test("its metrics and kinds are those of the code, and its codes exist", () => {
  const text = collateralMetrics({ status: () => [], failures: () => new Map() }, () => new Date(0));
  for (const [, name = ""] of text.matchAll(/# TYPE (\S+)/g)) expect(page).toContain(name);
  for (const kind of itemKinds) expect(page).toContain(`\`${kind}\``);
  for (const [, code = ""] of page.matchAll(/`((?:unproven|unavailable)\.[a-z-]+)`/g)) expect(Object.keys(codes)).toContain(code);
});
