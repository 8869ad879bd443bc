/** Bundles: real collateral goes in and comes out byte for byte, and nothing comes in that was not verified, or only in part. */
import { randomUUID } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { collateralDocument, decodeBundle, encodeBundle } from "../../kms/attestation/tdx/collateral-bundle.ts";
import { collateralFolder } from "../../kms/attestation/tdx/collateral-disk.ts";
import { anchorDigest, importBundle, judgeFolder } from "../../kms/attestation/tdx/collateral-import.ts";
import type { Item } from "../../kms/attestation/tdx/collateral-items.ts";
import { createCollateralStore } from "../../kms/attestation/tdx/collateral-store.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { intelSgxRootCa, loadTrustAnchor, type TrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { createPlatform, collateralJson as jsonOf } from "../../scripts/devnet/platform.ts";
import { simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";
import { expected, readFixture, readQuote } from "../support/tdx-samples.ts";

const base = mkdtempSync(join(tmpdir(), "collateral-bundle-"));
afterAll(() => rmSync(base, { recursive: true, force: true }));
const newDir = () => join(base, randomUUID());
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const refused = (code: string) => expect.objectContaining({ code });

interface Real {
  readonly file: string;
  readonly at: string;
  readonly tee: "tdx" | "sgx";
  readonly fmspc: string;
  readonly ca: "platform" | "processor";
}

const tdx = { tee: "tdx", ca: "platform" } as const;
const real: readonly Real[] = [
  { ...tdx, file: "collateral-b0c06f-2025-06.json", at: "2025-07-01T00:00:00Z", fmspc: "b0c06f000000" },
  { ...tdx, file: "collateral-b0c06f-2026-08.json", at: "2026-08-20T00:00:00Z", fmspc: "b0c06f000000" },
  { ...tdx, file: "collateral-90c06f-2026-06.json", at: "2026-06-20T00:00:00Z", fmspc: "90c06f000000" },
  { ...tdx, file: "collateral-00806f05-2026-01.json", at: "2026-01-28T00:00:00Z", fmspc: "00806f050000" },
  {
    file: "collateral-sgx-00a067110000-2025-06.json",
    at: "2025-07-01T00:00:00Z",
    tee: "sgx",
    fmspc: "00a067110000",
    ca: "processor",
  },
];

async function take(json: string, dir: string, at: string, anchor: TrustAnchor = intelSgxRootCa, dryRun = false) {
  const folder = collateralFolder(dir, anchor);
  const now = new Date(at);
  const imported = await importBundle(decodeBundle(json), { folder, anchor, now }, dryRun);
  const items = judgeFolder(await folder.read(), anchor, now).flatMap(({ problem, item }) =>
    problem === undefined ? [item] : [],
  );
  return { folder, imported, items };
}

describe("real collateral", () => {
  test.each(real)("$file comes out as it went in", async ({ file, at, tee, fmspc, ca }) => {
    const json = text(readFixture(file));
    const { items } = await take(json, newDir(), at);
    const out = collateralDocument(items, tee, fmspc, ca);
    expect(out.trimEnd()).toBe(json.trimEnd());
    const bundle = text(encodeBundle(items, anchorDigest(intelSgxRootCa)));
    const again = await take(bundle, newDir(), at);
    expect(text(encodeBundle(again.items, anchorDigest(intelSgxRootCa)))).toBe(bundle);
  });

  test.each(Object.entries(expected.collateral))("%s is taken from its first second to its last", async (file, facts) => {
    const json = text(readFixture(file));
    // the reference takes a list from the future, this KMS does not
    const from = [facts.usable_from, facts.root_ca_crl.thisUpdate, facts.pck_crl.thisUpdate].toSorted().at(-1) ?? "";
    const shifted = (time: string, ms: number) => new Date(new Date(time).getTime() + ms).toISOString();
    for (const good of [from, facts.usable_to]) await take(json, newDir(), good);
    for (const time of [shifted(from, -1_000), shifted(facts.usable_to, 1_000)]) {
      await expect(take(json, newDir(), time)).rejects.toThrow(/in the future|expired|CrlExpired|CrlNotValidYet/);
    }
  });

  test("of several platforms is one bundle, and each serves its quotes without a network", async () => {
    const dir = newDir();
    const at = "2025-07-01T00:00:00Z";
    for (const { file } of [real[0], real[4]].filter((each) => each !== undefined)) await take(text(readFixture(file)), dir, at);
    const { items } = await take(text(readFixture("collateral-b0c06f-2025-06.json")), dir, at);
    expect(items.map(({ kind }) => kind)).toEqual([
      "root-crl",
      "pck-crl",
      "pck-crl",
      "tcb-info",
      "tcb-info",
      "qe-identity",
      "qe-identity",
    ]);
    const elsewhere = newDir();
    await take(text(encodeBundle(items, anchorDigest(intelSgxRootCa))), elsewhere, at);
    const folder = collateralFolder(elsewhere, intelSgxRootCa);
    const store = createCollateralStore({
      pccsUrl: "",
      anchor: intelSgxRootCa,
      now: () => new Date(at),
      folder,
      isOffline: true,
    });
    for (const [sample, file] of [
      ["tdx-v4-b0c06f-a.bin", "collateral-b0c06f-2025-06.json"],
      ["sgx-v3-00a067110000.bin", "collateral-sgx-00a067110000-2025-06.json"],
    ] as const) {
      const wanted = parseCollateral(text(readFixture(file)));
      expect((await store.collateralFor(parseQuote(readQuote(sample)))).tcbInfo).toBe(wanted.tcbInfo);
    }
  });

  test("of 2026 is newer than that of 2025 in every part, and not the other way round", async () => {
    const dir = newDir();
    for (const { file, at } of real.slice(0, 2)) await take(text(readFixture(file)), dir, at);
    const [old] = real;
    await expect(take(text(readFixture(old?.file ?? "")), dir, old?.at ?? "")).rejects.toEqual(
      refused("unproven.collateral-older"),
    );
  });
});

const start = new Date("2026-06-15T00:00:00Z");
const at = start.toISOString();
const platform = simulatedPlatform({ evaluationNumber: 20, crlNumber: 9 });
const anchor = loadTrustAnchor(platform.rootDer);
const json = jsonOf(platform.collateral(start));
const stranger = createPlatform(new Uint8Array(32).fill(9));
const good = decodeBundle(json).items;
const document = (change: (parsed: Record<string, unknown>) => unknown) =>
  JSON.stringify(change(JSON.parse(text(encodeBundle(good, anchorDigest(anchor))))));
const itemsOf = (change: (item: Record<string, unknown>) => object) =>
  document((parsed) => ({ ...parsed, items: (parsed["items"] as Record<string, unknown>[]).map(change) }));
const spoiled = (kind: Item["kind"], member: string, change: (value: string) => string) =>
  itemsOf((item) => (item["kind"] === kind ? { ...item, [member]: change(String(item[member])) } : item));
const lastByte = (hex: string) => `${hex.slice(0, -2)}${(Number.parseInt(hex.slice(-2), 16) ^ 1).toString(16).padStart(2, "0")}`;

const bad: readonly { name: string; bundle: string; code: string; time?: string }[] = [
  { name: "no JSON", bundle: "<html>", code: "malformed.collateral" },
  { name: "an array", bundle: "[]", code: "malformed.collateral" },
  { name: "another format", bundle: document((parsed) => ({ ...parsed, format: "other" })), code: "malformed.collateral" },
  { name: "another version", bundle: document((parsed) => ({ ...parsed, version: 2 })), code: "malformed.collateral" },
  { name: "an unknown member", bundle: document((parsed) => ({ ...parsed, more: 1 })), code: "malformed.collateral" },
  { name: "a repeated member", bundle: json.replace('"tcb_info"', '"tcb_info":"","tcb_info"'), code: "malformed.collateral" },
  { name: "an unknown kind", bundle: itemsOf((item) => ({ ...item, kind: "other" })), code: "malformed.collateral" },
  {
    name: "a part twice",
    bundle: document((parsed) => ({ ...parsed, items: [...(parsed["items"] as []), ...(parsed["items"] as [])] })),
    code: "malformed.collateral",
  },
  {
    name: "the anchor of another",
    bundle: document((parsed) => ({ ...parsed, anchor: anchorDigest(intelSgxRootCa) })),
    code: "unproven.certificate-chain",
  },
  { name: "parts of another root", bundle: jsonOf(stranger.collateral(start)), code: "unproven.crl" },
  {
    name: "a signer of another root",
    bundle: text(
      encodeBundle(
        decodeBundle(jsonOf(stranger.collateral(start)))
          .items.filter(({ kind }) => kind === "tcb-info")
          .concat(good.filter(({ kind }) => kind === "root-crl")),
        anchorDigest(anchor),
      ),
    ),
    code: "unproven.certificate-chain",
  },
  {
    name: "no root list",
    bundle: text(
      encodeBundle(
        good.filter(({ kind }) => kind !== "root-crl"),
        anchorDigest(anchor),
      ),
    ),
    code: "unavailable.collateral",
  },
  { name: "a tampered root list", bundle: spoiled("root-crl", "crl", lastByte), code: "unproven.crl" },
  { name: "a tampered PCK list", bundle: spoiled("pck-crl", "crl", lastByte), code: "unproven.crl" },
  {
    name: "tampered TCB info",
    bundle: spoiled("tcb-info", "text", (value) => value.replace("OutOfDate", "UpToDate")),
    code: "unproven.collateral-signature",
  },
  {
    name: "a tampered QE identity",
    bundle: spoiled("qe-identity", "signature", lastByte),
    code: "unproven.collateral-signature",
  },
  {
    name: "TCB info under another platform's name",
    bundle: spoiled("tcb-info", "fmspc", () => "00906ed50000"),
    code: "unproven.platform",
  },
  { name: "a list under another CA's name", bundle: spoiled("pck-crl", "ca", () => "processor"), code: "unproven.crl" },
  { name: "what has ended", bundle: json, time: "2026-07-15T00:00:01Z", code: "unproven.crl" },
  { name: "what has not begun", bundle: json, time: "2026-06-13T23:59:59Z", code: "unproven.crl" },
  {
    name: "TCB info that has ended",
    bundle: jsonOf(simulatedPlatform({ crlNextUpdate: new Date("2027-01-01T00:00:00Z") }).collateral(start)),
    time: "2026-07-15T00:00:01Z",
    code: "unproven.collateral-expired",
  },
  {
    name: "a lower number",
    bundle: jsonOf(simulatedPlatform({ evaluationNumber: 19, crlNumber: 9 }).collateral(start)),
    code: "unproven.collateral-older",
  },
  {
    name: "an older list",
    bundle: jsonOf(simulatedPlatform({ evaluationNumber: 20, crlNumber: 8 }).collateral(start)),
    code: "unproven.collateral-older",
  },
];

describe("a bundle with", () => {
  test.each(bad)("$name is refused with $code, and leaves the folder as it was", async ({ bundle, code, time = at }) => {
    const dir = newDir();
    if (code !== "unavailable.collateral") await take(json, dir, at, anchor);
    const before = await collateralFolder(dir, anchor).read();
    await expect(take(bundle, dir, time, anchor)).rejects.toEqual(refused(code));
    expect(await collateralFolder(dir, anchor).read()).toEqual(before);
  });

  test("all that is good is verified and not kept by a dry run", async () => {
    const dir = newDir();
    const { imported } = await take(json, dir, at, anchor, true);
    expect(imported.map(({ isKnown }) => isKnown)).toEqual([false, false, false, false]);
    expect(readdirSync(base)).not.toContain(dir.split("/").at(-1));
  });

  test("the same again changes nothing", async () => {
    const dir = newDir();
    await take(json, dir, at, anchor);
    const { imported } = await take(json, dir, at, anchor);
    expect(imported.every(({ isKnown }) => isKnown)).toBe(true);
  });
});

describe("a KMS that runs", () => {
  const quote = parseQuote(simulatedTd({ platform }).quote(new Uint8Array(64)));

  test("without a network takes an import when a request would fail for want of it, and forgets with a reset", async () => {
    const dir = newDir();
    const folder = collateralFolder(dir, anchor);
    const store = createCollateralStore({ pccsUrl: "", anchor, now: () => start, folder, isOffline: true });
    await expect(store.collateralFor(quote)).rejects.toEqual(refused("unavailable.collateral"));
    await take(json, dir, at, anchor);
    const first = await store.collateralFor(quote);
    expect(store.isCurrent(first)).toBe(true);
    await take(jsonOf(simulatedPlatform({ evaluationNumber: 21, crlNumber: 10 }).collateral(start)), dir, at, anchor);
    await store.refresh();
    expect(store.isCurrent(first)).toBe(false);
    expect((await store.collateralFor(quote)).tcbInfo).toContain(":21,");
    await expect(take(json, dir, at, anchor)).rejects.toEqual(refused("unproven.collateral-older"));
    await collateralFolder(dir, anchor).reset();
    await store.refresh();
    await expect(store.collateralFor(quote)).rejects.toEqual(refused("unavailable.collateral"));
    await take(json, dir, at, anchor);
    expect((await store.collateralFor(quote)).tcbInfo).toContain(":20,");
  });

  test("is without collateral again after the end of what was imported, and says so", async () => {
    const dir = newDir();
    await take(json, dir, at, anchor);
    const now = new Date("2026-07-15T00:00:01Z");
    const store = createCollateralStore({
      pccsUrl: "",
      anchor,
      now: () => now,
      folder: collateralFolder(dir, anchor),
      isOffline: true,
    });
    await expect(store.collateralFor(quote)).rejects.toEqual(refused("unproven.collateral-expired"));
  });
});
