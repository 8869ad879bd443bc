/** The certificate folder: what is written, what is adopted, and every state that is refused. */
import "reflect-metadata";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { fromHex, toHex } from "../../kms/bytes.ts";
import { makeRootCa } from "../../kms/ca/kms-certificates.ts";
import { p256Spki } from "../../kms/keys/kdf.ts";
import { decodeKeyPem, encodeKeyPem } from "../../kms/keys/key-pem.ts";
import { generateRootKeys, RootKeys } from "../../kms/keys/root-keys.ts";
import {
  createKeySet,
  inspectKeyStore,
  type KeySet,
  loadKeySet,
  readBootstrapInfo,
  replaceCertificate,
} from "../../kms/keys/store.ts";
import vectors from "../fixtures/vectors/kdf.json" with { type: "json" };
import { keyFiles, newKeySet, secretFiles, systemRandom } from "./support/key-sets.ts";

const random = systemRandom;
const code = (code: string, message = "") => expect.objectContaining({ code, message: expect.stringContaining(message) });
const now = new Date("2026-11-21T00:00:00Z");
const info = { ca_pubkey: "30", k256_pubkey: "02", attestation: "00" };
const [seven, secret] = [keyFiles, secretFiles];

const base = mkdtempSync(join(tmpdir(), "keyward-store-"));
afterAll(() => rmSync(base, { recursive: true }));
let keySet: KeySet;
let dir: string;
let count = 0;

beforeAll(async () => {
  keySet = await newKeySet(now);
});

beforeEach(async () => {
  count += 1;
  dir = join(base, String(count), "certs");
  await createKeySet(dir, keySet, "kms.test", info);
});

const put = (name: string, content: string | Uint8Array) => writeFileSync(join(dir, name), content);
const take = (name: string) => rmSync(join(dir, name));

test("writes nine files with the reference's formats and modes, and leaves no other", () => {
  expect(readdirSync(dir).sort()).toEqual([...seven, "rpc-domain", "bootstrap-info.json"].sort());
  for (const name of secret) expect(statSync(join(dir, name)).mode & 0o777).toBe(0o600);
  expect(statSync(join(dir, "root-ca.crt")).mode & 0o777).toBe(0o644);
  expect(readFileSync(join(dir, "root-k256.key"))).toHaveLength(32);
  expect(readFileSync(join(dir, "rpc-domain"), "utf8")).toBe("kms.test");
  expect(readFileSync(join(dir, "bootstrap-info.json"), "utf8")).toBe('{"ca_pubkey":"30","k256_pubkey":"02","attestation":"00"}');
  expect(readFileSync(join(dir, "root-ca.key"), "utf8")).toMatch(
    /^-----BEGIN PRIVATE KEY-----\n(.{64}\n)+.+\n-----END PRIVATE KEY-----\n$/,
  );
});

test("reads back what it wrote, without a warning", async () => {
  const loaded = await loadKeySet(dir);
  expect(loaded.rootKeys.caScalar).toEqual(keySet.rootKeys.caScalar);
  expect(loaded.rootKeys.k256Key).toEqual(keySet.rootKeys.k256Key);
  expect(loaded).toMatchObject({ domain: "kms.test", warnings: [], rootCaCertPem: keySet.rootCaCertPem });
  expect(loaded.rpcSpki).toEqual(p256Spki(decodeKeyPem(keySet.rpcKeyPem)));
  expect(await inspectKeyStore(dir)).toBe("complete");
  expect(await readBootstrapInfo(dir)).toEqual(info);
});

test("adopts a folder of the reference: its root certificate, its key file, an umask mode, no bootstrap information", async () => {
  const [keys, certificate] = [vectors.real_kms_app_keys[0], vectors.certificates[0]];
  if (!keys || !certificate) throw new Error("the vectors have no real KMS");
  const scalar = fromHex(keys.root_ca_scalar, "root");
  put("root-ca.key", encodeKeyPem(scalar));
  put("root-ca.crt", certificate.pem);
  put("rpc-domain", "kms.example.com\n");
  take("bootstrap-info.json");
  const loaded = await loadKeySet(dir);
  expect(toHex(loaded.rootKeys.caScalar)).toBe(keys.root_ca_scalar);
  expect(loaded.rootCaCertPem).toBe(certificate.pem);
  expect(loaded.domain).toBe("kms.example.com");
  expect(await readBootstrapInfo(dir)).toBeNull();
});

test("calls a folder without any of the seven empty, also one that does not exist", async () => {
  expect(await inspectKeyStore(join(base, "none"))).toBe("empty");
  for (const name of seven) take(name);
  expect(await inspectKeyStore(dir)).toBe("empty");
  await expect(loadKeySet(dir)).rejects.toThrow(code("fault.key-store"));
});

