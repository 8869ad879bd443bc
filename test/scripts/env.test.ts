/** `env encrypt` and `env decrypt` against a real KMS process, the vectors, and everything a go-between could change. */
import { chmodSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { concat, fromHex, toHex, utf8 } from "../../kms/bytes.ts";
import { openEnv, sealEnv } from "../../scripts/lib/env-cipher.ts";
import { encodeEnv, parseEnv } from "../../scripts/lib/env-document.ts";
import { verifyEnvKey } from "../../scripts/lib/env-key.ts";
import vectors from "../fixtures/vectors/kdf.json" with { type: "json" };
import { startConnectProxy } from "../support/connect-proxy.ts";
import { runCommandLine } from "../support/programs.ts";
import { scratchFolder } from "../support/scratch.ts";
import { type ServedKms, serveKms } from "./support/served-kms.ts";

const bytes = (hex: string) => fromHex(hex, "vector");
const code = (code: string, message = "") => expect.objectContaining({ code, message: expect.stringContaining(message) });
const { dir: folder, file } = scratchFolder();

describe("the cipher", () => {
  const [, made] = vectors.encrypted_env;
  if (made?.ephemeral_secret === undefined || made.iv === undefined) throw new Error("the vector has no ephemeral key");
  const [secret, iv, key] = [bytes(made.ephemeral_secret), bytes(made.iv), bytes(made.env_crypt_key)];
  const recipient = bytes("d91e3f8d29423e75315020c59144cc7b2ca05777066b7d490f4208d54635e120");
  const draws = () => {
    const rest = [secret.slice(), iv.slice()];
    return () => rest.shift() ?? new Uint8Array(0);
  };

  test("writes the bytes of the vector", () => {
    expect(toHex(sealEnv(utf8(made.plaintext_utf8), recipient, draws()))).toBe(made.ciphertext);
    expect(encodeEnv([{ key: "FOO", value: "bar" }])).toEqual(utf8(made.plaintext_utf8));
  });

  test.each(vectors.encrypted_env)("opens $plaintext_utf8", (vector) => {
    expect(openEnv(bytes(vector.ciphertext), bytes(vector.env_crypt_key))).toEqual(utf8(vector.plaintext_utf8));
  });

  test("refuses every changed byte, a cut anywhere, and another key", () => {
    const sealed = bytes(made.ciphertext);
    const range = { min: 0, max: sealed.length - 1 };
    fc.assert(
      fc.property(fc.integer(range), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        // X25519 ignores the top bit of a public key (RFC 7748 5)
        fc.pre(!(at === 31 && flip === 0x80));
        expect(() =>
          openEnv(
            sealed.map((byte, index) => (index === at ? byte ^ flip : byte)),
            key,
          ),
        ).toThrow(/environment/);
        expect(() => openEnv(sealed.subarray(0, at), key)).toThrow(code("malformed.file"));
      }),
      { numRuns: 200 },
    );
    expect(() => openEnv(sealed, secret)).toThrow(code("malformed.file", "not encrypted to this key"));
  });

  test("refuses points that make the secret zero, from either side", () => {
    expect(() => sealEnv(utf8("x"), new Uint8Array(32), draws())).toThrow(code("malformed.key"));
    expect(() => openEnv(concat(new Uint8Array(32), new Uint8Array(40)), key)).toThrow(code("malformed.key"));
    expect(() => sealEnv(utf8("x"), new Uint8Array(31), draws())).toThrow(code("malformed.key"));
  });

  test("refuses to write what no guest reads", () => {
    expect(() => sealEnv(new Uint8Array(256 * 1024 - 59), recipient, draws())).toThrow(code("malformed.file", "262144"));
    expect(sealEnv(new Uint8Array(256 * 1024 - 60), recipient, draws())).toHaveLength(256 * 1024);
  });
});

