/** mr_config_id: the register in which the host commits to the app before launch, in the three versions that guests check. */
import { createHash } from "node:crypto";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { z } from "zod";
import { concat, equal, isZero, needLength, toHex, utf8 } from "../bytes.ts";
import { KmsError } from "../errors.ts";
import { parseJsonTree, plainValue } from "./json-tree.ts";
import { type KeyProviderInfo, keyProviderKinds } from "./key-provider-info.ts";

const PADDING_BYTES = 15;
const DOCUMENT_TAG = "dstack-mr-config-v3:";
/** Five hashes of scripts and five more values. */
export const MAX_DOCUMENT_CHARACTERS = 16 * 1024;

export interface ConfiguredApp {
  readonly composeHash: Uint8Array;
  readonly appId: Uint8Array;
  readonly keyProvider: KeyProviderInfo;
}

export function mrConfigIdV1(composeHash: Uint8Array): Uint8Array {
  return register(1, needLength(composeHash, 32, "compose hash"));
}

export function mrConfigIdV2({ composeHash, appId, keyProvider }: ConfiguredApp): Uint8Array {
  const kind = Uint8Array.of(keyProviderKinds[keyProvider.kind]);
  const fixed = concat(needLength(composeHash, 32, "compose hash"), needLength(appId, 20, "app id"), kind);
  return register(2, keccak_256(concat(fixed, keyProvider.id)));
}

/** `document` is the canonical text; `parseMrConfigDocument` gives it. */
export function mrConfigIdV3(document: string): Uint8Array {
  const content = concat(utf8(DOCUMENT_TAG), Uint8Array.of(0), utf8(document));
  return register(3, new Uint8Array(createHash("sha256").update(content).digest()));
}

function register(version: number, hash: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(version), hash, new Uint8Array(PADDING_BYTES));
}

const hexOf = (bytes: number) => z.string().regex(new RegExp(`^[0-9a-f]{${2 * bytes}}$`));
const documentSchema = z.strictObject({
  version: z.literal(3),
  app_id: hexOf(20).optional(),
  compose_hash: hexOf(32),
  gpu_policy_hash: hexOf(32).optional(),
  key_provider: z.enum(["none", "local", "kms", "tpm"]),
  key_provider_id: z
    .string()
    .regex(/^([0-9a-f]{2})*$/)
    .optional(),
  instance_id: z.union([hexOf(20), z.literal("")]).optional(),
  init_script_hashes: z.array(hexOf(32)).max(5).optional(),
});

export type MrConfigDocument = z.infer<typeof documentSchema>;

export function parseMrConfigDocument(text: string): MrConfigDocument {
  if (text.length > MAX_DOCUMENT_CHARACTERS)
    throw refuse(`need at most ${MAX_DOCUMENT_CHARACTERS} characters, have ${text.length}`);
  const parsed = documentSchema.safeParse(plainValue(parseJsonTree(text, "mr_config document", "malformed.compose")));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw refuse(`${issue?.path.join(".") || "document"}: ${issue?.message.toLowerCase()}`);
}

/** RFC 8785: members by name, no white space. All names and values are ASCII, and the one number is 3. */
export function canonicalMrConfig(document: MrConfigDocument): string {
  return JSON.stringify(document, Object.keys(document).toSorted());
}

export interface MrConfigStanding {
  /** The first byte; 0 if the register is not used. */
  readonly version: number;
  /** Unknown: version 2 before the key provider answered, and version 3, whose document evidence does not carry. */
  readonly state: "unused" | "agrees" | "differs" | "unknown";
}

/** What a guest asks of its own register before it goes on: does it say what the events say? */
export function mrConfigStanding(
  mrConfigId: Uint8Array,
  app: Partial<ConfiguredApp>,
  document?: MrConfigDocument,
): MrConfigStanding {
  const version = mrConfigId[0] ?? 0;
  return { version, state: isZero(mrConfigId) ? "unused" : stateOf(mrConfigId, app, document) };
}

function stateOf(
  mrConfigId: Uint8Array,
  { composeHash, appId, keyProvider }: Partial<ConfiguredApp>,
  document: MrConfigDocument | undefined,
): MrConfigStanding["state"] {
  const among = (...expected: readonly Uint8Array[]) => (expected.some((each) => equal(each, mrConfigId)) ? "agrees" : "differs");
  if (composeHash?.length !== 32 || appId?.length !== 20) return "differs";
  switch (mrConfigId[0]) {
    case 1:
      return among(mrConfigIdV1(composeHash));
    case 2: {
      if (keyProvider === undefined) return "unknown";
      // a host that was given no id to pin commits to none
      const unpinned = { ...keyProvider, id: new Uint8Array(0) };
      return among(
        mrConfigIdV2({ composeHash, appId, keyProvider }),
        mrConfigIdV2({ composeHash, appId, keyProvider: unpinned }),
      );
    }
    case 3:
      if (document === undefined) return "unknown";
      return documentFits(document, { composeHash, appId, keyProvider })
        ? among(mrConfigIdV3(canonicalMrConfig(document)))
        : "differs";
    default:
      return "differs";
  }
}

/** Only the members that are present are compared. */
function documentFits(
  document: MrConfigDocument,
  app: { readonly composeHash: Uint8Array; readonly appId: Uint8Array; readonly keyProvider: KeyProviderInfo | undefined },
): boolean {
  const { key_provider_id: id = "" } = document;
  return (
    document.compose_hash === toHex(app.composeHash) &&
    (document.app_id === undefined || document.app_id === toHex(app.appId)) &&
    (app.keyProvider === undefined ||
      (document.key_provider === app.keyProvider.kind && (id === "" || id === toHex(app.keyProvider.id))))
  );
}

function refuse(detail: string): KmsError {
  return new KmsError("malformed.compose", `mr_config document: ${detail}`);
}
