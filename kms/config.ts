/** The configuration: layers of kms.toml and the environment to frozen settings, or every problem at once. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import {
  type AdminSettings,
  adminProblems,
  adminSettings,
  adminWeaknesses,
  type ServerTlsFiles,
  serverTlsFiles,
} from "./config-admin.ts";
import { type Layer, loadLayers } from "./config-files.ts";
import { setLegacyAside } from "./config-legacy.ts";
import { type Config, configSchema, problemsOf } from "./config-schema.ts";
import { merge, type Table } from "./config-table.ts";
import { parseDomain } from "./domain.ts";
import { KmsError } from "./errors.ts";

export type AuthSettings =
  | { readonly type: "webhook"; readonly url: string }
  | { readonly type: "dev"; readonly gatewayAppId: string };

export type LogLevel = "silent" | "error" | "warn" | "info" | "debug" | "trace";

export interface Settings {
  readonly rpc: { readonly address: string; readonly port: number; readonly tls: TlsFiles };
  readonly certDir: string;
  readonly siteName: string;
  readonly enforceSelfAuthorization: boolean;
  readonly attestRpcCert: boolean;
  readonly sevSnpKeyRelease: boolean;
  readonly awsNitroTpmKeyRelease: boolean;
  /** Empty: the vendor's default service. */
  readonly pccsUrl: string;
  readonly collateral: {
    readonly dir: string;
    /** No PCCS is asked: only what is imported counts. */
    readonly isOffline: boolean;
  };
  /** File of a TDX root CA that replaces Intel's. */
  readonly tdxRootFile: string | undefined;
  readonly image: {
    readonly verify: boolean;
    readonly cacheDir: string;
    readonly downloadUrl: string;
    readonly downloadTimeoutMs: number | undefined;
    /** File of ACPI digests of known machines; without an entry there the program is asked. */
    readonly acpiDataFile: string | undefined;
    /** Where programs are looked for. */
    readonly programPath: string;
  };
  readonly metrics: boolean;
  readonly auth: AuthSettings;
  readonly onboard: {
    readonly enabled: boolean;
    readonly autoBootstrapDomain: string;
    readonly address: string;
    readonly port: number;
    readonly tls: ServerTlsFiles | undefined;
  };
  /** Undefined: no admin listener. */
  readonly admin: AdminSettings | undefined;
  readonly agentAddress: string;
  readonly logLevel: LogLevel;
  /** What the build of an image says of its source. */
  readonly toldRevision: string | undefined;
}

export interface TlsFiles {
  readonly keyFile: string;
  readonly certFile: string;
  readonly clientCaFile: string;
  readonly clientCertificateMandatory: boolean;
}

type Environment = Readonly<Record<string, string | undefined>>;

export interface ConfigSources {
  /** The file given with `-c`. */
  readonly explicit?: string | undefined;
  readonly cwd: string;
  /** The process environment unless given. */
  readonly env?: Environment;
  readonly systemDir?: string;
}

export interface LoadedConfig {
  readonly settings: Settings;
  /** Lines for the log: legacy keys and switches that weaken something. */
  readonly reports: readonly string[];
}

const SYSTEM_DIR = "/etc/kms";

export function loadConfig(sources: ConfigSources): LoadedConfig {
  const { explicit, cwd, env = process.env, systemDir = SYSTEM_DIR } = sources;
  const layers = loadLayers({ explicit, cwd, systemDir }).map(readLayer);
  refuse(layers.flatMap((layer) => layer.problems));
  const config = configSchema.parse(layers.reduce<Table>((under, layer) => merge(under, layer.table), {}));
  refuse(crossProblems(config, env));
  const settings = toSettings(config, cwd, env);
  return deepFreeze({ settings, reports: [...layers.flatMap((layer) => layer.reports), ...weakened(config, env)] });
}

function readLayer({ file, table: raw }: Layer): { table: Table; reports: string[]; problems: string[] } {
  const { table, reports } = setLegacyAside(file, raw);
  return { table, reports, problems: problemsOf(table).map((problem) => `${file}: ${problem}`) };
}

function refuse(problems: readonly string[]): void {
  if (problems.length === 0) return;
  const count = problems.length === 1 ? "one error" : `${problems.length} errors`;
  throw new KmsError("malformed.config", [`configuration has ${count}`, ...problems].join("\n  "));
}

/** Rules over more than one key, checked on the merged table. */
function crossProblems({ core }: Config, env: Environment): string[] {
  const problems = adminProblems(core.admin, env);
  const anchors = Object.keys(core.attestation.root_ca).map((name) => `core.attestation.root_ca.${name}`);
  if (anchors.length > 0 && !core.attestation.insecure_allow_external_trust_anchors) {
    problems.push(`${anchors.join(", ")}: needs core.attestation.insecure_allow_external_trust_anchors = true`);
  }
  if (core.auth_api.type === "dev" && !core.auth_api.dev.dangerously_allow_everything) {
    problems.push(
      "core.auth_api.type: dev releases keys to everyone, needs core.auth_api.dev.dangerously_allow_everything = true",
    );
  }
  if (core.onboard.auto_bootstrap_domain !== "") {
    try {
      parseDomain(core.onboard.auto_bootstrap_domain);
    } catch (thrown) {
      problems.push(`core.onboard.auto_bootstrap_domain: ${thrown instanceof Error ? thrown.message : "invalid"}`);
    }
  }
  return problems;
}