describe("an environment", () => {
  test.each([
    ["lines", `# comment\n\nA=1\n export B = two words \r\nC="quoted # not a comment"\nD='=x='\nE=\nF="half`],
    ["an object", '{"A":"1","B":"two words","C":"quoted # not a comment","D":"=x=","E":"","F":"\\"half"}'],
  ])("is read from %s", (_, text) => {
    const values = { A: "1", B: "two words", C: "quoted # not a comment", D: "=x=", E: "", F: '"half' };
    expect(parseEnv(text, "file")).toEqual(Object.entries(values).map(([key, value]) => ({ key, value })));
  });

  test("is read back from what is encrypted, as a list with and without its wrapper", () => {
    const items = [{ key: "A", value: "ü" }];
    expect(parseEnv(new TextDecoder().decode(encodeEnv(items)), "file")).toEqual(items);
    expect(parseEnv(JSON.stringify(items), "file")).toEqual(items);
  });

  test("of any text is read or refused, and what is read survives the wire", () => {
    const anyText = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.json(),
      fc.array(fc.string()).map((lines) => lines.join("=\n")),
    );
    fc.assert(
      fc.property(anyText, (text) => {
        try {
          const items = parseEnv(text, "file");
          expect(parseEnv(new TextDecoder().decode(encodeEnv(items)), "file")).toEqual(items);
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: "malformed.file" });
        }
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    ["a line without =", "A=1\nSECRET", "line 2"],
    ["a name with a hyphen", "A-B=1", "'A-B'"],
    ["a name that starts with a digit", "1A=1", "'1A'"],
    ["a long name", `${"A".repeat(256)}=1`, "not the name"],
    ["a name twice", "A=1\nA=2", "A stands twice"],
    ["1,025 variables", Array.from({ length: 1025 }, (_, index) => `V${index}=`).join("\n"), "1024"],
    ["a value over 128 KiB", `A=${"x".repeat(131_073)}`, "131072"],
    ["over 1 MiB", Array.from({ length: 9 }, (_, index) => `V${index}=${"x".repeat(131_000)}`).join("\n"), "1048576"],
    ["a number for a value", '{"A":1}', "not an environment"],
    ["a member too many", '[{"key":"A","value":"1","more":1}]', "not an environment"],
    ["cut JSON", '{"A":"secret', "not an environment"],
  ])("with %s is refused, and not quoted", (_, text, message) => {
    const parse = () => parseEnv(text, "file");
    expect(parse).toThrow(code("malformed.file", message));
    expect(parse).not.toThrow(/secret/i);
  });
});

describe("an environment key", () => {
  const [, vector] = vectors.app_keys;
  if (!vector) throw new Error("the vectors have no second app");
  const answer = {
    public_key: vector.env_encrypt_public_key,
    signature: vector.env_pubkey_signature,
    timestamp: vector.timestamp,
    signature_v1: vector.env_pubkey_signature_v1,
  };
  const verify = (changed: object = {}, seconds = 0, terms: object = {}) =>
    verifyEnvKey(
      { ...answer, ...changed },
      {
        appId: bytes(vector.app_id),
        k256Root: bytes(vectors.fixed_roots.k256_root_pubkey),
        now: new Date((vector.timestamp + seconds) * 1000 + 999),
        acceptUntimed: false,
        ...terms,
      },
    );
  const old = { timestamp: undefined, signature_v1: undefined };

  test.each([
    ["signed now", {}, 0, {}],
    ["signed 300 s ago", {}, 300, {}],
    ["signed 60 s ahead", {}, -60, {}],
    ["with 0x and in upper case", { public_key: `0x${answer.public_key.toUpperCase()}` }, 0, {}],
    ["of an old KMS, when told so", old, 0, { acceptUntimed: true }],
    ["with an empty signature_v1, when told so", { signature_v1: "", timestamp: 0 }, 1e9, { acceptUntimed: true }],
  ])("%s is taken", (_, changed, seconds, terms) => {
    expect(toHex(verify(changed, seconds, terms))).toBe(answer.public_key);
  });

  const otherKey = vectors.app_keys[0]?.env_encrypt_public_key;
  test.each<[string, object, number, object, string, string]>([
    ["signed 301 s ago", {}, 301, {}, "unproven.env-key", "301 s ago"],
    ["signed 61 s ahead", {}, -61, {}, "unproven.env-key", "in the future"],
    ["with another time", { timestamp: vector.timestamp + 1 }, 0, {}, "unproven.env-key", "signature_v1 is by"],
    ["that was replaced", { public_key: otherKey }, 0, {}, "unproven.env-key", "signature is by"],
    ["of another app", {}, 0, { appId: new Uint8Array(20) }, "unproven.env-key", "signature is by"],
    ["of another root", {}, 0, { k256Root: new Uint8Array(33).fill(2) }, "unproven.env-key", "need 0202"],
    ["without a time", old, 0, {}, "unproven.env-key", "replay"],
    ["with a wrong legacy signature", { signature: answer.signature_v1 }, 0, {}, "unproven.env-key", "signature is by"],
    ["with a bad recovery id", { signature: `${answer.signature.slice(0, -2)}1b` }, 0, {}, "malformed.signature", ""],
    ["of 31 bytes", { public_key: answer.public_key.slice(2) }, 0, {}, "malformed.file", ""],
    ["with a fraction of a second", { timestamp: 1.5 }, 0, {}, "malformed.file", ""],
    ["that is an error", { public_key: undefined, error: "no" }, 0, {}, "malformed.file", ""],
  ])("%s is refused", (_, changed, seconds, terms, expected, message) => {
    expect(() => verify(changed, seconds, terms)).toThrow(code(expected, message));
  });
});

