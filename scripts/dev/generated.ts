/** Compares kms/http/gen with what `buf generate` makes of proto/ now, so that nobody edits the one without the other. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folder = "kms/http/gen";
const fresh = mkdtempSync(join(tmpdir(), "keyward-gen-"));
try {
  execFileSync("buf", ["generate", "--output", fresh], { stdio: ["ignore", "ignore", "inherit"] });
  const list = (root: string) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const text = (root: string) =>
    list(root)
      .map((entry) => [entry.name, readFileSync(join(entry.parentPath, entry.name), "utf8")] as const)
      .sort(([a], [b]) => a.localeCompare(b));
  if (JSON.stringify(text(".")) !== JSON.stringify(text(fresh))) {
    console.error(`${folder} differs from proto/: run ./run generate`);
    process.exitCode = 1;
  }
} finally {
  rmSync(fresh, { recursive: true, force: true });
}
