/** The container images of a docker-compose file, and those whose content the compose hash does not fix. */
import { parseDocument } from "yaml";

export interface ImageWarning {
  readonly service: string;
  /** Undefined where the file names none. */
  readonly image?: string;
  readonly reason: string;
}

/** Beyond it an alias bomb would be expanded. */
const MAX_ALIASES = 100;
const PINNED = /@sha256:[0-9a-f]{64}$/;

/** A tag may name another image tomorrow; the hash that the policy allowed would be the same. */
export function imageWarnings(dockerComposeFile: string): ImageWarning[] {
  const read = readServices(dockerComposeFile);
  if (typeof read === "string") return [{ service: "", reason: read }];
  const outside = read.hasInclude ? [{ service: "", reason: "include names files that the hash does not cover" }] : [];
  return [...outside, ...read.services.flatMap(([service, value]) => serviceWarnings(service, value))];
}

interface Services {
  readonly services: readonly [string, unknown][];
  /** It brings services from elsewhere. */
  readonly hasInclude: boolean;
}

function readServices(text: string): Services | string {
  try {
    const document = parseDocument(text, { merge: true, uniqueKeys: true });
    const [error] = document.errors;
    if (error !== undefined) return `not YAML: ${error.message.split("\n", 1)[0]}`;
    const value: unknown = document.toJS({ maxAliasCount: MAX_ALIASES });
    if (!isRecord(value)) return "not a mapping";
    const services = value["services"];
    if (!isRecord(services)) return "no services";
    return { services: Object.entries(services), hasInclude: "include" in value };
  } catch (thrown) {
    return `not YAML that can be read: ${thrown instanceof Error ? (thrown.message.split("\n", 1)[0] ?? "") : ""}`;
  }
}

function serviceWarnings(service: string, value: unknown): ImageWarning[] {
  if (!isRecord(value)) return [{ service, reason: "not a mapping" }];
  const warnings: ImageWarning[] = [];
  const image = value["image"];
  if ("extends" in value) warnings.push({ service, reason: "extends a service, which may name another image" });
  if ("build" in value) warnings.push({ service, reason: "is built when it starts, from sources that the hash does not cover" });
  else if (typeof image !== "string" && !("extends" in value)) warnings.push({ service, reason: "names no image" });
  if (typeof image === "string" && !PINNED.test(image)) warnings.push({ service, image, reason: unpinnedReason(image) });
  return warnings;
}

function unpinnedReason(image: string): string {
  if (image.includes("$")) return "depends on a variable: pin it with @sha256:…";
  return image.includes("@")
    ? "has a digest that is not sha256 with 64 hex digits"
    : "is a tag, which can move: pin it with @sha256:…";
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
