/** The program that makes ACPI tables, as a real process: what it is given, and each way in which it may end. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { acpiMachineOf } from "../../kms/attestation/image/acpi.ts";
import { acpiArguments } from "../../kms/attestation/image/acpi-arguments.ts";
import { acpiDigestsOf } from "../../kms/attestation/image/acpi-loader.ts";
import { createAcpiProgram } from "../../kms/attestation/image/acpi-program.ts";
import { parseVmConfig } from "../../kms/attestation/image/vm-config.ts";
import { acpiBlob, quoteReportTables } from "../support/launch-files.ts";

const folder = mkdtempSync(join(tmpdir(), "acpi program "));
afterAll(() => rmSync(folder, { recursive: true }));

const machine = acpiMachineOf(parseVmConfig('{"cpu_count":2,"memory_size":2147483648,"qemu_version":"8.2.2"}'));
const paths = { firmware: join(folder, "ovmf $(touch x);.fd"), kernel: "/k", initrd: "/i" };
const blob = acpiBlob(quoteReportTables);
writeFileSync(join(folder, "blob"), blob);

function script(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, `#!/bin/sh\n${text}\n`);
  chmodSync(file, 0o755);
  return file;
}

const environment = { PATH: `${folder}:/usr/bin:/bin` };
const run = (program: string, timeLimitMs = 20_000) =>
  createAcpiProgram({ program, environment, timeLimitMs }).digestsOf(machine, paths);

test("gets its arguments as they are, the QEMU version and nothing else of the environment, and an input at its end", async () => {
  process.env["SECRET_OF_THE_SERVICE"] = "1";
  script(
    "dstack-acpi-tables",
    `cat > '${folder}/input'; for a; do echo "$a"; done > '${folder}/arguments'; env > '${folder}/environment'; cat '${folder}/blob'`,
  );
  expect(await run("dstack-acpi-tables")).toEqual(acpiDigestsOf(blob));
  expect(readFileSync(join(folder, "arguments"), "utf8").trimEnd().split("\n")).toEqual(acpiArguments(machine, paths));
  const given = readFileSync(join(folder, "environment"), "utf8");
  expect(given).toContain("QEMU_ACPI_COMPAT_VER=8.2.2\n");
  expect(given).not.toContain("SECRET_OF_THE_SERVICE");
  expect(readFileSync(join(folder, "input"))).toHaveLength(0);
  expect(() => readFileSync("x")).toThrow();
});

test.each<[string, string, RegExp]>([
  ["ends with another status", script("fails", "echo 'secret of the host' >&2; exit 3"), /fails: need exit status 0, have 3$/],
  ["ends with another status and all its tables", script("late", `cat '${folder}/blob'; exit 1`), /have 1$/],
  ["is ended by a signal", script("killed", "kill -TERM $$"), /ended by SIGTERM/],
  ["writes nothing", script("silent", "exit 0"), /no /],
  ["writes something else", script("words", "echo QEMU emulator version 9.2.1"), /a table of|unknown table/],
  ["writes part of the tables", script("part", `head -c 9000 '${folder}/blob'`), /a table of 9098 bytes at 64 of 9000/],
  ["writes without end", script("endless", "exec cat /dev/zero"), /at most 4194304 bytes of output/],
  ["is not there", join(folder, "missing"), /no such program/],
  ["may not be started", join(folder, "blob"), /may not be started/],
])("that %s gives no digests", async (_name, program, message) => {
  await expect(run(program)).rejects.toThrow(
    expect.objectContaining({ code: "unavailable.acpi-tables", message: expect.stringMatching(message) }),
  );
});

test("that does not end is ended, and what it started is not waited for", async () => {
  const started = performance.now();
  await expect(run(script("hangs", "sleep 30"), 300)).rejects.toThrow(/need an end within 300 ms/);
  expect(performance.now() - started).toBeLessThan(10_000);
});
