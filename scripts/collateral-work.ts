/** The work of `./run collateral`: each command from its flags to a result. */
import { writeFile } from "node:fs/promises";
import { collateralDocument, decodeBundle, encodeBundle, MAX_BUNDLE_BYTES } from "../kms/attestation/tdx/collateral-bundle.ts";
import { type CollateralFolder, collateralFolder } from "../kms/attestation/tdx/collateral-disk.ts";
import { createCollateralFetch } from "../kms/attestation/tdx/collateral-fetch.ts";
import {
  anchorDigest,
  type Imported,
  importBundle,
  judgeFolder,
  type PartReport,
} from "../kms/attestation/tdx/collateral-import.ts";
import type { Facts } from "../kms/attestation/tdx/collateral-items.ts";
import { intelSgxRootCa, loadTrustAnchor, type TrustAnchor } from "../kms/attestation/tdx/trust-anchor.ts";
import { utf8 } from "../kms/bytes.ts";
import { loadConfig } from "../kms/config.ts";
import { KmsError } from "../kms/errors.ts";
import { createTunnel } from "../kms/ra-tls/tunnel.ts";
import { type CommandResult, hinted, usageError } from "./lib/cli.ts";
import { bundleText } from "./lib/collateral-file.ts";
import { readInput, readInputText } from "./lib/input-file.ts";
import { tunnelTo } from "./lib/kms-connection.ts";
import { proxiedFetch } from "./lib/proxied-fetch.ts";

export interface FolderFlags {
  readonly config?: string;
  readonly dir?: string;
  readonly root?: string;
  readonly json?: true;
}

export interface ExportFlags extends FolderFlags {
  readonly fmspc?: string;
  readonly tee: "tdx" | "sgx";
  readonly ca: "platform" | "processor";
}

const MAX_CERTIFICATE_FILE = 64 * 1024;

interface Place {
  readonly folder: CollateralFolder;
  readonly anchor: TrustAnchor;
  /** Blank means the default. */
  readonly pccsUrl: string;
}

async function placeOf({ config, dir, root }: FolderFlags): Promise<Place> {
  const settings = dir === undefined ? loadConfig({ explicit: config, cwd: process.cwd() }).settings : undefined;
  const rootFile = root ?? settings?.tdxRootFile;
  const anchor = rootFile === undefined ? intelSgxRootCa : loadTrustAnchor(await readInput(rootFile, MAX_CERTIFICATE_FILE));
  const folder = collateralFolder(dir ?? settings?.collateral.dir ?? "", anchor);
  return { anchor, folder, pccsUrl: settings?.pccsUrl ?? "" };
}

export async function showStatus(flags: FolderFlags, now = new Date()): Promise<CommandResult> {
  const { folder, anchor } = await placeOf(flags);
  const stored = await folder.read();
  const reports = judgeFolder(stored, anchor, now);
  const parts = reports.map((report) => ({
    ...partJson(report.facts, now),
    sha256: report.digest,
    state: stateOf(report),
    ...(report.problem === undefined ? {} : { problem: report.problem.message }),
  }));
  const floors = [...stored.index.floors].map(([name, { number, issued }]) => ({ name, number, issued: iso(issued) }));
  return {
    json: { folder: folder.path, anchor: anchorDigest(anchor), resets: stored.index.generation, parts, floors },
    text: [
      `${folder.path}: ${parts.length === 0 ? "no collateral" : `${parts.length} parts`}`,
      ...reports.map((report) => partLine(report, now)),
    ].join("\n"),
    notes: stored.problems,
  };
}

export async function exportCollateral(file: string | undefined, flags: ExportFlags, now = new Date()): Promise<CommandResult> {
  const { folder, anchor } = await placeOf(flags);
  const reports = judgeFolder(await folder.read(), anchor, now);
  const items = reports.filter(({ problem }) => problem === undefined).map(({ item }) => item);
  if (items.length === 0) throw new KmsError("unavailable.collateral", `${folder.path}: no part that is good now`);
  const content = flags.fmspc === undefined ? encodeBundle(items, anchorDigest(anchor)) : utf8(oneOf(items, flags, flags.fmspc));
  const notes = reports.flatMap(({ problem, facts }) =>
    problem === undefined ? [] : [`left out: ${facts.name}, ${problem.code}`],
  );
  if (file === undefined) {
    if (flags.json === true) throw usageError("--json: needs a file for the bundle", "./run collateral export FILE --json");
    return { json: {}, text: new TextDecoder().decode(content).trimEnd(), notes };
  }
  await writeFile(file, content).catch((cause: unknown) => {
    throw new KmsError("malformed.file", `${file}: cannot be written`, { cause });
  });
  const parts = items.length;
  return { json: { file, parts, bytes: content.length }, text: `${file}: ${parts} parts, ${content.length} bytes`, notes };
}

function oneOf(items: Parameters<typeof collateralDocument>[0], { tee, ca }: ExportFlags, fmspc: string): string {
  return collateralDocument(items, tee, platformOf(fmspc), ca);
}

