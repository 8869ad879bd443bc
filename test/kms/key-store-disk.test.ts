/** Disks that are full, limited, read-only or a mount of their own: clear errors with what mends them, and never half a KMS. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { KmsError } from "../../kms/errors.ts";
import { createKeySet, inspectKeyStore, loadKeySet } from "../../kms/keys/store.ts";
import { type Disk, systemDisk } from "../../kms/keys/store-disk.ts";
import { newKeySet } from "./support/key-sets.ts";
import { type Surroundings, surround } from "./support/kms-process.ts";
import { mayMount, mountingShell } from "./support/mounts.ts";

const base = mkdtempSync(join(tmpdir(), "keyward-disk-"));
afterAll(() => rmSync(base, { recursive: true }));

/** A disk whose operations fail as `fails` says, given their number. */
function failingDisk(code: string, fails: (count: number, isRemoval: boolean) => boolean): Disk {
  let count = 0;
  const unless = <T>(work: () => Promise<T>, isRemoval = false): Promise<T> => {
    count += 1;
    return fails(count, isRemoval) ? Promise.reject(Object.assign(new Error("injected"), { code })) : work();
  };
  return {
    makeFolder: (path) => unless(() => systemDisk.makeFolder(path)),
    writeNew: (path, content, mode) => unless(() => systemDisk.writeNew(path, content, mode)),
    sync: (path) => unless(() => systemDisk.sync(path)),
    rename: (from, to) => unless(() => systemDisk.rename(from, to)),
    remove: (path) => unless(() => systemDisk.remove(path), true),
    removeFolder: (path) => unless(() => systemDisk.removeFolder(path), true),
  };
}

describe("an operation that fails", () => {
  test.each([
    ["once, for want of room", "ENOSPC", "df -h", (first: number) => (count: number) => count === first],
    [
      "with all writes after it",
      "ENOSPC",
      "df -h",
      (first: number) => (count: number, removal: boolean) => count >= first && !removal,
    ],
    ["with everything after it", "EROFS", "mount -o remount,rw", (first: number) => (count: number) => count >= first],
  ])("%s: names the remedy, and the next attempt finds no KMS or a whole one", async (_name, code, remedy, failing) => {
    const [first, second] = [await newKeySet(), await newKeySet()];
    for (let count = 1; ; count += 1) {
      const dir = join(mkdtempSync(join(base, "case-")), "certs");
      const thrown: unknown = await createKeySet(dir, first, "a.test", {}, failingDisk(code, failing(count))).catch(
        (error) => error,
      );
      if (thrown === undefined) break;
      expect(thrown).toBeInstanceOf(KmsError);
      expect(thrown).toMatchObject({ code: "fault.key-store", message: expect.stringContaining(`${code}: `) });
      expect(thrown).toMatchObject({ message: expect.stringContaining(remedy) });

      const again: unknown = await createKeySet(dir, second, "b.test", {}).catch((error) => error);
      if (again !== undefined) expect(again).toMatchObject({ code: "denied.already-bootstrapped" });
      const { rootKeys, domain } = await loadKeySet(dir);
      const owner = again === undefined ? second : first;
      expect([rootKeys.caScalar, rootKeys.k256Key]).toEqual([owner.rootKeys.caScalar, owner.rootKeys.k256Key]);
      expect(domain).toBe(again === undefined ? "b.test" : "a.test");
      expect(readdirSync(dir)).toHaveLength(9);
    }
  });
});

const main = fileURLToPath(new URL("../../kms/main.ts", import.meta.url));

describe("a KMS process", () => {
  let around: Surroundings;
  beforeEach(async () => {
    around = await surround();
    mkdirSync(around.certDir);
  });
  afterEach(() => around.close());

  interface Ended {
    readonly status: number | null;
    readonly last: { readonly code?: string; readonly msg?: string };
    readonly stdout: string;
  }

  /** `$KMS` in the script is the command that starts it, which ends by itself only where it fails. */
  function inShell(script: string, shell: readonly [string, ...string[]]): Promise<Ended> {
    const config = around.config('auto_bootstrap_domain = "localhost"');
    const [program, ...args] = shell;
    const env = {
      PATH: process.env["PATH"],
      DSTACK_AGENT_ADDRESS: `unix:${join(around.dir, "agent.sock")}`,
      DIR: around.certDir,
      KMS: `${process.execPath} ${main} -c ${config}`,
    };
    const child = spawn(program, [...args, script], { env, stdio: ["ignore", "pipe", "inherit"] });
    let stdout = "";
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    return new Promise((resolve) => {
      child.once("close", (status) => {
        const lines = stdout.split("\n").filter((line) => line.startsWith("{"));
        resolve({ status, stdout, last: JSON.parse(lines.at(-1) ?? "{}") });
      });
    });
  }

  test("under a limit on file sizes says so, and leaves the folder to the next one", async () => {
    const ended = await inShell("ulimit -f 2; exec $KMS", ["bash", "-c"]);
    expect(ended.status).toBe(1);
    expect(ended.last).toMatchObject({ code: "fault.key-store", msg: expect.stringContaining("EFBIG: ") });
    expect(ended.last.msg).toContain("ulimit -f unlimited");
    expect(readdirSync(around.certDir)).toEqual([".lock"]);
    await around.start(["-c", around.config('auto_bootstrap_domain = "localhost"')]).line("listening", "main");
  });

  test.skipIf(!mayMount())("on a full disk, which is the mount point itself, says so and leaves nothing", async () => {
    const ended = await inShell(
      "mount -t tmpfs -o size=16k tmpfs $DIR && $KMS; status=$?; ls -A $DIR; exit $status",
      mountingShell,
    );
    expect(ended.status).toBe(1);
    expect(ended.last).toMatchObject({ code: "fault.key-store", msg: expect.stringContaining(`ENOSPC: make room on its disk`) });
    expect(ended.stdout).toMatch(/\n\.lock\n$/);
  });

  test.skipIf(!mayMount())("on a read-only mount refuses to begin, and names the mount", async () => {
    const ended = await inShell("mount -t tmpfs tmpfs $DIR && mount -o remount,ro $DIR && exec $KMS", mountingShell);
    expect(ended.status).toBe(1);
    expect(ended.stdout).toContain("the certificate folder cannot be written");
    expect(ended.last).toMatchObject({
      code: "fault.key-store",
      msg: expect.stringContaining("EROFS: its file system is read-only"),
    });
  });

  test.skipIf(!mayMount())("serves from a folder that is a mount point, also when it has become read-only", async () => {
    const waited = 'wait_for() { until grep -qs "$2" $DIR/../$1; do sleep 0.1; kill -0 $pid || exit 9; done; }';
    const started = (log: string, more = "") =>
      `$KMS${more} > $DIR/../${log} & pid=$!; wait_for ${log} '"mode":"main"'; kill $pid; wait $pid || exit 8;`;
    const plain = join(around.dir, "plain.toml");
    const script = `${waited}; mount -t tmpfs tmpfs $DIR || exit 7
      ${started("first")} test -f $DIR/root-k256.key || exit 6
      mount -o remount,ro $DIR || exit 5
      sed 's/^\\[core\\]/[core]\\nattest_rpc_cert = false/' \${KMS##* } > ${plain}
      ${started("second", ` -c ${plain}`)} grep -q "certificates not renewed, the stored ones are used" $DIR/../second || exit 4`;
    const ended = await inShell(script, mountingShell);
    expect(ended.status).toBe(0);
    expect(existsSync(join(around.certDir, "root-k256.key"))).toBe(false); // it was in the mount
    expect(await inspectKeyStore(around.certDir)).toBe("empty");
  });
});
