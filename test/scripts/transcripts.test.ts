/** What tools that are not ours see of a running KMS: openssl the handshake and the chain, curl the answers, and our verifier the leaf. */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reportData } from "../../kms/attestation/report-data.ts";
import { fromHex, toHex } from "../../kms/bytes.ts";
import { fetchTempCa } from "../../kms/ra-tls/client.ts";
import { createGuestAgent } from "../../kms/ra-tls/guest-agent.ts";
import { makeRaTlsIdentity } from "../../kms/ra-tls/identity.ts";
import { isInstalled, runCommandLine, runProgram } from "../support/programs.ts";
import { scratchFolder } from "../support/scratch.ts";
import { testAuthority } from "../support/test-certificates.ts";
import { type ServedKms, serveKms } from "./support/served-kms.ts";

const hasOpenssl = isInstalled("openssl");
const hasCurl = isInstalled("curl");
for (const [program, isThere] of Object.entries({ openssl: hasOpenssl, curl: hasCurl })) {
  if (!isThere) console.warn(`${program} is not installed: its transcripts are skipped`);
}

const { file } = scratchFolder();
let kms: ServedKms;
let host: string;

beforeAll(async () => {
  kms = await serveKms();
  host = new URL(kms.url).host;
});
afterAll(() => kms.close());

/** The transcript of one handshake, with a request so that the end of the connection is seen. */
async function sClient(...more: string[]): Promise<string> {
  const args = [
    "s_client",
    "-connect",
    host,
    "-showcerts",
    "-CAfile",
    kms.rootCaFile,
    "-verify_ip",
    "127.0.0.1",
    "-ign_eof",
    ...more,
  ];
  const { stdout, stderr } = await runProgram(
    "openssl",
    args,
    {},
    `GET /health HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
  );
  return `${stdout}${stderr}`;
}

/** The leaf of the app's guest, with its key, as files. */
async function clientFiles(): Promise<{ cert: string; key: string }> {
  const identity = await makeRaTlsIdentity(createGuestAgent(kms.agent), await fetchTempCa(kms.url), new Date());
  return { cert: file("client.pem", identity.certificatePem), key: file("client.key", identity.keyPem) };
}

describe.skipIf(!hasOpenssl)("openssl s_client", () => {
  test.each(["-tls1_2", "-tls1_3"])("sees one leaf under the root, for the address of the URL, with %s", async (version) => {
    const transcript = await sClient(version);
    expect(transcript).toContain("Verify return code: 0 (ok)");
    expect(await sClient(version, "-verify_ip", "127.0.0.2")).toContain("Verify return code: 64 (IP address mismatch)");
    expect(transcript).toMatch(/Acceptable client certificate CA names\nO ?= ?Dstack, CN ?= ?Dstack Client Temp CA\n/);
    expect(transcript).toMatch(/HTTP\/1\.1 200 OK[\s\S]*\r\n\r\nOK/);
    const chain = transcript.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/g);
    expect(new Set(chain)).toEqual(new Set([readFileSync(join(kms.around.certDir, "rpc.crt"), "utf8")]));
    expect(transcript).toMatch(/0 s:CN ?= ?127\.0\.0\.1\n {3}i:O ?= ?Dstack, CN ?= ?Dstack KMS CA\n/);
    expect(transcript).not.toMatch(/^ 1 s:/m);
  });

  test("reads the leaf as the protocol lays it out", async () => {
    const rpc = join(kms.around.certDir, "rpc.crt");
    const { stdout } = await runProgram("openssl", ["x509", "-in", rpc, "-noout", "-text"]);
    expect(stdout).toContain("Signature Algorithm: ecdsa-with-SHA256");
    expect(stdout).toMatch(/Not Before: Jan {2}1 00:00:00 1975 GMT/);
    expect(stdout).toMatch(/X509v3 Subject Alternative Name: ?\n\s+IP Address:127\.0\.0\.1\n/);
    expect(stdout).toMatch(/X509v3 Key Usage: critical\n\s+Digital Signature\n/);
    expect(stdout).not.toMatch(/Basic Constraints|Extended Key Usage|Authority Key|Subject Key/);
    expect(stdout.match(/1\.3\.6\.1\.4\.1\.62397\.1\.\d+/g)).toEqual(["4", "8"].map((end) => `1.3.6.1.4.1.62397.1.${end}`));
    const verified = await runProgram("openssl", ["verify", "-CAfile", kms.rootCaFile, rpc]);
    expect(verified.stdout).toBe(`${rpc}: OK\n`);
  });

  test("gets in with the leaf of a guest, and not with one of another CA", async () => {
    const { cert, key } = await clientFiles();
    expect(await sClient("-cert", cert, "-key", key)).toContain("HTTP/1.1 200 OK");
    const { certPem, keyPem } = await (await testAuthority("Other CA")).issue("other");
    const other = ["-cert", file("other.pem", certPem), "-key", file("other.key", keyPem)];
    for (const version of ["-tls1_2", "-tls1_3"]) expect(await sClient(version, ...other)).not.toContain("HTTP/1.1 200 OK");
  });
});

describe.skipIf(!hasCurl)("curl", () => {
  const curl = (...args: string[]) => runProgram("curl", ["--silent", "--show-error", ...args]);
  const get = (...args: string[]) => curl("--cacert", kms.rootCaFile, ...args);

  test("gets GetMeta in every way that people ask for it", async () => {
    const ways = [
      [`${kms.url}/prpc/KMS.GetMeta`],
      [`${kms.url}/prpc/GetMeta?json`, "--data", "null"],
      [`${kms.url}//prpc/KMS.GetMeta?json`, "--data", "{}", "--header", "Content-Type: application/json"],
      [`${kms.url}/prpc/GetMeta?json`, "--request", "POST", "--header", "Content-Type:"],
    ];
    const answers = await Promise.all(ways.map((way) => get(...way)));
    const [meta] = answers.map(({ stdout }) => JSON.parse(stdout));
    expect(meta).toMatchObject({ ca_cert: readFileSync(kms.rootCaFile, "utf8"), k256_pubkey: kms.k256Root, is_dev: false });
    for (const { status, stdout } of answers) expect({ status, stdout }).toEqual({ status: 0, stdout: answers[0]?.stdout });
  });

  test("shows the headers and the error shape that clients know", async () => {
    const { stdout } = await get("--include", `${kms.url}/prpc/KMS.Nothing?json`, "--data", "");
    expect(stdout).toMatch(/^HTTP\/1\.1 400 /);
    expect(stdout).toMatch(/^x-app-version: v\d+\.\d+\.\d+ \(git:/im);
    expect(stdout).toContain('\r\n\r\n{\n  "error": "Service not found: Nothing"\n}');
  });

  test("gets an app's keys with the leaf of its guest, and a refusal without", async () => {
    const { cert, key } = await clientFiles();
    const body = ["--data", '{"api_version":1,"vm_config":""}', `${kms.url}/prpc/KMS.GetAppKey?json`];
    const released = await get("--cert", cert, "--key", key, ...body);
    expect(JSON.parse(released.stdout)).toMatchObject({ disk_crypt_key: expect.stringMatching(/^[0-9a-f]{64}$/) });
    const refused = await get(...body);
    expect(JSON.parse(refused.stdout)).toEqual({ error: "App not allowed: No attestation provided" });
  });

  test("trusts the server by no other root", async () => {
    expect(await curl("--cacert", kms.tdxRootFile, `${kms.url}/health`)).toMatchObject({ status: 60, stdout: "" });
  });
});

