/** app-compose.json: what a guest reads in it, and what it is called. The KMS itself knows only its hash, which is over the bytes as delivered. */
import { createHash } from "node:crypto";
import type { z } from "zod";
import { fromUtf8 } from "../bytes.ts";
import { KmsError } from "../errors.ts";
import { canonicalForm, sdkForm, vmmForm } from "./compose-forms.ts";
import { composeSchema } from "./compose-schema.ts";
import { type JsonNode, parseJsonTree, plainValue } from "./json-tree.ts";
import type { KeyProviderKind } from "./key-provider-info.ts";

/** Hosts hand over a few kilobytes. */
export const MAX_COMPOSE_BYTES = 1024 * 1024;
export const APP_ID_BYTES = 20;

export type ComposeMembers = z.infer<typeof composeSchema>;

export interface AppCompose {
  readonly members: ComposeMembers;
  readonly keyProvider: KeyProviderKind;
  readonly gatewayEnabled: boolean;
  readonly initScripts: readonly string[];
  readonly tree: JsonNode;
}

export function composeHash(file: Uint8Array | string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(file).digest());
}

/** The id of an app that was not given one at deployment. */
export function defaultAppId(hash: Uint8Array): Uint8Array {
  return hash.slice(0, APP_ID_BYTES);
}

export function parseCompose(file: Uint8Array): AppCompose {
  if (file.length > MAX_COMPOSE_BYTES) throw refuse(`need at most ${MAX_COMPOSE_BYTES} bytes, have ${file.length}`);
  const tree = parseJsonTree(fromUtf8(file, "app-compose", "malformed.compose"), "app-compose", "malformed.compose");
  const parsed = composeSchema.safeParse(plainValue(tree));
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw refuse(`${issue?.path.join(".") || "file"}: ${issue?.message.toLowerCase()}`);
  }
  const members = parsed.data;
  return {
    members,
    keyProvider: members.key_provider ?? impliedProvider(members),
    gatewayEnabled: members.gateway_enabled || members.tproxy_enabled || members.features.includes("tproxy-net"),
    initScripts: [members.init_script ?? []].flat(),
    tree,
  };
}

function impliedProvider(members: ComposeMembers): KeyProviderKind {
  if (members.kms_enabled) return "kms";
  return members.local_key_provider_enabled ? "local" : "none";
}

/** What guests measure of the file besides its hash: each script's text, and the policy for GPUs, `{}` if there is none. */
export function measuredParts({ initScripts, tree }: AppCompose): {
  readonly initScriptHashes: readonly Uint8Array[];
  readonly gpuPolicyHash: Uint8Array;
} {
  const policy = memberOf(memberOf(tree, "requirements"), "gpu_policy");
  const text = policy?.kind === "object" ? canonicalForm(policy) : "{}";
  return { initScriptHashes: initScripts.map(composeHash), gpuPolicyHash: composeHash(text) };
}

function memberOf(node: JsonNode | undefined, name: string): JsonNode | undefined {
  return node?.kind === "object" ? node.members.get(name) : undefined;
}

export interface NormalForm {
  readonly text: string;
  readonly hash: Uint8Array;
  /** Whether the file is this form to the last byte. */
  readonly isFile: boolean;
}

/** Two files that differ in white space are different apps: these are the ones that tools would have made of the same content. */
export function normalForms(file: Uint8Array, { tree }: AppCompose): Readonly<Record<"vmm" | "sdk", NormalForm>> {
  const formOf = (text: string): NormalForm => ({ text, hash: composeHash(text), isFile: Buffer.from(text).equals(file) });
  return { vmm: formOf(vmmForm(tree)), sdk: formOf(sdkForm(tree)) };
}

function refuse(detail: string): KmsError {
  return new KmsError("malformed.compose", `app-compose: ${detail}`);
}
