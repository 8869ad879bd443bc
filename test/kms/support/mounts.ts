/** File systems of a test's own, in a namespace: full ones and read-only ones, without root. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A shell that may mount; its script comes after. */
export const mountingShell: readonly [string, ...string[]] = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"];

/** Whether this system lets an ordinary user mount a file system in a namespace of his own. */
export function mayMount(): boolean {
  const dir = mkdtempSync(join(tmpdir(), "mount-"));
  try {
    const [program, ...args] = mountingShell;
    execFileSync(program, [...args, `mount -t tmpfs tmpfs ${dir}`], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  } finally {
    rmSync(dir, { recursive: true });
  }
}
