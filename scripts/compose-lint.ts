/** What an app-compose file leaves open: images that can change under the same hash, and members that its runner does not read. */
import type { AppCompose } from "../kms/attestation/compose.ts";
import { imageWarnings } from "../kms/attestation/compose-images.ts";

export interface ComposeWarning {
  readonly kind: "image" | "member";
  readonly service?: string;
  readonly image?: string;
  readonly reason: string;
}

export function composeWarnings({ members }: AppCompose): ComposeWarning[] {
  const { runner, docker_compose_file: services, bash_script: script, snapshotter } = members;
  const warnings: ComposeWarning[] = [];
  const member = (reason: string) => warnings.push({ kind: "member", reason });
  if (runner === "bash" && !script) member("runner bash without bash_script: the guest has nothing to run");
  if (runner !== "bash" && !services) member(`runner ${runner} without docker_compose_file: the guest has nothing to run`);
  if (snapshotter && runner !== "nerdctl-compose") member("snapshotter: read by runner nerdctl-compose only");
  if (members.requirements && members.manifest_version !== "3")
    member('requirements: older guests pass them over; use "3" as manifest_version');
  if (members.features.length > 0) member("features: deprecated; use gateway_enabled");
  if (runner === "bash" || !services) return warnings;
  return [...warnings, ...imageWarnings(services).map((warning) => ({ kind: "image" as const, ...warning }))];
}

export function warningText({ service, image, reason }: ComposeWarning): string {
  const where = [service ? `service ${service}` : "", image === undefined ? "" : `image ${image}`].filter(Boolean).join(", ");
  return where === "" ? reason : `${where}: ${reason}`;
}
