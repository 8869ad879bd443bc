/** The four credentials of the admin service, the file of passwords, and what guessing costs. */
import { createHash } from "node:crypto";
import { hashSync } from "bcryptjs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { utf8 } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import { type AdminCredentials, authorizeAdmin } from "../../kms/http/admin-auth.ts";
import { MAX_COST, parseHtpasswd } from "../../kms/http/htpasswd.ts";
import { createPasswordCheck, type PasswordVerdict, passwordLimits } from "../../kms/http/password-check.ts";
import { refusal } from "./support/refusals.ts";

const token = "s3cret-token-of-an-admin";
const tokenHash = createHash("sha256").update(token).digest("hex");
const hashOf = (password: string) => hashSync(password, 4);
const basic = (user: string, password: string) => `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;

describe("credentials", () => {
  const asked: string[] = [];
  const passwords = {
    check: async (user: string, password: string): Promise<PasswordVerdict> => {
      asked.push(`${user}:${password}`);
      if (user === "busy") return "too-many";
      return user === "alice" && password === "pa:ss" ? "right" : "wrong";
    },
  };
  const kinds: Record<string, AdminCredentials> = {
    open: { noAuth: true, tokenHash, passwords },
    token: { noAuth: false, tokenHash, passwords: undefined },
    file: { noAuth: false, tokenHash: undefined, passwords },
    both: { noAuth: false, tokenHash, passwords },
    none: { noAuth: false, tokenHash: undefined, passwords: undefined },
  };

  test.each<[string, string | undefined, string | undefined, string]>([
    ["open", undefined, undefined, "anyone"],
    ["open", "wrong", "Bearer wrong", "anyone"],
    // rule 2: exactly the token, and otherwise the next rule
    ["token", token, undefined, "token"],
    ["token", ` ${token}`, undefined, "wrong-credential"],
    ["token", token.slice(1), undefined, "wrong-credential"],
    ["token", "", undefined, "wrong-credential"],
    ["token", "wrong", `Bearer ${token}`, "token"],
    ["token", token, "Bearer wrong", "token"],
    // rule 3: trimmed, and it ends here
    ["token", undefined, `Bearer ${token}`, "token"],
    ["token", undefined, `bearer   ${token}  `, "token"],
    ["token", undefined, "Bearer wrong", "wrong-credential"],
    ["both", undefined, `Bearer ${Buffer.from("alice:pa:ss").toString("base64")}`, "wrong-credential"],
    // rule 4: the file, or the token in either place
    ["file", undefined, basic("alice", "pa:ss"), "user alice"],
    ["both", undefined, basic("alice", "pa:ss"), "user alice"],
    ["file", undefined, basic("alice", "wrong"), "wrong-credential"],
    ["file", undefined, basic("bob", "pa:ss"), "wrong-credential"],
    ["file", undefined, basic("busy", "pa:ss"), "too-many"],
    ["token", undefined, basic("anyone", token), "token"],
    ["token", undefined, basic("", token), "token"],
    ["token", undefined, basic(token, ""), "token"],
    ["token", undefined, basic(token, "x"), "wrong-credential"],
    ["token", undefined, basic("alice", "pa:ss"), "wrong-credential"],
    ["both", undefined, basic("anyone", token), "token"],
    ["both", "wrong", basic("alice", "pa:ss"), "user alice"],
    ["both", undefined, "Basic ???", "wrong-credential"],
    ["both", undefined, `Basic ${Buffer.from("no colon").toString("base64")}`, "wrong-credential"],
    // rule 5
    ["both", undefined, undefined, "no-credential"],
    ["both", undefined, "", "no-credential"],
    ["both", undefined, token, "no-credential"],
    ["both", undefined, `Digest ${token}`, "no-credential"],
    // without a token nothing equals it
    ["file", "", "Bearer ", "wrong-credential"],
    ["file", "undefined", undefined, "wrong-credential"],
    ["file", undefined, basic("", ""), "wrong-credential"],
    ["none", undefined, basic("alice", "pa:ss"), "wrong-credential"],
  ])("%s: X-Admin-Token %j, Authorization %j: %s", async (kind, adminToken, authorization, expected) => {
    const credentials = kinds[kind];
    if (credentials === undefined) throw new Error(`no kind ${kind}`);
    const verdict = await authorizeAdmin(credentials, { adminToken, authorization, from: "192.0.2.1" });
    expect(verdict.allowed ? verdict.as : verdict.reason).toBe(expected);
  });

  test.each([" ", "=", "A", "Basic "])("a megabyte of %j is refused in time that grows as it does", async (piece) => {
    for (const scheme of ["Basic ", "Bearer ", ""]) {
      const authorization = `${scheme}${piece.repeat(Math.floor(1_048_576 / piece.length))}!`;
      const { allowed } = await authorizeAdmin(kinds["token"] ?? fail(), { adminToken: undefined, authorization, from: "" });
      expect(allowed).toBe(false); // with its square it would be half an hour
    }
  });

  test("a token is known without bcrypt", async () => {
    asked.length = 0;
    await authorizeAdmin(kinds["both"] ?? fail(), { adminToken: undefined, authorization: basic("alice", token), from: "" });
    expect(asked).toEqual([]);
  });
});

function fail(): never {
  throw new Error("missing");
}

test("no header that is not a credential opens the door, whatever it is", async () => {
  const passwords = { check: async (): Promise<PasswordVerdict> => "wrong" };
  const schemes = fc.constantFrom("Basic ", "basic  ", "Bearer ", "BEARER\t", "", "Digest ");
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.base64String(),
    fc.string().map((plain) => btoa(encodeURI(plain))),
  );
  await fc.assert(
    fc.asyncProperty(schemes, text, fc.option(text, { nil: undefined }), async (scheme, value, adminToken) => {
      const claim = { adminToken, authorization: scheme + value, from: "" };
      expect((await authorizeAdmin({ noAuth: false, tokenHash, passwords }, claim)).allowed).toBe(false);
    }),
  );
});

describe("the htpasswd file", () => {
  const hash = hashOf("x");
  const parse = (text: string) => parseHtpasswd(utf8(text), "users");

  test("has a user and a bcrypt hash a line, of any of the three prefixes; blank lines and notes are skipped", () => {
    const rest = hash.slice(4);
    const text = `# admins\n\nalice:$2a$${rest}\r\n  bob:$2b$${rest}  \n \t\n  # x\ncarol:$2y$${rest}`;
    expect([...parse(text)]).toEqual([
      ["alice", `$2a$${rest}`],
      ["bob", `$2b$${rest}`],
      ["carol", `$2y$${rest}`],
    ]);
  });

  test.each([
    ["nothing", "", "users: has no users; add one with: htpasswd -nB NAME"],
    ["notes only", "# a\n\n", "users: has no users; add one with: htpasswd -nB NAME"],
    ["an MD5 hash", `a:${hash}\nb:$apr1$x$y`, "users, line 2: need user:hash with a bcrypt hash, as htpasswd -nB NAME prints it"],
    ["a SHA-1 hash", "a:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "users, line 1: need user:hash"],
    ["a plain password", "a:hunter2", "users, line 1: need user:hash"],
    ["the broken prefix", `a:$2x$${hash.slice(4)}`, "users, line 1: need user:hash"],
    ["no user", `:${hash}`, "users, line 1: need user:hash"],
    ["no colon", hash, "users, line 1: need user:hash"],
    ["a cut hash", `a:${hash.slice(0, -1)}`, "users, line 1: need user:hash"],
    ["a third field", `a:${hash}:x`, "users, line 1: need user:hash"],
    ["too high a cost", `a:$2b$15${hash.slice(6)}`, `users, line 1: need a bcrypt cost from 4 to ${MAX_COST}, have 15`],
    ["too low a cost", `a:$2b$03${hash.slice(6)}`, "users, line 1: need a bcrypt cost from 4 to 14, have 3"],
    ["a user twice", `a:${hash}\na:${hash}`, "users, line 2: the user stands in the file twice"],
    ["too many users", Array.from({ length: 1001 }, (_, n) => `u${n}:${hash}`).join("\n"), "users: need at most 1000 users"],
  ])("with %s is refused, and shows no hash", async (_what, text, message) => {
    const refused = await refusal(() => parse(text));
    expect(refused).toEqual({ code: "malformed.config", message: expect.stringContaining(message) });
    expect(refused.message).not.toContain("hunter2");
    expect(refused.message).not.toContain(hash.slice(10));
  });

  test("of any bytes is read or refused", () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), fc.string().map(utf8)), (bytes) => {
        expect(() => parseHtpasswd(new Uint8Array(bytes), "users")).toThrow(KmsError);
      }),
    );
  });

  test("that is not UTF-8 is refused", async () => {
    expect((await refusal(() => parseHtpasswd(Uint8Array.of(0xff), "users"))).code).toBe("malformed.config");
  });
});