describe("the command", () => {
  let kms: ServedKms;
  let keysFile: string;
  const env = (...args: string[]) => runCommandLine("env.ts", args);
  const encrypt = (...more: string[]) =>
    env("encrypt", file("app.env", "FOO=bar\n"), "--app-id", `0x${toHex(kms.app.appId)}`, "--k256-root", kms.k256Root, ...more);
  const server = () => ["--kms-url", kms.url, "--root-ca", kms.rootCaFile];
  const expected = { env: [{ key: "FOO", value: "bar" }] };

  beforeAll(async () => {
    kms = await serveKms();
    const flags = ["--kms-url", kms.url, "--root-ca", kms.rootCaFile, "--app-id", toHex(kms.app.appId), "--agent", kms.agent];
    const keys = await runCommandLine("get-keys.ts", [...flags, "--pccs", kms.pccsUrl, "--tdx-root", kms.tdxRootFile]);
    keysFile = file("keys.json", keys.stdout);
  });
  afterAll(() => kms.close());

  test("encrypts to the app, and decrypts with the keys that get-keys printed", async () => {
    const { stdout, status } = await encrypt(...server());
    expect(status).toBe(0);
    expect(stdout).toMatch(/^[0-9a-f]+\n$/);
    const opened = await env("decrypt", file("sealed.hex", stdout), "--key", keysFile);
    expect(opened).toEqual({ status: 0, stdout: `${JSON.stringify(expected)}\n`, stderr: "" });
    const { env_crypt_key } = JSON.parse(readFileSync(keysFile, "utf8"));
    const bare = await env("decrypt", join(folder, "sealed.hex"), "--key", file("key.hex", env_crypt_key), "--json");
    expect(JSON.parse(bare.stdout)).toEqual({ ok: true, ...expected });
  });

  test("writes bytes, and what it decrypts into a new file that only its owner reads", async () => {
    const [sealed, opened] = [join(folder, "sealed.bin"), join(folder, "opened.json")];
    const proxy = await startConnectProxy();
    expect(await encrypt(...server(), "--proxy", proxy.url, "--out", sealed)).toMatchObject({ status: 0 });
    expect(proxy.asked).toEqual([new URL(kms.url).host]);
    await proxy.close();
    const decrypt = () => env("decrypt", sealed, "--key", keysFile, "--out", opened);
    const first = await decrypt();
    expect(first.status).toBe(0);
    expect(first.stdout).not.toContain("bar");
    expect(JSON.parse(readFileSync(opened, "utf8"))).toEqual(expected);
    expect(statSync(opened).mode & 0o777).toBe(0o600);
    expect(await decrypt()).toMatchObject({ status: 2, stdout: "" });
  });

  test("says that others can read the key", async () => {
    const sealed = file("for-note.hex", (await encrypt(...server())).stdout);
    const key = file("open.json", readFileSync(keysFile));
    chmodSync(key, 0o640);
    const ended = await env("decrypt", sealed, "--key", key);
    expect(ended.status).toBe(0);
    expect(ended.stderr).toBe(`note: ${key} can be read by others of this machine: chmod 600 it\n`);
  });

  test("takes an answer that somebody passed on, only with the registered root's signature", async () => {
    const [, vector] = vectors.app_keys;
    const passedOn = file(
      "answer.json",
      JSON.stringify({ public_key: vector?.env_encrypt_public_key, signature: vector?.env_pubkey_signature }),
    );
    const ended = await encrypt("--answer", passedOn);
    expect(ended).toMatchObject({ status: 3, stdout: "" });
    expect(ended.stderr).toMatch(/unproven\.env-key[\s\S]*hint: --k256-root is the contract's/);
    const [appId, root] = [vector?.app_id ?? "", vectors.fixed_roots.k256_root_pubkey];
    const args = ["encrypt", join(folder, "app.env"), "--app-id", appId, "--k256-root", root, "--answer", passedOn];
    expect(await env(...args)).toMatchObject({ status: 3 });
    const looked = await env(...args, "--dangerously-accept-untimed-signature", "--json");
    const key = bytes(vector?.env_crypt_key ?? "");
    expect(openEnv(bytes(JSON.parse(looked.stdout).encryptedEnv), key)).toEqual(utf8(JSON.stringify(expected)));
  });

  test.each<[string, () => string[], number, string]>([
    ["no way to a key", () => [], 2, "malformed.usage"],
    ["two ways to a key", () => [...server(), "--answer", "x"], 2, "malformed.usage"],
    ["a KMS without its root", () => ["--kms-url", kms.url], 2, "malformed.usage"],
    ["a KMS that is away", () => ["--kms-url", "https://127.0.0.1:1", "--root-ca", kms.rootCaFile], 5, "unavailable.kms"],
    ["another root's server", () => ["--kms-url", kms.url, "--root-ca", kms.tdxRootFile], 3, "unproven.server-identity"],
  ])("refuses %s", async (_, flags, status, expectedCode) => {
    const ended = await encrypt(...flags());
    expect(ended).toMatchObject({ status, stdout: "" });
    expect(ended.stderr).toContain(`(${expectedCode})`);
  });

  test("tells nothing of a key file that it cannot read", async () => {
    const sealed = file("any.bin", new Uint8Array(80));
    for (const text of ['{"env_crypt_key":"00ff', "ab".repeat(31), '{"k256_key":"00"}']) {
      const ended = await env("decrypt", sealed, "--key", file("bad.key", text));
      expect(ended).toMatchObject({ status: 2, stdout: "" });
      expect(ended.stderr).not.toMatch(/00ff|abab/);
    }
  });
});
