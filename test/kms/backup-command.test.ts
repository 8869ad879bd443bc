/** The command kms-backup as a process: streams, exit codes, and nothing secret in what it prints. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { afterAll, beforeAll, expect, test } from "vitest";
import { toHex } from "../../kms/bytes.ts";
import { k256Pubkey } from "../../kms/keys/root-keys.ts";
import { createKeySet, type KeySet } from "../../kms/keys/store.ts";
import { newKeySet } from "./support/key-sets.ts";

const command = fileURLToPath(new URL("../../scripts/kms-backup.ts", import.meta.url));
const base = mkdtempSync(join(tmpdir(), "keyward-backup-command-"));
const place = (name: string) => join(base, name);
afterAll(() => rmSync(base, { recursive: true }));

let keySet: KeySet;
let recipient: string;
beforeAll(async () => {
  keySet = await newKeySet();
  await createKeySet(place("certs"), keySet, "kms.test");
  const identity = await generateX25519Identity();
  recipient = await identityToRecipient(identity);
  writeFileSync(place("identity"), `# mine\n${identity}\n`, { mode: 0o600 });
  writeFileSync(place("stranger"), await generateX25519Identity(), { mode: 0o600 });
  writeFileSync(place("recipients"), `# all\n${recipient}\n${await identityToRecipient(await generateX25519Identity())}\n`);
});

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [command, ...args], { encoding: "utf8" });
  return { status, stdout, stderr };
}

test("backs up, drills and restores, and prints public values only", () => {
  const created = run("create", "--cert-dir", place("certs"), "-R", place("recipients"), "-o", place("a.age"), "--json");
  expect(created.stderr).toBe("8 files read, checking that they belong together\n");
  const proof = JSON.parse(created.stdout);
  expect(created.status).toBe(0);
  expect(proof).toMatchObject({ ok: true, recipients: 2, k256Pubkey: toHex(k256Pubkey(keySet.rootKeys)) });
  expect(statSync(place("a.age")).mode & 0o777).toBe(0o600);

  const drilled = run("drill", place("a.age"), "-i", place("identity"), "--cert-dir", place("certs"), "--work-dir", base);
  expect(drilled).toMatchObject({ status: 0, stdout: expect.stringContaining(proof.probe) });
  const restored = run("restore", place("a.age"), "-i", place("identity"), "--cert-dir", place("new"), "--json");
  expect(JSON.parse(restored.stdout)).toMatchObject({ ok: true, files: 8, probe: proof.probe });
  expect(readFileSync(join(place("new"), "root-k256.key"))).toEqual(Buffer.from(keySet.rootKeys.k256Key));

  const printed = [created, drilled, restored].flatMap(({ stdout, stderr }) => [stdout, stderr]).join("");
  for (const key of [keySet.rootKeys.k256Key, keySet.rootKeys.caScalar]) {
    for (const form of ["hex", "base64", "latin1"] as const) expect(printed).not.toContain(Buffer.from(key).toString(form));
  }
  expect(printed).not.toContain("PRIVATE KEY");
  expect(readdirSync(base).filter((name) => name.startsWith("kms-drill-"))).toEqual([]);
});

test.each([
  [
    "another identity",
    () => ["restore", place("a.age"), "-i", place("stranger"), "--cert-dir", place("x")],
    2,
    "malformed.backup",
  ],
  [
    "a folder with keys",
    () => ["restore", place("a.age"), "-i", place("identity"), "--cert-dir", place("certs")],
    4,
    "denied.folder-not-empty",
  ],
  [
    "a drill against another KMS",
    () => ["drill", place("a.age"), "-i", place("identity"), "--cert-dir", place("other")],
    3,
    "unproven.root-keys",
  ],
  [
    "an archive that exists",
    () => ["create", "--cert-dir", place("certs"), "-r", recipient, "-o", place("a.age")],
    2,
    "malformed.usage",
  ],
  ["no recipient", () => ["create", "--cert-dir", place("certs"), "-o", place("b.age")], 2, "malformed.usage"],
  [
    "a folder without keys",
    () => ["create", "--cert-dir", place("none"), "-r", recipient, "-o", place("b.age")],
    2,
    "malformed.usage",
  ],
  ["part of a KMS", () => ["create", "--cert-dir", place("part"), "-r", recipient, "-o", place("b.age")], 1, "fault.key-store"],
  ["a flag it does not know", () => ["create", "--force"], 2, "malformed.usage"],
] as const)("ends with the code of its family for %s", async (_name, args, status, code) => {
  await createKeySet(place("other"), await newKeySet(), "kms.test").catch(() => undefined);
  mkdirSync(place("part"), { recursive: true });
  writeFileSync(join(place("part"), "root-ca.key"), "kept");
  const ended = run(...args(), "--json");
  expect(JSON.parse(ended.stdout)).toMatchObject({ ok: false, code });
  expect(ended.status).toBe(status);
  expect(ended.stderr).toContain("hint: ");
});

test("does not read an identity that others can read, and names the command that mends it", () => {
  chmodSync(place("identity"), 0o640);
  const refused = run("drill", place("a.age"), "-i", place("identity"));
  expect(refused).toMatchObject({ status: 2, stdout: "", stderr: expect.stringContaining(`chmod 600 ${place("identity")}`) });
});

test("explains itself without arguments", () => {
  expect(run()).toMatchObject({ status: 2, stderr: expect.stringContaining("Usage: kms-backup") });
  expect(run("create", "--help")).toMatchObject({ status: 0, stdout: expect.stringContaining("--recipients-file") });
});
