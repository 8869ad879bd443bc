/** The KMS's own app-compose.json: an app whose disk key comes from the local key provider, since no KMS is there before it. */
import { parseCompose } from "./compose.ts";

export interface ManifestSettings {
  readonly dockerComposeFile: string;
  readonly name?: string;
  /** MRENCLAVE of the key provider that the guest must insist on; empty means any. */
  readonly keyProviderId?: string;
  readonly secureTime?: boolean;
  readonly keyProvider?: "local";
  readonly preLaunchScript?: string;
  readonly swapSize?: string;
  readonly eventLogVersion?: 1 | 2;
}

/** The bytes in which the VMM client would have written it: member by member in its order, four spaces, no line end. */
export function kmsManifest(settings: ManifestSettings): Uint8Array {
  const members = {
    manifest_version: 2,
    name: settings.name ?? "kms",
    runner: "docker-compose",
    docker_compose_file: settings.dockerComposeFile,
    kms_enabled: false,
    gateway_enabled: false,
    local_key_provider_enabled: true,
    key_provider_id: settings.keyProviderId ?? "",
    public_logs: true,
    public_sysinfo: true,
    allowed_envs: [],
    no_instance_id: true,
    secure_time: settings.secureTime ?? true,
    // JSON leaves out those that are undefined
    key_provider: settings.keyProvider,
    pre_launch_script: settings.preLaunchScript,
    swap_size: settings.swapSize,
    event_log_version: settings.eventLogVersion,
  };
  const file = new TextEncoder().encode(JSON.stringify(members, undefined, 4));
  // what we write has to pass what we read
  parseCompose(file);
  return file;
}
