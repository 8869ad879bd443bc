/** Every key of kms.toml with its type and default, and the problems of a table that does not fit. */
import { z } from "zod";
import type { Table } from "./config-table.ts";

const DAY_SECONDS = 86_400;
const unitSeconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: DAY_SECONDS };

/** A number followed by s, m, h or d, in milliseconds; `never` is undefined. */
const duration = z
  .string()
  .regex(/^(?:[0-9]{1,9}[smhd]|never)$/, "need a number followed by s, m, h or d, or never")
  .transform((text) => (text === "never" ? undefined : Number(text.slice(0, -1)) * (unitSeconds[text.slice(-1)] ?? 0) * 1000));

const port = z.int().min(0).max(65_535);
const path = z.string().min(1);
const httpUrl = z.url({ protocol: /^https?$/, error: "need an http or https URL" });
/** A template: as it stands it need not be a URL. */
const imageUrl = z.string().refine((text) => isHttpUrl(text.replaceAll("{OS_IMAGE_HASH}", "00")), "need an http or https URL");
const optionalUrl = z.union([httpUrl, z.literal("")]).optional();

function isHttpUrl(text: string): boolean {
  return /^https?:/i.test(text) && URL.canParse(text);
}

function table<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return z.strictObject(shape).prefault({} as never); // every key has a default or is optional, so the empty table fits
}

const rpc = table({
  address: z.string().min(1).default("0.0.0.0"),
  port: port.default(8000),
  tls: table({
    key: path.optional(),
    certs: path.optional(),
    mutual: table({ ca_certs: path.optional(), mandatory: z.boolean().default(false) }),
  }),
});

const attestation = table({
  insecure_allow_external_trust_anchors: z.boolean().default(false),
  urls: table({ pccs: optionalUrl, amd_kds: optionalUrl }),
  collateral: table({ dir: path.optional(), offline: z.boolean().default(false) }),
  root_ca: table({
    tdx: path.optional(),
    gcp_tpm: path.optional(),
    aws_nitro_enclave: path.optional(),
    aws_nitro_tpm: path.optional(),
    sev_snp_milan: path.optional(),
    sev_snp_genoa: path.optional(),
    sev_snp_turin: path.optional(),
  }),
});

/** Of the listeners that speak plain HTTP without it. */
const serverTls = z.strictObject({ key: path, certs: path }).optional();

const admin = table({
  enabled: z.boolean().default(false),
  address: z.string().min(1).default("127.0.0.1"),
  port: port.default(8001),
  tls: serverTls,
  auth_token: z.string().default(""),
  htpasswd_file: z.string().default(""),
  insecure_no_auth: z.boolean().default(false),
});

const authApi = table({
  type: z.enum(["webhook", "dev"]).default("webhook"),
  webhook: table({ url: httpUrl.default("http://auth-api:8000") }),
  dev: table({ gateway_app_id: z.string().default("any"), dangerously_allow_everything: z.boolean().default(false) }),
});

export const configSchema = table({
  rpc,
  core: table({
    cert_dir: path.default("/etc/kms/certs"),
    site_name: z.string().default(""),
    enforce_self_authorization: z.boolean().default(true),
    attest_rpc_cert: z.boolean().default(true),
    sev_snp_key_release: z.boolean().default(false),
    aws_nitro_tpm_key_release: z.boolean().default(false),
    attestation,
    image: table({
      verify: z.boolean().default(true),
      cache_dir: path.default("/usr/share/dstack/images"),
      download_url: imageUrl.default("http://localhost:8000/{OS_IMAGE_HASH}.tar.gz"),
      download_timeout: duration.prefault("2m"),
      acpi_data: path.optional(),
    }),
    admin,
    metrics: table({ enabled: z.boolean().default(true) }),
    auth_api: authApi,
    onboard: table({
      enabled: z.boolean().default(true),
      auto_bootstrap_domain: z.string().default(""),
      address: z.string().min(1).default("0.0.0.0"),
      port: port.default(8000),
      tls: serverTls,
    }),
  }),
});

export type Config = z.output<typeof configSchema>;

/** What is wrong with a table, one line a problem: dotted key, then the reason. */
export function problemsOf(input: Table): string[] {
  const parsed = configSchema.safeParse(input);
  if (parsed.success) return [];
  return parsed.error.issues.flatMap((issue) => {
    if (issue.code !== "unrecognized_keys") return [`${issue.path.join(".")}: ${issue.message}`];
    return issue.keys.map((key) => unknownKey([...issue.path, key].join(".")));
  });
}

function unknownKey(key: string): string {
  const near = knownKeys
    .map((known) => ({ known, distance: Math.min(editDistance(key, known), lastNameDistance(key, known)) }))
    .sort((a, b) => a.distance - b.distance)[0];
  const hint = near !== undefined && near.distance <= Math.max(2, key.length / 8) ? `, did you mean ${near.known}` : "";
  return `${key}: unknown key${hint}`;
}

/** The same last name in another table is the usual slip of a wrong section header. */
function lastNameDistance(key: string, known: string): number {
  const name = key.slice(key.lastIndexOf(".") + 1);
  return name.length > 3 && name === known.slice(known.lastIndexOf(".") + 1) ? 2 : Number.POSITIVE_INFINITY;
}

function dottedKeys(schema: unknown, prefix: string): string[] {
  if (schema instanceof z.ZodPrefault && schema.unwrap() instanceof z.ZodObject) return dottedKeys(schema.unwrap(), prefix);
  if (!(schema instanceof z.ZodObject)) return [prefix];
  const inner = Object.entries(schema.shape).flatMap(([key, value]) => dottedKeys(value, prefix ? `${prefix}.${key}` : key));
  return prefix ? [prefix, ...inner] : inner;
}

const knownKeys = dottedKeys(configSchema, "");

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substituted, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
