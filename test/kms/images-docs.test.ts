/** docs/images.md: its settings, limits and codes are those of the code. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { archiveLimits } from "../../kms/attestation/image/cache-images.ts";
import { MAX_MEASUREMENTS } from "../../kms/attestation/image/cache-measurements.ts";
import { configSchema } from "../../kms/config-schema.ts";
import { codes } from "../../kms/errors.ts";

const page = readFileSync(new URL("../../docs/images.md", import.meta.url), "utf8");
const gib = 1024 ** 3;

test("the settings are those of the configuration, with their defaults", () => {
  const { image } = configSchema.parse({}).core;
  const rows = [...page.matchAll(/^\| `core\.image\.([a-z_]+)` \| `?([^|`]+)`? \|/gm)].map(([, key = "", value = ""]) => [
    key,
    value.trim(),
  ]);
  expect(Object.fromEntries(rows)).toEqual({
    verify: String(image.verify),
    download_url: image.download_url,
    download_timeout: "2m",
    cache_dir: image.cache_dir,
    acpi_data: "none",
  });
  expect(image.download_timeout).toBe(120_000);
});

test("the limits are those of the code", () => {
  const { archiveBytes, totalBytes, fileBytes, entries } = archiveLimits;
  const said = `${archiveBytes / gib} GiB, unpacked ${totalBytes / gib} GiB, a file of it ${fileBytes / gib} GiB, and ${entries} entries`;
  expect(page).toContain(said);
  expect(page).toContain(`at most ${MAX_MEASUREMENTS}`);
});

test("the codes are those of the catalogue", () => {
  const table = page.slice(page.indexOf("## When a guest is refused"));
  const named = [...table.matchAll(/`((?:unproven|unavailable|malformed|denied)\.[a-z-]+)`/g)].map(([, code]) => code);
  expect(named.length).toBeGreaterThan(7);
  for (const code of named) expect(Object.keys(codes)).toContain(code);
});
