import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { agentAddress, loadConfig, logLevel } from "../../kms/config.ts";
import { problemsOf } from "../../kms/config-schema.ts";
import { isTable, merge } from "../../kms/config-table.ts";
import { parseDomain } from "../../kms/domain.ts";
import { KmsError } from "../../kms/errors.ts";

const fixtures = fileURLToPath(new URL("../fixtures/config", import.meta.url));
let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "kms-config-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function put(path: string, text: string): string {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  return file;
}

function load(explicit?: string, env: Record<string, string> = {}) {
  mkdirSync(join(root, "cwd"), { recursive: true });
  return loadConfig({ explicit, cwd: join(root, "cwd"), env, systemDir: join(root, "etc") });
}

function loadText(text: string) {
  return load(put("explicit.toml", text));
}

function refusal(work: () => unknown): KmsError {
  try {
    work();
  } catch (thrown) {
    if (thrown instanceof KmsError) return thrown;
    throw thrown;
  }
  throw new Error("was not refused");
}

describe("published files", () => {
  test("the tutorial's file loads unchanged, its collateral URL mapped", () => {
    const { settings, reports } = load(join(fixtures, "kms-cvm.toml"));
    expect(settings.pccsUrl).toBe("https://pccs.phala.network/sgx/certification/v4");
    expect(settings.rpc).toMatchObject({ address: "0.0.0.0", port: 9100 });
    expect(settings.rpc.tls.clientCaFile).toBe("/etc/kms/certs/tmp-ca.crt");
    expect(settings.image).toMatchObject({ verify: true, downloadTimeoutMs: 120_000 });
    expect(settings.auth).toEqual({ type: "webhook", url: "http://127.0.0.1:9200" });
    expect(reports.join("\n")).toContain("core.pccs_url is read as core.attestation.urls.pccs");
  });

  test("the complete file loads unchanged and reports every key without effect", () => {
    const { settings, reports } = load(join(fixtures, "kms-full.toml"));
    expect(settings.rpc.port).toBe(8000);
    const text = reports.join("\n");
    for (const key of ["default", "core.subject_postfix", "core.admin_token_hash", "core.onboard.quote_enabled"]) {
      expect(text).toContain(`: ${key} `);
    }
  });
});

describe("layers", () => {
  test("no file at all gives the defaults of the protocol", () => {
    const { settings, reports } = load();
    expect(reports).toEqual([]);
    expect(settings).toMatchObject({
      certDir: "/etc/kms/certs",
      enforceSelfAuthorization: true,
      attestRpcCert: true,
      sevSnpKeyRelease: false,
      pccsUrl: "",
      auth: { type: "webhook", url: "http://auth-api:8000" },
      onboard: { enabled: true, autoBootstrapDomain: "", address: "0.0.0.0", port: 8000 },
      logLevel: "info",
    });
    expect(settings.rpc.tls.keyFile).toBe("/etc/kms/certs/rpc.key");
  });

  test("later layers win key by key", () => {
    put("etc/kms.toml", '[rpc]\nport = 1\naddress = "a"\n[core]\nsite_name = "etc-toml"');
    put("etc/kms.json", '{"rpc":{"port":2},"core":{"cert_dir":"/etc-json"}}');
    put("cwd/kms.toml", "[rpc]\nport = 3");
    put("cwd/kms.json", '{"rpc":{"port":4}}');
    expect(load().settings).toMatchObject({ rpc: { address: "a", port: 4 }, siteName: "etc-toml", certDir: "/etc-json" });
    const explicit = put("mine.toml", "[rpc]\nport = 5");
    expect(load(explicit).settings.rpc).toMatchObject({ address: "a", port: 5 });
  });

  test("a file that does not end in .toml is JSON", () => {
    expect(load(put("settings.conf", '{"rpc":{"port":7}}')).settings.rpc.port).toBe(7);
    expect(refusal(() => load(put("settings.cfg", "[rpc]"))).code).toBe("malformed.config");
  });

  test("a relative name is looked for in the parents too", () => {
    put("above.toml", "[rpc]\nport = 9");
    expect(load("above.toml").settings.rpc.port).toBe(9);
  });

  test("an explicit file that is missing is an error", () => {
    for (const name of ["nowhere-at-all.toml", join(root, "nowhere.toml")]) {
      const error = refusal(() => load(name));
      expect(error.code).toBe("malformed.config");
      expect(error.message).toContain("does not exist");
    }
  });

  test("TLS files follow cert_dir unless they are named", () => {
    const { tls } = loadText('[rpc.tls]\ncerts = "/other/rpc.crt"\n[core]\ncert_dir = "/keys"').settings.rpc;
    expect(tls).toEqual({
      keyFile: "/keys/rpc.key",
      certFile: "/other/rpc.crt",
      clientCaFile: "/keys/tmp-ca.crt",
      clientCertificateMandatory: false,
    });
  });

  test("settings are frozen all the way down", () => {
    const { settings } = load();
    expect(Object.isFrozen(settings) && Object.isFrozen(settings.rpc.tls) && Object.isFrozen(settings.image)).toBe(true);
  });
});