describe.each(seven)("without %s", (name) => {
  test("refuses to start, and to bootstrap over the rest, and touches nothing", async () => {
    take(name);
    const before = readdirSync(dir);
    await expect(inspectKeyStore(dir)).rejects.toThrow(code("fault.key-store", `missing ${name}`));
    await expect(loadKeySet(dir)).rejects.toThrow(code("fault.key-store", name));
    await expect(createKeySet(dir, keySet, "kms.test")).rejects.toThrow(code("fault.key-store", name));
    expect(readdirSync(dir)).toEqual(before);
  });
});

test("never writes over a whole set of keys", async () => {
  const before = readFileSync(join(dir, "root-k256.key"));
  const other = { ...keySet, rootKeys: new RootKeys(random(32), random(32)) };
  await expect(createKeySet(dir, other, "kms.test")).rejects.toThrow(code("denied.already-bootstrapped"));
  expect(readFileSync(join(dir, "root-k256.key"))).toEqual(before);
});

test("bootstraps over what a crash before the first key left behind", async () => {
  for (const name of [...seven, "rpc-domain"]) take(name);
  put(`.root-ca.key.${process.pid}.tmp`, "part of a key");
  await createKeySet(dir, keySet, "kms.test", info);
  expect(readdirSync(dir)).toHaveLength(9);
});

test("names the remedy for a missing domain, and does without the file when the configuration has one", async () => {
  take("rpc-domain");
  await expect(loadKeySet(dir)).rejects.toThrow(code("fault.key-store", "missing rpc-domain: write the DNS name"));
  expect((await loadKeySet(dir, { domain: "auto.test" })).domain).toBe("auto.test");
  put("rpc-domain", " \n");
  await expect(loadKeySet(dir)).rejects.toThrow(code("fault.key-store", "rpc-domain"));
});

test.each([
  ["root-ca.key", "garbage"],
  ["root-ca.key", "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ==\n-----END EC PRIVATE KEY-----\n"],
  ["root-ca.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"],
  ["root-k256.key", "31 bytes, which is one too few."],
  ["root-k256.key", new Uint8Array(32)],
  ["root-ca.crt", "garbage"],
  ["rpc.key", "garbage"],
  ["rpc.crt", new Uint8Array(4 * 1024 * 1024 + 1)],
])("refuses a broken %s and names it, not its content", async (name, content) => {
  put(name, content);
  const error: unknown = await loadKeySet(dir).catch((thrown: unknown) => thrown);
  expect(error).toEqual(code("fault.key-store", name));
  expect(String(error)).not.toContain("garbage");
});

test("refuses a root certificate of another key", async () => {
  put("root-ca.crt", await makeRootCa(generateRootKeys(random), now));
  await expect(loadKeySet(dir)).rejects.toThrow(code("fault.key-store", "CA certificate does not match private key"));
});

test("warns of a key that its group may read and of a CA that may not sign", async () => {
  chmodSync(join(dir, "root-k256.key"), 0o640);
  const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
  const usage = new x509.Extension("2.5.29.15", true, fromHex("0303078000", "usage"));
  const old = await x509.X509CertificateGenerator.createSelfSigned({ name: "CN=Old", keys, extensions: [usage] });
  put("tmp-ca.crt", old.toString("pem"));
  const { warnings } = await loadKeySet(dir);
  expect(warnings).toEqual([
    expect.stringContaining(`chmod 600 ${join(dir, "root-k256.key")}`),
    expect.stringContaining("tmp-ca.crt"),
  ]);
});

test.each(["root-ca.key", "root-k256.key", "rpc.key"])(
  "refuses a %s that every user may read, with the command that mends it",
  async (name) => {
    chmodSync(join(dir, name), 0o644);
    await expect(loadKeySet(dir)).rejects.toThrow(code("fault.key-store", `need mode 0600: chmod 600 ${join(dir, name)}`));
    chmodSync(join(dir, name), 0o600);
    chmodSync(join(dir, "tmp-ca.key"), 0o644); // everyone may have it, by protocol
    expect((await loadKeySet(dir)).warnings).toHaveLength(1);
  },
);

test("replaces a certificate whole and keeps everything else", async () => {
  await replaceCertificate(dir, "rpc.crt", "new certificate");
  expect(readFileSync(join(dir, "rpc.crt"), "utf8")).toBe("new certificate");
  expect(readdirSync(dir)).toHaveLength(9);
});

test("answers null for bootstrap information that is no JSON", async () => {
  put("bootstrap-info.json", "{");
  expect(await readBootstrapInfo(dir)).toBeNull();
});
