/** `./run collateral` as an operator runs it: real processes, a KMS configuration, files on disk. */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { createPccs } from "../../scripts/devnet/pccs.ts";
import { collateralJson } from "../../scripts/devnet/platform.ts";
import { startPccs } from "../kms/support/spoiled-pccs.ts";
import { startConnectProxy } from "../support/connect-proxy.ts";
import { simulatedPlatform } from "../support/simulated-td.ts";
import { readFixture } from "../support/tdx-samples.ts";
import { testAuthority } from "../support/test-certificates.ts";

const program = fileURLToPath(new URL("../../scripts/collateral.ts", import.meta.url));
const base = mkdtempSync(join(tmpdir(), "collateral-command-"));
afterAll(() => rmSync(base, { recursive: true, force: true }));

const now = new Date();
const platform = simulatedPlatform({ evaluationNumber: 20, crlNumber: 9 });
let dir: string;
let bundle: string;
let count = 0;

beforeEach(() => {
  count += 1;
  dir = join(base, `${count}`);
  bundle = `${dir}.bundle`;
  writeFileSync(bundle, collateralJson(platform.collateral(now)));
  writeFileSync(join(base, "root.pem"), platform.rootPem);
  writeFileSync(join(base, "kms.toml"), config());
});

function config(): string {
  return `[core.attestation]
insecure_allow_external_trust_anchors = true
root_ca.tdx = "root.pem"
collateral.dir = "${dir}"
`;
}

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function run(...args: readonly string[]): Promise<Outcome> {
  return runWith({}, ...args);
}

/** Nothing else of the environment: a proxy of whoever runs the tests is not for these programs. */
function runWith(variables: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<Outcome> {
  const env = { PATH: process.env["PATH"], ...variables };
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], { cwd: base, env }, (error, out, err) => {
      resolve({ code: typeof error?.code === "number" ? error.code : 0, out, err });
    });
  });
}