describe("refusals", () => {
  test("every problem of every file is listed with file and dotted key", () => {
    put("etc/kms.toml", "[core]\ncert_dirr = 1");
    const explicit = put("mine.toml", '[rpc]\nport = "x"\n[core.imagee]\nverify = true\n[core.admin]\nport = 70000');
    const error = refusal(() => load(explicit));
    expect(error.code).toBe("malformed.config");
    const lines = error.message.split("\n  ");
    expect(lines[0]).toBe("configuration has 4 errors");
    expect(error.message).toContain("etc/kms.toml: core.cert_dirr: unknown key, did you mean core.cert_dir");
    expect(error.message).toContain("mine.toml: rpc.port: ");
    expect(error.message).toContain("mine.toml: core.imagee: unknown key, did you mean core.image");
    expect(error.message).toContain("mine.toml: core.admin.port: ");
  });

  test.each([
    ["admin.toml", '[core.admin]\nauth_token = "hunter2', ": not valid TOML, line 2, column "],
    ["admin.toml", "[core.admin]\nauth_token = hunter2", ": not valid TOML, line 2, column "],
    ["admin.json", '{"core":{"admin":{"auth_token":hunter2}}}', ": not valid JSON"],
    ["admin.json", '{"core":{"admin":{"auth_token":"hunter2",}}}', ": not valid JSON, line 1, column 42"],
  ])("a broken %s is refused without a word of what stands in it: %s", (name, text, expected) => {
    const error = refusal(() => load(put(name, text)));
    expect(error.code).toBe("malformed.config");
    expect(error.message).toContain(`${name}${expected}`);
    expect(inspect(error, { depth: null })).not.toContain("hunter2");
  });

  test("an unknown key below attestation or of the wrong table is refused", () => {
    expect(refusal(() => loadText('[core.attestation.urls]\npcs = ""')).message).toContain(
      "did you mean core.attestation.urls.pccs",
    );
    expect(refusal(() => loadText('cert_dir = "/x"')).message).toContain("cert_dir: unknown key, did you mean core.cert_dir");
    expect(refusal(() => loadText("zzz_unheard_of = 1")).message).toMatch(/zzz_unheard_of: unknown key$/);
  });

  test.each([
    ["a root of trust without its switch", '[core.attestation.root_ca]\ntdx = "/r.pem"', "insecure_allow_external_trust_anchors"],
    ["dev mode without its switch", '[core.auth_api]\ntype = "dev"', "dangerously_allow_everything"],
    ["an admin service without a credential", "[core.admin]\nenabled = true", "core.admin.enabled: needs a credential"],
    ["half of TLS for the onboard listener", '[core.onboard.tls]\nkey = "/k"', "core.onboard.tls.certs"],
    [
      "client certificates for the admin",
      '[core.admin.tls]\nkey = "k"\ncerts = "c"\nmutual = {}',
      "core.admin.tls.mutual: unknown",
    ],
    ["an unknown authorization type", '[core.auth_api]\ntype = "none"', "core.auth_api.type"],
    ["a webhook that is no URL", '[core.auth_api.webhook]\nurl = "auth:8000"', "core.auth_api.webhook.url"],
    ["an auto-bootstrap domain with a port", '[core.onboard]\nauto_bootstrap_domain = "a:1"', "invalid DNS label"],
    ["broken TOML", "[rpc", "explicit.toml"],
    ["a table where text is due", "[core.cert_dir]\na = 1", "core.cert_dir"],
    ["a key twice", "[rpc]\nport = 1\nport = 2", "explicit.toml"],
  ])("%s is refused", (_, text, part) => {
    const error = refusal(() => loadText(text));
    expect(error.code).toBe("malformed.config");
    expect(error.message).toContain(part);
  });

  test.each(["2", "m", "2w", "-1s", "1.5s", "2 m", "Never", ""])("the duration %j is refused", (text) => {
    expect(refusal(() => loadText(`[core.image]\ndownload_timeout = "${text}"`)).message).toContain("download_timeout");
  });

  test.each([
    ["90s", 90_000],
    ["2m", 120_000],
    ["1h", 3_600_000],
    ["1d", 86_400_000],
    ["never", undefined],
  ])("the duration %s is read", (text, expected) => {
    expect(loadText(`[core.image]\ndownload_timeout = "${text}"`).settings.image.downloadTimeoutMs).toBe(expected);
  });

  test.each(["", "images", "file:///images/{OS_IMAGE_HASH}", "ftp://mirror/{OS_IMAGE_HASH}", "https://"])(
    "the image URL %j is refused",
    (text) => {
      expect(refusal(() => loadText(`[core.image]\ndownload_url = "${text}"`)).message).toContain("core.image.download_url");
    },
  );

  test("an image URL may have the hash anywhere, and one without it is reported", () => {
    for (const text of ["https://mirror.example/mr_{OS_IMAGE_HASH}.tar.gz", "http://h/?image={OS_IMAGE_HASH}"]) {
      const { settings, reports } = loadText(`[core.image]\ndownload_url = "${text}"`);
      expect([settings.image.downloadUrl, reports]).toEqual([text, []]);
    }
    const { reports } = loadText('[core.image]\ndownload_url = "https://mirror.example/image.tar.gz"');
    expect(reports.join("\n")).toContain("has no {OS_IMAGE_HASH}");
  });

  test("the file of ACPI digests is found from where the KMS runs, and programs by its PATH", () => {
    const { settings } = loadText('[core.image]\nacpi_data = "acpi.json"');
    expect(settings.image.acpiDataFile).toMatch(/^\/.*\/acpi\.json$/);
    expect(loadText("").settings.image).toMatchObject({ acpiDataFile: undefined, programPath: "" });
  });

  test("a key named __proto__ is unknown, not a prototype", () => {
    expect(refusal(() => load(put("p.json", '{"core":{"__proto__":{"cert_dir":"/x"}}}'))).code).toBe("malformed.config");
    expect(refusal(() => load(put("q.json", '{"__proto__":{"rpc":1}}'))).code).toBe("malformed.config");
    expect(refusal(() => load(put("r.json", "[1]"))).code).toBe("malformed.config");
  });
});

