/** What a start makes of stages and leftovers that are not as a crash of ours would leave them: it refuses, and touches nothing. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { toHex } from "../../kms/bytes.ts";
import {
  createKeySet,
  inspectKeyStore,
  type KeySet,
  loadKeySet,
  readBootstrapInfo,
  recoverKeyStore,
} from "../../kms/keys/store.ts";
import { crashDisk } from "./support/crash-disk.ts";
import { newKeySet } from "./support/key-sets.ts";
import { refusal } from "./support/refusals.ts";

const base = mkdtempSync(join(tmpdir(), "keyward-stage-"));
afterAll(() => rmSync(base, { recursive: true }));
/** Operations until the seal is on disk, with the names and without bootstrap information; and three files further. */
const sealedAfter = 24;
const movedAfter = sealedAfter + 4;

let keySet: KeySet;
let sealed: string;
let moving: string;
let dir: string;
beforeAll(async () => {
  keySet = await newKeySet();
  sealed = await crashed(sealedAfter);
  moving = await crashed(movedAfter);
});
beforeEach(() => {
  dir = mkdtempSync(join(base, "case-"));
});

async function crashed(after: number): Promise<string> {
  const folder = join(base, `crashed-${after}`);
  const ended = Promise.withResolvers<void>();
  await Promise.race([
    createKeySet(folder, keySet, "kms.test", undefined, crashDisk({ after, end: ended.resolve })),
    ended.promise,
  ]);
  return folder;
}

function tree(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    names.map(({ parentPath, name }) => [join(parentPath, name), readFileSync(join(parentPath, name), "hex")]),
  );
}

async function refusedUntouched(message: RegExp | string): Promise<void> {
  const before = tree(dir);
  for (const work of [() => recoverKeyStore(dir), () => createKeySet(dir, keySet, "b.test")]) {
    const refused = await refusal(work());
    expect(refused.code).toBe("fault.key-store");
    expect(refused.message).toMatch(message);
    expect(tree(dir)).toEqual(before);
  }
}

const stage = (name: string) => join(dir, ".stage", name);

test("the two folders of these tests are a sealed stage, and one of which three files have moved", () => {
  expect(readdirSync(sealed)).toEqual([".stage"]);
  expect(readdirSync(join(sealed, ".stage"))).toContain("manifest.json");
  expect(readdirSync(moving).sort()).toEqual([".stage", "root-ca.key", "rpc.key", "tmp-ca.key"]);
});

test("tells of secrets by their public keys: the manifest holds neither a key nor a digest of one", () => {
  const text = readFileSync(join(sealed, ".stage", "manifest.json"), "utf8");
  const entries: { name: string; sha256?: string; publicKey?: string }[] = JSON.parse(text).files;
  for (const { name, sha256, publicKey } of entries) {
    expect([name, sha256 === undefined, publicKey === undefined]).toEqual([name, name.endsWith(".key"), !name.endsWith(".key")]);
  }
  expect(text).not.toContain(toHex(keySet.rootKeys.k256Key));
});

describe("a sealed stage is left alone", () => {
  test.each([
    ["whose manifest is damaged", () => writeFileSync(stage("manifest.json"), '{"version":1'), /is no manifest of version 1/],
    [
      "whose manifest is of another version",
      () => writeFileSync(stage("manifest.json"), '{"version":2,"files":[]}'),
      /version 1/,
    ],
    ["with a key cut off", () => writeFileSync(stage("root-k256.key"), "short"), /root-k256.key: .*need 32 bytes, have 5/],
    [
      "with another key",
      () => writeFileSync(stage("root-k256.key"), new Uint8Array(32).fill(9)),
      /root-k256.key: is not the file/,
    ],
    ["with a changed certificate", () => writeFileSync(stage("root-ca.crt"), "other"), /root-ca.crt: is not the file/],
    ["without a file that did not move", () => rmSync(stage("rpc.crt")), /rpc.crt: cannot be read: ENOENT/],
    [
      "beside a key of the same name",
      () => writeFileSync(join(dir, "root-ca.key"), "kept"),
      /root-ca.key is in it and in .stage/,
    ],
  ])("%s", async (_name, spoil, message) => {
    cpSync(sealed, dir, { recursive: true });
    spoil();
    await refusedUntouched(message);
  });

  test("of which a moved file was changed since", async () => {
    cpSync(moving, dir, { recursive: true });
    const other = await newKeySet();
    writeFileSync(join(dir, "rpc.key"), other.rpcKeyPem);
    await refusedUntouched(/rpc.key: is not the file/);
  });
});

test("a sealed stage replaces a name that an operator wrote before, which is no key", async () => {
  cpSync(sealed, dir, { recursive: true });
  writeFileSync(join(dir, "rpc-domain"), "before");
  expect(await recoverKeyStore(dir)).toBe("completed");
  expect((await loadKeySet(dir)).domain).toBe("kms.test");
  expect(await recoverKeyStore(dir)).toBe("nothing");
});

test("the seal of a stage that has moved out is removed, whatever became of the files since", async () => {
  cpSync(sealed, dir, { recursive: true });
  const names = readdirSync(join(dir, ".stage")).filter((name) => name !== "manifest.json");
  for (const name of names) renameSync(stage(name), join(dir, name));
  writeFileSync(join(dir, "rpc.crt"), keySet.rootCaCertPem); // a later start renewed it
  expect(await recoverKeyStore(dir)).toBe("completed");
  expect(readdirSync(dir).sort()).toEqual(names.sort());
});

test("part of a KMS beside a stage is not looked at before a start has mended it", async () => {
  cpSync(moving, dir, { recursive: true });
  expect((await refusal(inspectKeyStore(dir))).message).toContain(
    "a start of the KMS puts in place, or removes, what .stage holds",
  );
  expect(await recoverKeyStore(dir)).toBe("completed");
  expect(await inspectKeyStore(dir)).toBe("complete");
});

test("an empty stage, and temporary files of this and of earlier releases, are removed", async () => {
  mkdirSync(join(dir, ".stage"));
  for (const name of [".rpc.crt.tmp", ".root-k256.key.4711.tmp", ".rpc-domain.1.tmp"]) writeFileSync(join(dir, name), "part");
  for (const name of [".other", "notes.tmp", ".lock"]) writeFileSync(join(dir, name), "kept");
  expect(await recoverKeyStore(dir)).toBe("discarded");
  expect(readdirSync(dir).sort()).toEqual([".lock", ".other", "notes.tmp"]);
});

test("bootstrap information of a KMS that never came to be does not speak for keys that come later", async () => {
  writeFileSync(join(dir, "bootstrap-info.json"), '{"k256_pubkey":"of lost keys"}');
  await createKeySet(dir, keySet, "kms.test");
  expect(await readBootstrapInfo(dir)).toBeNull();
  expect(readFileSync(join(dir, "bootstrap-info.json.old"), "utf8")).toContain("of lost keys");
});
