/** Real KMS processes on one certificate folder: the lock, and what a start makes of a folder that a killed process left. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { openArchive, sealArchive } from "../../kms/backup/archive.ts";
import { readKeyFiles } from "../../kms/backup/key-files.ts";
import { restoreFiles } from "../../kms/backup/restore.ts";
import { createKeySet } from "../../kms/keys/store.ts";
import { lockKeyStore } from "../../kms/keys/store-lock.ts";
import { ask } from "../support/http-client.ts";
import { crashDisk } from "./support/crash-disk.ts";
import { newKeySet } from "./support/key-sets.ts";
import { type Surroundings, surround } from "./support/kms-process.ts";
import { refusal } from "./support/refusals.ts";

const auto = 'auto_bootstrap_domain = "localhost"';

const isolation = ["--user", "--map-root-user", "--pid", "--fork", "--net", "--mount-proc"];
const tryLock = `
  const { lockKeyStore } = await import(${JSON.stringify(new URL("../../kms/keys/store-lock.ts", import.meta.url))});
  console.log(await lockKeyStore(process.argv[1]).then((lock) => lock.isHeld, (error) => error.code));`;

/** Whether this system gives an ordinary user namespaces of his own. */
function mayIsolate(): boolean {
  return spawnSync("unshare", [...isolation, "true"]).status === 0;
}

describe("a process", () => {
  let around: Surroundings;
  beforeEach(async () => {
    around = await surround();
  });
  afterEach(() => around.close());

  test("does not share its folder with a second one, in either state, and a killed one leaves it free at once", async () => {
    const config = around.config();
    const first = around.start(["-c", config]);
    await first.line("listening", "onboard");
    const second = around.start(["-c", config]);
    expect(await second.exit).toBe(5);
    expect(second.lines.at(-1)).toMatchObject({
      code: "unavailable.key-store",
      msg: expect.stringContaining(
        `another process uses it: end it first; this shows who has it open: fuser -v ${around.certDir}/.lock`,
      ),
    });
    first.kill("SIGKILL");
    await first.exit;

    const third = around.start(["-c", around.config(auto)]);
    await third.line("listening", "main");
    const fourth = around.start(["-c", config]);
    expect(await fourth.exit).toBe(5);
    third.kill("SIGKILL");
    await third.exit;
    const fifth = around.start(["-c", config]);
    await fifth.line("listening", "main");
  });

  test.each([
    ["a sealed stage is completed and served", 24, "an interrupted start of this KMS is completed: its keys were sealed", "main"],
    [
      "an unsealed one is removed and onboarding begins",
      9,
      "an interrupted start of this KMS is undone: its keys were never in use",
      "onboard",
    ],
  ])("after a crash in the middle of the store: %s", async (_, after, message, mode) => {
    const keySet = await newKeySet();
    const ended = Promise.withResolvers<void>();
    await Promise.race([
      createKeySet(around.certDir, keySet, "localhost", undefined, crashDisk({ after, end: ended.resolve })),
      ended.promise,
    ]);
    expect(readdirSync(around.certDir)).toContain(".stage");
    const kms = around.start(["-c", around.config()]);
    await kms.line("listening", mode);
    expect(kms.lines.find((line) => line["msg"] === message)).toMatchObject({ level: 40 });
    expect(readdirSync(around.certDir)).not.toContain(".stage");
    if (mode === "main")
      expect(readFileSync(join(around.certDir, "root-k256.key"))).toEqual(Buffer.from(keySet.rootKeys.k256Key));
  });

  test.skipIf(!mayIsolate())(
    "does not share it with one in another container either, which sees neither its processes nor its network",
    async () => {
      const first = around.start(["-c", around.config(auto)]);
      await first.line("listening", "main");
      const args = [...isolation, process.execPath, "--input-type=module", "-e", tryLock, around.certDir];
      expect(spawnSync("unshare", args, { encoding: "utf8" }).stdout).toBe("unavailable.key-store\n");
      first.kill("SIGKILL");
      await first.exit;
      expect(spawnSync("unshare", args, { encoding: "utf8" }).stdout).toBe("true\n");
    },
  );

  test("serves the same keys from a folder that was restored from a backup", async () => {
    const first = around.start(["-c", around.config(auto)]);
    const keysAt = async (url: unknown) => {
      const options = { method: "POST", body: `{"app_id":"${"01".repeat(20)}"}`, tls: { rejectUnauthorized: false } };
      const answers = await Promise.all(
        ["GetAppEnvEncryptPubKey", "GetMeta"].map((name) => ask(String(url), `/prpc/${name}?json`, options)),
      );
      const [env, meta] = answers.map(({ text }) => JSON.parse(text));
      return [env.public_key, meta.k256_pubkey, meta.bootstrap_info];
    };
    const before = await keysAt((await first.line("listening", "main"))["url"]);
    expect(before[0]).toHaveLength(64);
    const identity = await generateX25519Identity();
    const backup = await sealArchive(await readKeyFiles(around.certDir), [await identityToRecipient(identity)], new Date());
    first.kill("SIGKILL");
    await first.exit;
    rmSync(around.certDir, { recursive: true });
    await restoreFiles(around.certDir, (await openArchive(backup.bytes, [identity])).files);
    const second = around.start(["-c", around.config()]);
    expect(await keysAt((await second.line("listening", "main"))["url"])).toEqual(before);
  });

  test("that meets a world-readable root key ends with the command that mends it, and starts after it", async () => {
    const first = around.start(["-c", around.config(auto)]);
    await first.line("listening", "main");
    first.kill("SIGTERM");
    await first.exit;
    const key = join(around.certDir, "root-ca.key");
    chmodSync(key, 0o644);
    const refused = around.start(["-c", around.config()]);
    expect(await refused.exit).toBe(1);
    expect(refused.lines.at(-1)).toMatchObject({ code: "fault.key-store", msg: expect.stringContaining(`chmod 600 ${key}`) });
    chmodSync(key, 0o600);
    await around.start(["-c", around.config()]).line("listening", "main");
  });
});

describe("the lock", () => {
  const base = mkdtempSync(join(tmpdir(), "keyward-lock-"));
  afterAll(() => rmSync(base, { recursive: true }));

  test("is one's until it is released, also within a process", async () => {
    const dir = join(base, "new", "certs");
    const lock = await lockKeyStore(dir);
    expect(lock.isHeld).toBe(true);
    expect((await refusal(lockKeyStore(dir))).code).toBe("unavailable.key-store");
    lock.release();
    lock.release();
    (await lockKeyStore(dir)).release();
    expect(readdirSync(dir)).toEqual([".lock"]);
    expect(readFileSync(join(dir, ".lock"))).toHaveLength(0);
  });

  test("is refused on a file that is something else, which it leaves alone", async () => {
    const dir = join(base, "foreign");
    mkdirSync(dir);
    writeFileSync(join(dir, ".lock"), "somebody's text\n");
    expect(await refusal(lockKeyStore(dir))).toEqual({
      code: "fault.key-store",
      message: expect.stringContaining("is not ours: move it away: mv "),
    });
    expect(readFileSync(join(dir, ".lock"), "utf8")).toBe("somebody's text\n");
  });

  test("names what is in the way of the folder", async () => {
    writeFileSync(join(base, "file"), "");
    expect((await refusal(lockKeyStore(join(base, "file", "certs")))).message).toMatch(/ENOTDIR: .*namei -l/);
    expect((await refusal(lockKeyStore(join(base, "file")))).message).toMatch(/EEXIST: .*ls -ld/);
  });
});
