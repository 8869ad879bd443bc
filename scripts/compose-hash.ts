/** The names of an app: compose hash, app id and mr_config_id of a file, and which tool would have spelled it so. */
import {
  type AppCompose,
  composeHash,
  defaultAppId,
  measuredParts,
  normalForms,
  parseCompose,
} from "../kms/attestation/compose.ts";
import { mrConfigIdV1, mrConfigIdV2 } from "../kms/attestation/mr-config.ts";
import { equal, fromHex, toHex } from "../kms/bytes.ts";
import { type ComposeWarning, composeWarnings, warningText } from "./compose-lint.ts";
import { type CommandResult, hinted } from "./lib/cli.ts";
import { parseHexOption } from "./lib/hex-option.ts";

export interface HashFlags {
  readonly appId?: string;
  readonly expect?: string;
  readonly strict?: true;
}

export interface ComposeReport {
  readonly composeHash: string;
  readonly appId: string;
  readonly form: "vmm" | "sdk" | "other";
  readonly forms: Readonly<Record<"vmm" | "sdk", string>>;
  readonly keyProvider: string;
  readonly mrConfigId: { readonly v1: string; readonly v2: string };
  /** The payloads of the guest's events. */
  readonly gpuPolicyHash: string;
  readonly initScriptHashes: readonly string[];
  readonly warnings: readonly ComposeWarning[];
}

const formNames = {
  vmm: "the VMM client (4 spaces)",
  sdk: "the SDKs (sorted, compact)",
  other: "neither the VMM client nor the SDKs",
};

export function composeHashResult(file: Uint8Array, flags: HashFlags): CommandResult {
  const report = reportOn(file, parseCompose(file), flags);
  if (flags.expect !== undefined) requireExpected(report, flags.expect);
  if (flags.strict === true) requireClean(report.warnings);
  const notes = report.warnings.map((warning) => `warning: ${warningText(warning)}`);
  return { json: report, text: inWords(report), notes };
}

export function requireClean(warnings: readonly ComposeWarning[]): void {
  if (warnings.length === 0) return;
  throw hinted(
    "malformed.compose",
    `${warnings.length} warnings with --strict: ${warnings.map(warningText).join("; ")}`,
    "name every image with its digest, NAME@sha256:…; docker buildx imagetools inspect NAME:TAG prints it",
  );
}

function reportOn(file: Uint8Array, compose: AppCompose, flags: HashFlags): ComposeReport {
  const hash = composeHash(file);
  const appId = flags.appId === undefined ? defaultAppId(hash) : parseHexOption(flags.appId, "--app-id", 20);
  const forms = normalForms(file, compose);
  const measured = measuredParts(compose);
  const { keyProvider: kind, members } = compose;
  const keyProvider = { kind, id: fromHex(members.key_provider_id, "key_provider_id") };
  return {
    composeHash: toHex(hash),
    appId: toHex(appId),
    form: forms.vmm.isFile ? "vmm" : forms.sdk.isFile ? "sdk" : "other",
    forms: { vmm: toHex(forms.vmm.hash), sdk: toHex(forms.sdk.hash) },
    keyProvider: kind,
    mrConfigId: { v1: toHex(mrConfigIdV1(hash)), v2: toHex(mrConfigIdV2({ composeHash: hash, appId, keyProvider })) },
    gpuPolicyHash: toHex(measured.gpuPolicyHash),
    initScriptHashes: measured.initScriptHashes.map(toHex),
    warnings: composeWarnings(compose),
  };
}

/** The hash that a policy allows and the hash that the guest measures differ when a tool rewrote the file between the two. */
function requireExpected(report: ComposeReport, expected: string): void {
  const wanted = parseHexOption(expected, "--expect", 32);
  if (equal(wanted, fromHex(report.composeHash, "compose hash"))) return;
  const form = (["vmm", "sdk"] as const).find((name) => report.forms[name] === toHex(wanted));
  const why =
    form === undefined
      ? "the content differs, not only its spelling"
      : `that is the same content as ${formNames[form]} would write it`;
  throw hinted(
    "malformed.compose",
    `compose hash: need ${toHex(wanted)}, have ${report.composeHash}: ${why}`,
    "hash the very bytes that are delivered to the guest: a file that was written anew is another app",
  );
}

function inWords(report: ComposeReport): string {
  const lines = {
    composeHash: report.composeHash,
    appId: report.appId,
    "written as by": formNames[report.form],
    "hash as VMM": report.forms.vmm,
    "hash as SDK": report.forms.sdk,
    keyProvider: report.keyProvider,
    "mrConfigId v1": report.mrConfigId.v1,
    "mrConfigId v2": report.mrConfigId.v2,
    gpuPolicyHash: report.gpuPolicyHash,
    initScripts: report.initScriptHashes.join(" ") || "none",
  };
  return Object.entries(lines)
    .map(([name, value]) => `${name.padEnd(14)} ${value}`)
    .join("\n");
}
