/** Backups: who can open one, what is refused, that a restore is whole or not at all, and that the same keys are derived. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Encrypter, generateHybridIdentity, generateX25519Identity, identityToRecipient } from "age-encryption";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decryptWith, parseIdentities, parseRecipients } from "../../kms/backup/age.ts";
import { openArchive, sealArchive } from "../../kms/backup/archive.ts";
import { drillRestore, proveFolder } from "../../kms/backup/drill.ts";
import { readKeyFiles } from "../../kms/backup/key-files.ts";
import { restoreFiles } from "../../kms/backup/restore.ts";
import { decodeTar, encodeTar, type TarFile } from "../../kms/backup/tar.ts";
import { utf8 } from "../../kms/bytes.ts";
import { createKeySet, inspectKeyStore, recoverKeyStore } from "../../kms/keys/store.ts";
import type { FileWrite } from "../../kms/keys/store-files.ts";
import { crashDisk } from "./support/crash-disk.ts";
import { keyFiles, newKeySet, secretFiles } from "./support/key-sets.ts";
import { refusal } from "./support/refusals.ts";

const base = mkdtempSync(join(tmpdir(), "keyward-backup-"));
afterAll(() => rmSync(base, { recursive: true }));
const certDir = join(base, "certs");
const now = new Date("2026-11-21T12:00:00Z");
const nine = [...keyFiles, "rpc-domain", "bootstrap-info.json"];

let identities: string[];
let recipients: string[];
let files: FileWrite[];
let archive: Uint8Array;
beforeAll(async () => {
  await createKeySet(certDir, await newKeySet(), "kms.test", { k256_pubkey: "02" });
  identities = [await generateX25519Identity(), await generateHybridIdentity(), await generateX25519Identity()];
  recipients = await Promise.all(identities.slice(0, 2).map((identity) => identityToRecipient(identity)));
  files = await readKeyFiles(certDir);
  archive = (await sealArchive(files, recipients, now)).bytes;
});

const identity = (index: number) => identities.slice(index, index + 1);

describe("an archive", () => {
  test("is opened by each recipient, classical or post-quantum, and by nobody else", async () => {
    for (const index of [0, 1]) {
      const opened = await openArchive(archive, identity(index));
      expect(opened.files.map(({ name }) => name)).toEqual(nine);
      expect(opened.createdAt).toBe(now.toISOString());
      expect(opened.keys).toEqual(await proveFolder(certDir));
    }
    expect((await refusal(openArchive(archive, identity(2)))).code).toBe("malformed.backup");
  });

  test("shows no file, name or key without an identity", () => {
    const text = Buffer.from(archive).toString("latin1");
    for (const { name, content } of files) {
      expect(text).not.toContain(name);
      expect(text).not.toContain(Buffer.from(content).toString("latin1"));
    }
  });

  test("is refused when any byte was changed or the end is missing", async () => {
    for (let offset = 0; offset < archive.length; offset += 331) {
      const changed = archive.slice();
      changed[offset] = (changed[offset] ?? 0) ^ 1;
      expect((await refusal(openArchive(changed, identity(0)))).code).toBe("malformed.backup");
    }
    for (const length of [0, 1, archive.length >> 1, archive.length - 1]) {
      expect((await refusal(openArchive(archive.subarray(0, length), identity(0)))).code).toBe("malformed.backup");
    }
  });

  test("gives its files to age and tar alone, should this program be lost", async () => {
    const dir = join(base, "untarred");
    mkdirSync(dir);
    writeFileSync(join(dir, "a.tar"), await decryptWith(identity(0), archive));
    execFileSync("tar", ["-xf", "a.tar"], { cwd: dir });
    for (const { name, content } of files) expect(readFileSync(join(dir, name))).toEqual(Buffer.from(content));
    expect(statSync(join(dir, "root-k256.key")).mode & 0o777).toBe(0o600);
  });

  test("is not made of files that do not belong together", async () => {
    const other = await newKeySet();
    const swapped = (name: string, content: Uint8Array) =>
      files.map((file) => (file.name === name ? { ...file, content } : file));
    const refused = async (changed: readonly FileWrite[], message: string) =>
      expect(await refusal(sealArchive(changed, recipients, now))).toEqual({ code: "fault.key-store", message });
    await refused(swapped("root-ca.crt", utf8(other.rootCaCertPem)), "root-ca.crt: is not the certificate of root-ca.key");
    await refused(swapped("tmp-ca.crt", utf8(other.tempCaCertPem)), "tmp-ca.crt: is not the certificate of tmp-ca.key");
    await refused(swapped("rpc.key", other.rpcKeyPem), "rpc.crt: is not the certificate of rpc.key");
    await refused(
      swapped("rpc.key", other.rpcKeyPem).map((file) =>
        file.name === "rpc.crt" ? { ...file, content: utf8(other.rpcCertPem) } : file,
      ),
      "rpc.crt: is not signed by root-ca.key",
    );
    await refused(
      files.filter(({ name }) => name !== "root-k256.key"),
      "root-k256.key: is missing",
    );
  });
});

describe("the content of an archive is refused", () => {
  const resealed = async (change: (tar: TarFile[]) => TarFile[] | Uint8Array) => {
    const changed = change(decodeTar(await decryptWith(identity(0), archive)));
    const encrypter = new Encrypter();
    for (const recipient of recipients) encrypter.addRecipient(recipient);
    return encrypter.encrypt(changed instanceof Uint8Array ? changed : encodeTar(changed, 0));
  };
  const manifest = (tar: TarFile[], edit: (text: string) => string) =>
    tar.map((file) =>
      file.name === "manifest.json" ? { ...file, content: utf8(edit(new TextDecoder().decode(file.content))) } : file,
    );

  test.each<[string, (tar: TarFile[]) => TarFile[] | Uint8Array]>([
    ["without a manifest", (tar) => tar.slice(1)],
    ["with a manifest of another version", (tar) => manifest(tar, (text) => text.replace('"version":1', '"version":2'))],
    ["with an unknown member in it", (tar) => manifest(tar, (text) => text.replace('"version":1', '"version":1,"x":0'))],
    ["with a file too few", (tar) => tar.slice(0, -1)],
    ["with a file too many", (tar) => [...tar, { name: "extra", content: utf8("x") }]],
    ["with a file twice", (tar) => [...tar, ...tar.slice(-1)]],
    ["with a path for a name", (tar) => tar.map((file) => (file.name === "rpc.crt" ? { ...file, name: "../rpc.crt" } : file))],
    ["with another probe", (tar) => manifest(tar, (text) => text.replace(/"probe":"../, '"probe":"zz'))],
    ["with a changed file", (tar) => tar.map((file) => (file.name === "rpc-domain" ? { ...file, content: utf8("evil") } : file))],
    [
      "with another root key",
      (tar) => tar.map((file) => (file.name === "root-k256.key" ? { ...file, content: new Uint8Array(32).fill(1) } : file)),
    ],
    ["cut off", (tar) => encodeTar(tar, 0).subarray(0, -512)],
    ["with something behind it", (tar) => new Uint8Array([...encodeTar(tar, 0), ...new Uint8Array(512)])],
    ["that is no tar", () => utf8("hello")],
    ["that is nothing", () => new Uint8Array()],
    ["with a link in it", (tar) => encodeTar(tar, 0).with(156, 0x32)],
  ])("%s", async (_name, change) => {
    const { code } = await refusal(openArchive(await resealed(change), identity(0)));
    expect(code).toMatch(/^(malformed\.backup|fault\.key-store)$/);
  });
});

describe("a restore", () => {
  test("brings back every file with its mode, and the same keys", async () => {
    const dir = join(base, "new", "certs");
    await restoreFiles(dir, (await openArchive(archive, identity(0))).files);
    for (const name of nine) expect(readFileSync(join(dir, name))).toEqual(readFileSync(join(certDir, name)));
    for (const name of secretFiles) expect(statSync(join(dir, name)).mode & 0o777).toBe(0o600);
    expect(await proveFolder(dir)).toEqual(await proveFolder(certDir));
  });

  test.each([...nine, ".stage", "anything"])("touches nothing in a folder that holds %s", async (name) => {
    const dir = mkdtempSync(join(base, "full-"));
    writeFileSync(join(dir, name), "kept");
    expect((await refusal(restoreFiles(dir, files))).code).toBe("denied.folder-not-empty");
    expect(readdirSync(dir).sort()).toEqual([".lock", name].sort());
    expect(readFileSync(join(dir, name), "utf8")).toBe("kept");
  });

  test("that ends at any operation leaves a whole KMS or none", async () => {
    const states: string[] = [];
    for (let after = 0, isDone = false; !isDone; after += 1) {
      const dir = join(base, `crash-${after}`);
      const ended = Promise.withResolvers<"crashed">();
      const disk = crashDisk({ after, torn: true, end: () => ended.resolve("crashed") });
      isDone = (await Promise.race([restoreFiles(dir, files, disk), ended.promise])) !== "crashed";
      await recoverKeyStore(dir);
      states.push(await inspectKeyStore(dir));
      if (states.at(-1) === "complete") expect(await proveFolder(dir)).toEqual(await proveFolder(certDir));
    }
    expect(states.lastIndexOf("empty")).toBe(states.indexOf("complete") - 1);
  });
});

test("a drill proves the same keys and leaves nothing behind, also when it fails", async () => {
  const workDir = mkdtempSync(join(base, "work-"));
  const opened = await openArchive(archive, identity(1));
  expect(await drillRestore(opened, workDir)).toEqual(await proveFolder(certDir));
  const wrong = { ...opened, keys: { ...opened.keys, probe: "00" } };
  expect((await refusal(drillRestore(wrong, workDir))).code).toBe("unproven.root-keys");
  expect(readdirSync(workDir)).toEqual([]);
  expect(existsSync(join(base, "nowhere"))).toBe(false);
  expect((await refusal(drillRestore(opened, join(base, "nowhere")))).code).toBe("fault.key-store");
});

describe("text of recipients and identities", () => {
  test("may hold comments and empty lines", () => {
    expect(parseRecipients("# us\nage1abc\r\n\n  \nage1def")).toEqual(["age1abc", "age1def"]);
    expect(parseIdentities("# created\nAGE-SECRET-KEY-1ABC\n")).toEqual(["AGE-SECRET-KEY-1ABC"]);
  });

  test.each(["", "# none\n", "age1abc", "AGE-SECRET-KEY-1ABC\nsomething"])("is refused as identities: '%s'", async (text) => {
    expect((await refusal(() => parseIdentities(text))).code).toBe("malformed.file");
  });

  test("never comes back in an error", async () => {
    const secret = identities[0] ?? "";
    for (const wrong of [secret, "ssh-ed25519 AAAA", `${recipients[0]}x`]) {
      const refused = await refusal(sealArchive(files, [wrong], now));
      expect(refused.code).toBe("malformed.usage");
      expect(refused.message).not.toContain(secret);
    }
    expect((await refusal(sealArchive(files, [], now))).message).toBe("need 1 to 20 recipients, have 0");
    const mistyped = `${secret.slice(0, -1)}${secret.endsWith("Q") ? "P" : "Q"}`;
    expect((await refusal(openArchive(archive, [mistyped]))).message).not.toContain(secret.slice(20, 40));
  });
});