describe("switches that weaken something", () => {
  test("are reported, with the switch they need", () => {
    const { settings, reports } = loadText(`
      [core]
      enforce_self_authorization = false
      [core.auth_api]
      type = "dev"
      [core.auth_api.dev]
      dangerously_allow_everything = true
      [core.attestation]
      insecure_allow_external_trust_anchors = true
      [core.attestation.root_ca]
      tdx = "/root.pem"
      sev_snp_milan = "/ark.pem"`);
    expect(settings.auth).toEqual({ type: "dev", gatewayAppId: "any" });
    expect(settings.tdxRootFile).toBe("/root.pem");
    const text = reports.join("\n");
    for (const part of ["auth_api.type = dev", "enforce_self_authorization", "root_ca.tdx", "sev_snp_milan: not used"]) {
      expect(text).toContain(part);
    }
  });

  test("a legacy key does not override the key of today", () => {
    const { settings, reports } = loadText('[core]\npccs_url = "http://old"\n[core.attestation.urls]\npccs = "http://new"');
    expect(settings.pccsUrl).toBe("http://new");
    expect(reports).toEqual([expect.stringContaining("core.pccs_url is ignored because")]);
  });
});

describe("environment", () => {
  test("the guest agent is the configured address, else the first socket that exists", () => {
    expect(agentAddress("http://agent", () => true)).toBe("http://agent");
    expect(agentAddress(undefined, () => true)).toBe("unix:/var/run/dstack/dstack.sock");
    expect(agentAddress("", (path) => path === "/var/run/dstack.sock")).toBe("unix:/var/run/dstack.sock");
    expect(agentAddress(undefined, () => false)).toBe("unix:/var/run/dstack/dstack.sock");
    expect(load(undefined, { DSTACK_AGENT_ADDRESS: "unix:/x" }).settings.agentAddress).toBe("unix:/x");
  });

  test.each([
    [undefined, "info"],
    ["debug", "debug"],
    ["WARN,hyper=trace", "warn"],
    ["dstack_kms=debug", "info"],
    ["off", "silent"],
  ])("RUST_LOG %s means %s", (text, level) => {
    expect(logLevel(text)).toBe(level);
  });
});

