/** The members of app-compose.json that guests know, with their defaults. Others are ignored by the guest and still part of the hash. */
import { z } from "zod";

const text = z.string();
const flag = (byDefault: boolean) => z.boolean().default(byDefault);
const hex = text.regex(/^(?:[0-9a-fA-F]{2})*$/, "need hex");
const sha256Hex = text.regex(/^[0-9a-fA-F]{64}$/, "need 64 hex digits");
/** A file system grows by whole bytes; the suffix is a power of 1024. */
const size = z.union([z.int().min(0), text.regex(/^\d+(?:\.\d+)?\s*(?:[KMGT](?:i?B)?|B)?$/i, 'need a size such as "1G"')]);
const port = z.int().min(0).max(65_535);

/** 1 and 2 as numbers, later ones as canonical decimal text. */
const needVersion = 'need 1, 2 or a decimal text such as "3"';
const manifestVersion = z.union([z.literal(1), z.literal(2), text.regex(/^[1-9][0-9]*$/, needVersion)], { error: needVersion });

const portPolicy = z.object({
  ports: z.array(z.object({ port, pp: z.boolean().default(false) })).default([]),
  restrict_mode: flag(false),
});

/** A demand that a guest does not know is one it cannot meet. */
const requirements = z.strictObject({
  os_version: text.nullish(),
  platforms: z.array(text).nullish(),
  tdx_measure_acpi_tables: z.boolean().nullish(),
  launch_token_hash: hex.nullish(),
  gpu_policy: z.record(text, z.unknown()).nullish(),
});

const verityVolumes = z
  .array(
    z.object({
      source: text,
      verity_root: sha256Hex,
      target: text.regex(/^\//, "need an absolute path"),
    }),
  )
  .refine((volumes) => new Set(volumes.map(({ target }) => target)).size === volumes.length, "a target is repeated");

export const composeSchema = z.object({
  manifest_version: manifestVersion,
  name: text,
  runner: z.enum(["docker-compose", "nerdctl-compose", "bash"]),
  features: z.array(text).default([]),
  snapshotter: z.enum(["overlayfs", "stargz"]).nullish(),
  docker_compose_file: text.nullish(),
  bash_script: text.nullish(),
  pre_launch_script: text.nullish(),
  init_script: z.union([text, z.array(text).max(5)]).nullish(),
  public_logs: flag(false),
  public_sysinfo: flag(false),
  public_tcbinfo: flag(true),
  secure_time: flag(true),
  kms_enabled: flag(false),
  local_key_provider_enabled: flag(false),
  gateway_enabled: flag(false),
  tproxy_enabled: flag(false),
  key_provider: z.enum(["none", "kms", "local", "tpm"]).nullish(),
  key_provider_id: hex.default(""),
  allowed_envs: z.array(text).default([]),
  no_instance_id: flag(false),
  storage_fs: text.nullish(),
  swap_size: size.default(0),
  event_log_version: z.union([z.literal(1), z.literal(2)]).default(1),
  port_policy: portPolicy.nullish(),
  requirements: requirements.nullish(),
  verity_volumes: verityVolumes.default([]),
});