describe("collateral", () => {
  test("goes from one node to another: import, status, export, import", async () => {
    const taken = await run("import", bundle);
    expect(taken).toMatchObject({ code: 0, err: "" });
    expect(taken.out).toContain("imported 4 parts, 4 of them new");
    const { out } = await run("status");
    expect(out).toContain("good    tcb-info tdx 51a06f000000, number 20 of ");
    expect(out).toMatch(/\((29|30) d \d+ h left\)/);
    const exported = `${dir}.exported`;
    expect(await run("export", exported, "--json")).toMatchObject({ code: 0, out: expect.stringContaining('"parts":4') });
    const elsewhere = ["--dir", `${dir}-other`, "--root", join(base, "root.pem")];
    expect((await run("import", exported, ...elsewhere)).code).toBe(0);
    const again = `${dir}.again`;
    expect((await run("export", again, ...elsewhere)).code).toBe(0);
    expect(readFileSync(again)).toEqual(readFileSync(exported));
    const one = await run("export", "--fmspc", "51A06F000000");
    expect(JSON.parse(one.out)).toEqual(JSON.parse(readFileSync(bundle, "utf8")));
  });

  test("of one platform may be spelled as other tools do", async () => {
    const camel = Object.entries(JSON.parse(collateralJson(platform.collateral(now))) as Record<string, string>).map(
      ([name, value]) => [name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase()), value],
    );
    writeFileSync(bundle, JSON.stringify({ quote_collateral: Object.fromEntries(camel) }));
    expect(await run("import", bundle)).toMatchObject({ code: 0, out: expect.stringContaining("imported 4 parts") });
    writeFileSync(bundle, "[]");
    expect(await run("import", bundle)).toMatchObject({ code: 2, err: expect.stringContaining("malformed.collateral") });
  });

  test("comes from a PCCS on a machine without a KMS", async () => {
    const pccs = await startPccs(now);
    const where = ["--dir", `${dir}-collected`, "--root", join(base, "root.pem")];
    const fetched = await run("fetch", "--fmspc", "51a06f000000", "--pccs", pccs.url, ...where);
    expect(fetched).toMatchObject({ code: 0, err: "" });
    expect((await run("export", `${dir}.collected`, ...where)).out).toContain("4 parts");
    expect((await run("import", `${dir}.collected`)).out).toContain("imported 4 parts");
    const other = await run("fetch", "--fmspc", "000000000000", "--pccs", pccs.url, ...where);
    await pccs.stop();
    expect(other).toMatchObject({ code: 5, err: expect.stringContaining("tcb_info: status 404") });
  });

  test("comes through a proxy, of HTTPS_PROXY or of --proxy before it, which sees TLS only", async () => {
    const authority = await testAuthority("authority of the PCCS");
    const { certPem, keyPem } = await authority.issue("pccs", ["127.0.0.1"]);
    const plain = createPccs(simulatedPlatform(), () => now);
    const secure = createServer({ cert: certPem, key: keyPem }, (request, response) => plain.emit("request", request, response));
    await new Promise<void>((resolve) => secure.listen(0, "127.0.0.1", resolve));
    const host = `127.0.0.1:${(secure.address() as AddressInfo).port}`;
    const caFile = join(base, "pccs-ca.pem");
    writeFileSync(caFile, authority.certPem);
    const [first, second] = await Promise.all([startConnectProxy(), startConnectProxy()]);
    const env = { HTTPS_PROXY: first.url, NODE_EXTRA_CA_CERTS: caFile };
    const args = ["fetch", "--fmspc", "51a06f000000", "--pccs", `https://${host}`, "--root", join(base, "root.pem")];
    const fetched = (dirName: string, more: readonly string[] = [], changed: Record<string, string> = {}) =>
      runWith({ ...env, ...changed }, ...args, "--dir", `${dir}-${dirName}`, ...more);
    expect(await fetched("first")).toMatchObject({ code: 0, err: "" });
    expect(first.asked).toEqual(Array(4).fill(host));
    expect(await fetched("second", ["--proxy", second.url])).toMatchObject({ code: 0 });
    expect(second.asked).toEqual(Array(4).fill(host));
    expect(await fetched("excepted", [], { NO_PROXY: "127.0.0.0/8" })).toMatchObject({ code: 0 });
    expect(first.asked).toHaveLength(4);
    const none = await fetched("none", ["--proxy", "socks5://127.0.0.1:1"]);
    expect(none).toMatchObject({ code: 2, err: expect.stringContaining("proxy: need http://host:port") });
    const refusing = await startConnectProxy("HTTP/1.1 403 Forbidden\r\n\r\n");
    const refused = await fetched("refused", ["--proxy", refusing.url.replace("http://", "http://user:hunter2@")]);
    expect(refused).toMatchObject({ code: 5, err: expect.not.stringContaining("hunter2") });
    for (const proxy of [first, second, refusing]) await proxy.close();
    secure.close().closeAllConnections();
  });

  test("has a state in JSON for programs", async () => {
    await run("import", bundle);
    const { out, code } = await run("status", "--json");
    expect(code).toBe(0);
    const state = JSON.parse(out);
    expect(state.ok).toBe(true);
    expect(state.parts.map(({ name }: { name: string }) => name)).toEqual([
      "root-crl",
      "pck-crl platform",
      "tcb-info tdx 51a06f000000",
      "qe-identity tdx",
    ]);
    expect(state.parts[2]).toMatchObject({ number: "20", state: "good", sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(state.parts[2].secondsLeft).toBeGreaterThan(29 * 86_400);
    expect(state.floors).toHaveLength(4);
  });

  test("that is older is refused until a reset, which has to be meant", async () => {
    await run("import", bundle);
    const older = `${dir}.older`;
    writeFileSync(older, collateralJson(simulatedPlatform({ evaluationNumber: 19, crlNumber: 9 }).collateral(now)));
    const refused = await run("import", older, "--json");
    expect(refused.code).toBe(3);
    expect(JSON.parse(refused.out)).toMatchObject({ ok: false, code: "unproven.collateral-older" });
    expect(refused.err).toContain("hint: make a newer bundle");
    const unmeant = await run("reset");
    expect(unmeant.code).toBe(2);
    expect(unmeant.err).toContain("older collateral that has not ended yet will be accepted again");
    expect((await run("status")).out).toContain("number 20");
    expect((await run("reset", "--yes")).out).toContain("4 parts and their numbers are forgotten");
    expect((await run("import", older)).code).toBe(0);
    expect((await run("status")).out).toContain("number 19");
  });

  test("is only looked at by a dry run", async () => {
    const { out } = await run("import", bundle, "--dry-run");
    expect(out).toContain("would import 4 parts");
    expect(existsSync(dir)).toBe(false);
  });
});

describe("a refusal", () => {
  test.each([
    { name: "for another root", args: () => ["import", bundle, "--dir", dir], code: 3, err: "unproven.crl" },
    { name: "for what has ended", args: () => ["import", ended(), "--dir", dir], code: 3, err: "make a newer bundle" },
    { name: "for a file that is missing", args: () => ["import", `${dir}.none`], code: 2, err: "cannot be read" },
    { name: "for a folder without collateral", args: () => ["export", `${dir}.out`], code: 5, err: "no part that is good now" },
    { name: "for a platform that is not there", args: () => ["export", "--fmspc", "000000000000"], code: 5, err: "no part" },
    { name: "for a wrong option", args: () => ["status", "--nope"], code: 2, err: "unknown option" },
    { name: "for a configuration that is wrong", args: () => ["status", "-c", "none.toml"], code: 2, err: "does not exist" },
  ])("$name names itself and ends with its family's status", async ({ args, code, err }) => {
    const outcome = await run(...args());
    expect(outcome.err).toContain(err);
    expect(outcome.err).toContain("hint: ");
    expect(outcome).toMatchObject({ code, out: "" });
  });

  test("of nothing at all shows the commands", async () => {
    const outcome = await run();
    expect(outcome.code).toBe(2);
    for (const command of ["status", "export", "import", "reset"]) expect(outcome.err).toContain(command);
    expect((await run("reset", "--help")).out).toContain("What is given up");
  });
});

function ended(): string {
  const file = `${dir}.ended`;
  writeFileSync(file, readFixture("collateral-b0c06f-2025-06.json"));
  return file;
}