function weakened({ core }: Config, env: Environment): string[] {
  const anchors = Object.keys(core.attestation.root_ca);
  const unused = anchors.filter((name) => name !== "tdx").map((name) => `core.attestation.root_ca.${name}`);
  const switches: [boolean, string][] = [
    [core.auth_api.type === "dev", "core.auth_api.type = dev: every caller gets keys"],
    [!core.enforce_self_authorization, "core.enforce_self_authorization = false: the policy is not asked about this KMS itself"],
    [!core.image.verify, "core.image.verify = false: OS images are not measured"],
    [
      core.image.verify && !core.image.download_url.includes("{OS_IMAGE_HASH}"),
      "core.image.download_url: has no {OS_IMAGE_HASH}: only one image can be downloaded",
    ],
    [!core.attest_rpc_cert, "core.attest_rpc_cert = false: the server certificate carries no evidence"],
    [anchors.includes("tdx"), "core.attestation.root_ca.tdx: evidence is trusted under another root than Intel's"],
    ...adminWeaknesses(core.admin, env),
    [unused.length > 0, `${unused.join(", ")}: not used by this release`],
  ];
  return switches.filter(([on]) => on).map(([, line]) => line);
}

function toSettings({ rpc, core }: Config, cwd: string, env: Environment): Settings {
  const file = (path: string) => resolve(cwd, path);
  const certDir = file(core.cert_dir);
  const { mutual, key, certs } = rpc.tls;
  return {
    rpc: {
      address: rpc.address,
      port: rpc.port,
      tls: {
        keyFile: key === undefined ? join(certDir, "rpc.key") : file(key),
        certFile: certs === undefined ? join(certDir, "rpc.crt") : file(certs),
        clientCaFile: mutual.ca_certs === undefined ? join(certDir, "tmp-ca.crt") : file(mutual.ca_certs),
        clientCertificateMandatory: mutual.mandatory,
      },
    },
    certDir,
    siteName: core.site_name,
    enforceSelfAuthorization: core.enforce_self_authorization,
    attestRpcCert: core.attest_rpc_cert,
    sevSnpKeyRelease: core.sev_snp_key_release,
    awsNitroTpmKeyRelease: core.aws_nitro_tpm_key_release,
    pccsUrl: core.attestation.urls.pccs ?? "",
    collateral: {
      // beside the keys and not among them: a backup of keys holds nothing that is fetched
      dir: core.attestation.collateral.dir === undefined ? `${certDir}-collateral` : file(core.attestation.collateral.dir),
      isOffline: core.attestation.collateral.offline,
    },
    tdxRootFile: core.attestation.root_ca.tdx === undefined ? undefined : file(core.attestation.root_ca.tdx),
    image: {
      verify: core.image.verify,
      cacheDir: file(core.image.cache_dir),
      downloadUrl: core.image.download_url,
      downloadTimeoutMs: core.image.download_timeout,
      acpiDataFile: core.image.acpi_data === undefined ? undefined : file(core.image.acpi_data),
      programPath: env["PATH"] ?? "",
    },
    metrics: core.metrics.enabled,
    auth: authSettings(core.auth_api),
    onboard: {
      enabled: core.onboard.enabled,
      autoBootstrapDomain: core.onboard.auto_bootstrap_domain,
      address: core.onboard.address,
      port: core.onboard.port,
      tls: serverTlsFiles(core.onboard.tls, file),
    },
    admin: adminSettings(core.admin, env, file),
    agentAddress: agentAddress(env["DSTACK_AGENT_ADDRESS"], existsSync),
    logLevel: logLevel(env["RUST_LOG"]),
    toldRevision: env["KEYWARD_REVISION"],
  };
}

function authSettings(auth: Config["core"]["auth_api"]): AuthSettings {
  return auth.type === "webhook"
    ? { type: "webhook", url: auth.webhook.url }
    : { type: "dev", gatewayAppId: auth.dev.gateway_app_id };
}

const agentSockets = ["/var/run/dstack/dstack.sock", "/var/run/dstack.sock"] as const;

/** Where the guest agent listens when nothing says so: the first socket that exists, else the first. */
export function agentAddress(configured: string | undefined, exists: (path: string) => boolean): string {
  if (configured !== undefined && configured !== "") return configured;
  return `unix:${agentSockets.find(exists) ?? agentSockets[0]}`;
}

const logLevels: readonly LogLevel[] = ["error", "warn", "info", "debug", "trace"];

/** Of RUST_LOG's directives the one without a target counts, as targets are modules of another program. */
export function logLevel(directives: string | undefined): LogLevel {
  const bare = (directives ?? "").split(",").map((directive) => directive.trim().toLowerCase());
  if (bare.includes("off")) return "silent";
  return logLevels.find((level) => bare.includes(level)) ?? "info";
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
