/** What a start does to the certificates of a folder: which are renewed and when, and what never changes. */
import "reflect-metadata";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { KmsError } from "../../kms/errors.ts";
import { encodePkcs8 } from "../../kms/keys/kdf.ts";
import { createKeySet, loadKeySet, type StoredKeySet } from "../../kms/keys/store.ts";
import { systemDisk } from "../../kms/keys/store-disk.ts";
import type { OwnEvidence } from "../../kms/own-evidence.ts";
import { reissueCertificates } from "../../kms/replication/reissue.ts";
import { keyFiles, newKeySet } from "./support/key-sets.ts";
import { refusal } from "./support/refusals.ts";

const day = 86_400_000;
const made = new Date("2026-11-21T00:00:00Z");
const ends = made.getTime() + 3650 * day;
const base = mkdtempSync(join(tmpdir(), "keyward-renewal-"));
afterAll(() => rmSync(base, { recursive: true }));

let dir: string;
beforeEach(async () => {
  dir = join(mkdtempSync(join(base, "case-")), "certs");
  await createKeySet(dir, await newKeySet(made), "kms.test");
});

const noEvidence: OwnEvidence = {
  forCertificate: () => Promise.reject(new KmsError("unavailable.guest-agent", "no socket")),
  envelope: () => Promise.reject(new Error("not reached")),
  appraise: () => Promise.reject(new Error("not reached")),
};

async function start(at: number, disk = systemDisk): Promise<StoredKeySet> {
  const settings = { certDir: dir, attestRpcCert: false, ownEvidence: noEvidence, now: () => new Date(at), disk };
  return reissueCertificates(settings, await loadKeySet(dir));
}

const bytes = (name: string) => readFileSync(join(dir, name), "utf8");
const certificate = (name: string) => new x509.X509Certificate(bytes(name));
const contents = () =>
  Object.fromEntries([...keyFiles, "rpc-domain"].map((name) => [name, readFileSync(join(dir, name), "hex")]));
const changedSince = (before: Record<string, string>) =>
  Object.entries(contents()).flatMap(([name, content]) => (before[name] === content ? [] : [name]));

test.each([
  ["the day it was made", made.getTime(), ["rpc.crt"]],
  ["with 366 days left", ends - 366 * day, ["rpc.crt"]],
  ["with 365 days left to the second", ends - 365 * day, ["rpc.crt"]],
  ["with a second less", ends - 365 * day + 1000, ["tmp-ca.crt", "root-ca.crt", "rpc.crt"]],
  ["after both have ended", ends + 30 * day, ["tmp-ca.crt", "root-ca.crt", "rpc.crt"]],
])("%s: renews what is due, and the server certificate always", async (_name, at, expected) => {
  const before = contents();
  await start(at);
  expect(changedSince(before)).toEqual(expected);
  for (const name of expected) {
    expect(certificate(name).notAfter.getTime()).toBe(at + 3650 * day);
    expect(statSync(join(dir, name)).mode & 0o777).toBe(0o644);
  }
  const [root, leaf] = ["root-ca.crt", "rpc.crt"].map((name) => new X509Certificate(bytes(name)));
  expect(leaf?.issuer).toBe(root?.subject);
  expect(root && leaf?.verify(root.publicKey)).toBe(true);
});

test("keeps the names of an adopted root, byte for byte, in it and in what it signs", async () => {
  const { rootKeys } = await loadKeySet(dir);
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
  const pkcs8 = encodePkcs8(rootKeys.caScalar);
  const privateKey = await crypto.subtle.importKey("pkcs8", pkcs8.slice(), algorithm, true, ["sign"]);
  const publicKey = certificate("root-ca.crt").publicKey;
  const name = new x509.Name([{ O: [{ printableString: "Somebody" }] }, { CN: [{ printableString: "Old Root" }] }]);
  const adopted = await x509.X509CertificateGenerator.create({
    ...{ subject: name, issuer: name, publicKey, signingKey: privateKey, signingAlgorithm: algorithm },
    notBefore: made,
    notAfter: new Date(made.getTime() + 400 * day),
  });
  writeFileSync(join(dir, "root-ca.crt"), adopted.toString("pem"));
  const kept = bytes("root-ca.crt");
  await start(made.getTime());
  expect(bytes("root-ca.crt")).toBe(kept);
  await start(made.getTime() + 100 * day);
  const renewed = certificate("root-ca.crt");
  expect(renewed.notAfter.getTime()).toBe(made.getTime() + 3750 * day);
  for (const found of [renewed.subjectName, renewed.issuerName, certificate("rpc.crt").issuerName]) {
    expect(Buffer.from(found.toArrayBuffer())).toEqual(Buffer.from(name.toArrayBuffer()));
  }
  expect(Buffer.from(renewed.publicKey.rawData)).toEqual(Buffer.from(publicKey.rawData));
});

describe("a start that cannot write", () => {
  test.each([
    ["a full disk", "ENOSPC", "make room on its disk"],
    ["a read-only disk", "EROFS", "mount -o remount,rw"],
    ["a folder of somebody else", "EACCES", "chown -R"],
  ])("on %s keeps every file and says what mends it", async (_name, code, remedy) => {
    const before = contents();
    const fails = () => Promise.reject(Object.assign(new Error("no"), { code }));
    const refused = await refusal(start(ends, { ...systemDisk, writeNew: fails }));
    expect(refused).toEqual({ code: "fault.key-store", message: expect.stringContaining(`${code}: `) });
    expect(refused.message).toContain(remedy);
    expect(changedSince(before)).toEqual([]);
  });
});
