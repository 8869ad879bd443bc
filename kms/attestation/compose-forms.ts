/** The two spellings in which tools write app-compose.json or predict its hash: the VMM client's and the SDKs'. */
import type { JsonNode } from "./json-tree.ts";

const INDENT = "    ";

/** The VMM client: four spaces, members in the order they have, every character as it is. */
export function vmmForm(node: JsonNode): string {
  return write(node, INDENT, "\n");
}

/**
 * The SDKs: members sorted, no white space, and without what the runner would not read. NaN and the infinities, which they
 * write as null, cannot be in a file that is JSON.
 */
export function sdkForm(node: JsonNode): string {
  return canonicalForm(node.kind === "object" ? withoutUnread(node.members) : node);
}

/** RFC 8785, in which guests hash a part of the file. */
export function canonicalForm(node: JsonNode): string {
  return write(sorted(node), "", "");
}

function withoutUnread(members: ReadonlyMap<string, JsonNode>): JsonNode {
  const runner = textOf(members.get("runner"));
  const kept = new Map(members);
  if (runner === "bash") kept.delete("docker_compose_file");
  if (runner === "docker-compose") kept.delete("bash_script");
  if (isEmpty(kept.get("pre_launch_script"))) kept.delete("pre_launch_script");
  return { kind: "object", members: kept };
}

function textOf(node: JsonNode | undefined): string | undefined {
  return node?.kind === "scalar" && typeof node.value === "string" ? node.value : undefined;
}

function isEmpty(node: JsonNode | undefined): boolean {
  return node?.kind === "scalar" && (node.value === "" || node.value === null);
}

function sorted(node: JsonNode): JsonNode {
  if (node.kind === "array") return { kind: "array", items: node.items.map(sorted) };
  // as JavaScript prints them: 1.0 is 1
  if (node.kind === "number") return { ...node, literal: String(node.value) };
  if (node.kind !== "object") return node;
  const members = [...node.members].sort(([a], [b]) => (a < b ? -1 : 1));
  return { kind: "object", members: new Map(members.map(([name, member]) => [name, sorted(member)])) };
}

/** Not JSON.stringify of an object, which puts members whose names are numbers first. */
function write(node: JsonNode, indent: string, lineStart: string): string {
  if (node.kind === "number") return node.literal;
  if (node.kind === "scalar") return JSON.stringify(node.value);
  const inner = lineStart === "" ? "" : lineStart + indent;
  const colon = lineStart === "" ? ":" : ": ";
  if (node.kind === "array")
    return enclose(
      "[",
      node.items.map((item) => write(item, indent, inner)),
      "]",
      inner,
      lineStart,
    );
  const members = [...node.members].map(([name, member]) => `${JSON.stringify(name)}${colon}${write(member, indent, inner)}`);
  return enclose("{", members, "}", inner, lineStart);
}

function enclose(open: string, parts: readonly string[], close: string, inner: string, outer: string): string {
  return parts.length === 0 ? open + close : open + inner + parts.join(`,${inner}`) + outer + close;
}