describe("passwords", () => {
  const hashes = new Map([["alice", hashOf("right")]]);
  let clock = 0;
  const now = () => clock;
  const compare = async (password: string, hash: string) => password === "right" && hash === hashes.get("alice");

  test("are compared by bcrypt on another thread", async () => {
    const long = "x".repeat(72);
    const real = createPasswordCheck({ hashes: new Map([...hashes, ["long", hashOf(long)], ["ü", hashOf("ß:€")]]), now });
    expect(await real.check("alice", "right", "a")).toBe("right");
    expect(await real.check("alice", "wrong", "a")).toBe("wrong");
    expect(await real.check("nobody", "right", "a")).toBe("wrong");
    expect(await real.check("ü", "ß:€", "a")).toBe("right");
    expect(await real.check("alice", "x".repeat(2_000), "a")).toBe("wrong");
  });

  test("of an unknown user cost a comparison at the highest cost in the file", async () => {
    const seen: string[] = [];
    const watching = createPasswordCheck({
      hashes: new Map([...hashes, ["bob", `$2y$12${hashOf("x").slice(6)}`]]),
      now,
      compare: async (_password, hash) => {
        seen.push(hash);
        return true;
      },
    });
    expect(await watching.check("mallory", "", "a")).toBe("wrong");
    expect(seen).toEqual([expect.stringMatching(/^\$2b\$12\$[./A-Za-z0-9]{53}$/)]);
  });

  test("that are wrong make their address wait, and nobody else", async () => {
    const checks = createPasswordCheck({ hashes, now, compare });
    for (let count = 0; count < passwordLimits.failures; count += 1) expect(await checks.check("alice", "x", "a")).toBe("wrong");
    expect(await checks.check("alice", "right", "a")).toBe("too-many");
    expect(await checks.check("alice", "right", "b")).toBe("right");
    clock += passwordLimits.forgetMs - 1;
    expect(await checks.check("alice", "right", "a")).toBe("too-many");
    clock += 1;
    expect(await checks.check("alice", "x", "a")).toBe("wrong");
    expect(await checks.check("alice", "right", "a")).toBe("too-many");
    clock += passwordLimits.forgetMs;
    expect(await checks.check("alice", "right", "a")).toBe("right");
    clock += 1_000 * passwordLimits.forgetMs;
    for (let count = 0; count < passwordLimits.failures; count += 1) expect(await checks.check("alice", "x", "a")).toBe("wrong");
    expect(await checks.check("alice", "x", "a")).toBe("too-many");
  });

  test("wait for their turn, a few at a time", async () => {
    let running = 0;
    let most = 0;
    const { promise: gate, resolve: open } = Promise.withResolvers<void>();
    const slow = createPasswordCheck({
      hashes,
      now,
      limits: { waiting: 3 },
      compare: async () => {
        running += 1;
        most = Math.max(most, running);
        await gate;
        running -= 1;
        return true;
      },
    });
    const all = Array.from({ length: 6 }, (_, index) => slow.check("alice", "right", `${index}`));
    open();
    const verdicts = await Promise.all(all);
    expect(verdicts).toEqual(["right", "right", "right", "too-many", "too-many", "too-many"]);
    expect(most).toBe(1);
    expect(await slow.check("alice", "right", "a")).toBe("right");
  });

  test("are not blocked by a comparison that fails", async () => {
    let calls = 0;
    const shaky = createPasswordCheck({
      hashes,
      now,
      compare: async () => {
        calls += 1;
        if (calls === 1) throw new Error("no thread");
        return true;
      },
    });
    await expect(shaky.check("alice", "right", "a")).rejects.toThrow("no thread");
    expect(await shaky.check("alice", "right", "a")).toBe("right");
  });

  test("from ever new addresses do not fill the memory", async () => {
    const checks = createPasswordCheck({ hashes, now, compare, limits: { addresses: 2, failures: 1 } });
    for (const from of ["a", "b", "c"]) await checks.check("alice", "x", from);
    expect(await checks.check("alice", "right", "c")).toBe("too-many");
    expect(await checks.check("alice", "right", "a")).toBe("right");
  });
});

test("a costly comparison leaves the event loop to the requests of the main listener", async () => {
  const checks = createPasswordCheck({ hashes: new Map([["alice", `$2b$12${hashOf("x").slice(6)}`]]), now: () => 0 });
  let beats = 0;
  const beat = setInterval(() => {
    beats += 1;
  }, 5);
  await checks.check("alice", "wrong", "a");
  clearInterval(beat);
  expect(beats).toBeGreaterThan(10);
});