function platformOf(fmspc: string): string {
  if (/^[0-9a-fA-F]{12}$/.test(fmspc)) return fmspc.toLowerCase();
  throw usageError("--fmspc: need 12 hex digits", "./run collateral status shows those of the folder");
}

export async function importCollateral(
  file: string,
  flags: FolderFlags & { readonly dryRun?: true },
  now = new Date(),
): Promise<CommandResult> {
  const bundle = decodeBundle(bundleText(await readInputText(file, MAX_BUNDLE_BYTES)));
  const place = await placeOf(flags);
  const isDry = flags.dryRun === true;
  const imported = await importBundle(bundle, { ...place, now }, isDry);
  const result = importResult(place.folder, imported, now, isDry ? "would import" : "imported");
  return { ...result, json: { ...result.json, dryRun: isDry } };
}

function importResult(folder: CollateralFolder, imported: readonly Imported[], now: Date, did: string): CommandResult {
  const isNews = imported.filter(({ isKnown }) => !isKnown).length;
  return {
    json: {
      folder: folder.path,
      parts: imported.map(({ facts, isKnown }) => ({ ...partJson(facts, now), known: isKnown })),
    },
    text: [
      `${did} ${imported.length} parts, ${isNews} of them new, into ${folder.path}`,
      ...imported.map(({ facts, isKnown }) => `  ${factsLine(facts, now)}${isKnown ? ", known" : ""}`),
    ].join("\n"),
  };
}

export interface FetchFlags extends FolderFlags {
  readonly fmspc: string;
  readonly tee: "tdx" | "sgx";
  readonly ca: "platform" | "processor";
  readonly pccs?: string;
  readonly proxy?: string;
}

/** What a KMS would ask for on behalf of a quote of this platform, for a machine that makes bundles and runs none. */
export async function fetchCollateral(flags: FetchFlags, now = new Date()): Promise<CommandResult> {
  const { tee, ca, proxy } = flags;
  if (proxy !== undefined) createTunnel(proxy); // one that is none is refused before anything is asked
  const fmspc = platformOf(flags.fmspc);
  const place = await placeOf(flags);
  const fetcher = createCollateralFetch({
    pccsUrl: flags.pccs ?? place.pccsUrl,
    anchor: place.anchor,
    now: () => now,
    fetch: proxiedFetch((url) => tunnelTo(url, proxy, process.env)),
  });
  const keys = [
    { kind: "root-crl" },
    { kind: "pck-crl", ca },
    { kind: "tcb-info", tee, fmspc },
    { kind: "qe-identity", tee },
  ] as const;
  const items = await Promise.all(keys.map((key) => fetcher.item(key)));
  return importResult(place.folder, await importBundle({ items, anchor: undefined }, { ...place, now }), now, "fetched");
}

export async function resetFolder(flags: FolderFlags & { readonly yes?: true }): Promise<CommandResult> {
  const { folder } = await placeOf(flags);
  if (flags.yes !== true) {
    const given = "older collateral that has not ended yet will be accepted again";
    throw hinted("malformed.usage", `reset: ${given}: need --yes`, `./run collateral reset --yes forgets all of ${folder.path}`);
  }
  const { items } = await folder.read();
  await folder.reset();
  return {
    json: { folder: folder.path, parts: items.size },
    text: `${folder.path}: ${items.size} parts and their numbers are forgotten`,
  };
}

function partJson({ name, rank, lastSecond }: Facts, now: Date): object {
  return {
    name,
    number: rank?.number ?? null,
    issued: rank === undefined ? null : iso(rank.issued),
    goodUntil: iso(lastSecond),
    secondsLeft: secondsLeft(lastSecond, now),
  };
}

function partLine(report: PartReport, now: Date): string {
  const { problem } = report;
  return `  ${stateOf(report).padEnd(7)} ${factsLine(report.facts, now)}${problem === undefined ? "" : `: ${problem.code}`}`;
}

function factsLine({ name, rank, lastSecond }: Facts, now: Date): string {
  const series = rank === undefined ? "" : `, number ${rank.number} of ${iso(rank.issued)}`;
  return `${name}${series}, good until ${iso(lastSecond)} (${timeLeft(secondsLeft(lastSecond, now))})`;
}

function stateOf({ problem }: PartReport): string {
  if (problem === undefined) return "good";
  return problem.code === "unproven.collateral-expired" ? "ended" : "refused";
}

function secondsLeft(lastSecond: number, now: Date): number {
  return lastSecond - Math.floor(now.getTime() / 1000);
}

function timeLeft(seconds: number): string {
  if (seconds < 0) return "ended";
  const [days, hours, minutes] = [
    Math.floor(seconds / 86_400),
    Math.floor((seconds % 86_400) / 3_600),
    Math.floor((seconds % 3_600) / 60),
  ];
  return days > 0 ? `${days} d ${hours} h left` : hours > 0 ? `${hours} h ${minutes} min left` : `${minutes} min left`;
}

function iso(seconds: number): string {
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`;
}