describe("evidence verify of the certificate that the KMS presents", () => {
  const verify = (path: string, ...more: string[]) =>
    runCommandLine("evidence.ts", ["verify", path, "--root", kms.tdxRootFile, "--pccs", kms.pccsUrl, "--json", ...more]);
  const leaf = () => new X509Certificate(readFileSync(join(kms.around.certDir, "rpc.crt")));

  test("says which machine holds the key of the connection", async () => {
    const spki = toHex(new Uint8Array(leaf().publicKey.export({ format: "der", type: "spki" })));
    const { status, stdout } = await verify(file("leaf.der", new Uint8Array(leaf().raw)));
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      ok: true,
      tcbStatus: "UpToDate",
      mrtd: toHex(kms.around.kmsTd.mrTd),
      reportData: toHex(reportData("ratls-cert", fromHex(spki, "spki"))),
      bootInfo: { appId: toHex(kms.around.kmsTd.appId), osImageHash: toHex(kms.around.kmsTd.osImageHash) },
      certificate: { spki, usage: "kms:rpc" },
    });
  });

  test.skipIf(!hasOpenssl)("reads the transcript of openssl as it is", async () => {
    const { status, stdout } = await verify(file("transcript.txt", await sClient()));
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ certificate: { usage: "kms:rpc" } });
  });

  test("refuses a certificate whose evidence is another key's, and one without any", async () => {
    const der = new Uint8Array(leaf().raw);
    const spki = new Uint8Array(leaf().publicKey.export({ format: "der", type: "spki" }));
    const at = Buffer.from(der).indexOf(Buffer.from(spki)) + spki.length - 1;
    const swapped = await verify(
      file(
        "swapped.der",
        der.map((byte, index) => (index === at ? byte ^ 1 : byte)),
      ),
    );
    expect(swapped.status).toBe(3);
    expect(JSON.parse(swapped.stdout)).toMatchObject({ ok: false, code: "unproven.report-data" });
    const bare = await verify(kms.rootCaFile);
    expect(JSON.parse(bare.stdout)).toMatchObject({ ok: false, code: "unproven.no-evidence" });
  });
});