describe("domain rule", () => {
  test.each(["kms.example.com", "localhost", "127.0.0.1", "a".repeat(63), "A-1.b"])("%s passes", (domain) => {
    expect(parseDomain(domain)).toBe(domain);
  });

  test.each([
    ["", "domain must be a non-empty ASCII DNS name of at most 253 bytes"],
    ["käse.de", "domain must be a non-empty ASCII DNS name of at most 253 bytes"],
    [`${"a.".repeat(126)}aa`, "domain must be a non-empty ASCII DNS name of at most 253 bytes"],
    ["a.", "domain contains an invalid DNS label"],
    ["a_b", "domain contains an invalid DNS label"],
    ["*.a", "domain contains an invalid DNS label"],
    ["a:1", "domain contains an invalid DNS label"],
    ["::1", "domain contains an invalid DNS label"],
    ["-a", "domain contains an invalid DNS label"],
    ["a-", "domain contains an invalid DNS label"],
    ["a\n", "domain contains an invalid DNS label"],
    ["a".repeat(64), "domain contains an invalid DNS label"],
  ])("%j is refused", (domain, text) => {
    const error = refusal(() => parseDomain(domain));
    expect([error.code, error.message]).toEqual(["malformed.domain", text]);
  });
});

test("any JSON object is either settings or a list of problems", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (table) => {
      expect(Array.isArray(problemsOf(table))).toBe(true);
      expect(isTable(merge(table, table))).toBe(true);
    }),
    { numRuns: 100 },
  );
});

describe("the admin service", () => {
  const enabled = (more = "") => put("admin.toml", `[core.admin]\nenabled = true\n${more}`);
  const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

  test("is off unless enabled, whatever else is set", () => {
    expect(loadText('[core.admin]\nauth_token = "x"\nhtpasswd_file = "/x"').settings.admin).toBeUndefined();
  });

  test("listens where it is told, on this machine alone by default", () => {
    const { admin } = load(enabled('insecure_no_auth = true\ntls = { key = "k", certs = "/c" }')).settings;
    expect(admin).toEqual({
      address: "127.0.0.1",
      port: 8001,
      tls: { keyFile: join(root, "cwd", "k"), certFile: "/c" },
      tokenHash: undefined,
      htpasswdFile: undefined,
      noAuth: true,
    });
  });

  test.each<[string, string, Record<string, string>, string]>([
    ["the file's", 'auth_token = " one "', { DSTACK_KMS_ADMIN_TOKEN: "two", ADMIN_API_TOKEN: "three" }, "one"],
    ["the first variable's", "", { DSTACK_KMS_ADMIN_TOKEN: " two\n", ADMIN_API_TOKEN: "three" }, "two"],
    ["the second variable's", 'auth_token = "  "', { DSTACK_KMS_ADMIN_TOKEN: "", ADMIN_API_TOKEN: "\tthree" }, "three"],
  ])("has %s token, trimmed and only as its hash", (_what, text, env, expected) => {
    const { settings, reports } = load(enabled(text), env);
    expect(settings.admin?.tokenHash).toBe(sha256(expected));
    expect(inspect([settings, reports], { depth: null })).not.toContain(expected);
  });

  test.each([["auth_token = ' '"], [""]])("needs one that is not blank: %j", (text) => {
    const error = refusal(() => load(enabled(text), { DSTACK_KMS_ADMIN_TOKEN: " ", ADMIN_API_TOKEN: "\n" }));
    expect(error.message).toMatch(/core\.admin\.auth_token, core\.admin\.htpasswd_file or DSTACK_KMS_ADMIN_TOKEN/);
  });

  test("says what weakens it", () => {
    expect(load(enabled("insecure_no_auth = true")).reports.join()).toContain("core.admin.insecure_no_auth = true");
    expect(load(enabled('auth_token = "short"')).reports.join()).toContain("the token has 5 characters, want at least 16");
    expect(load(enabled('htpasswd_file = "users"')).reports).toEqual([]);
    expect(load(enabled('htpasswd_file = "users"')).settings.admin?.htpasswdFile).toBe(join(root, "cwd", "users"));
  });
});
