/** The timer of a running KMS, what its metrics say of collateral, and the keys of its configuration. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { collateralFolder } from "../../kms/attestation/tdx/collateral-disk.ts";
import { createCollateralStore } from "../../kms/attestation/tdx/collateral-store.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { collateralMetrics } from "../../kms/collateral-metrics.ts";
import { keepCollateralFresh } from "../../kms/collateral-refresh.ts";
import { loadConfig } from "../../kms/config.ts";
import { createMetrics } from "../../kms/http/metrics.ts";
import { simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";
import { routes, type SpoiledPccs, startPccs, status } from "./support/spoiled-pccs.ts";

const platform = simulatedPlatform();
const anchor = loadTrustAnchor(platform.rootDer);
const quote = parseQuote(simulatedTd({ platform }).quote(new Uint8Array(64)));
const until = async (what: () => boolean) => {
  for (const start = performance.now(); !what(); await new Promise((resolve) => setTimeout(resolve, 20))) {
    if (performance.now() - start > 15_000) throw new Error("it does not come");
  }
};

let pccs: SpoiledPccs;
let dir: string;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "collateral-timer-"));
});
afterEach(async () => {
  await pccs?.stop();
  rmSync(dir, { recursive: true, force: true });
});

test("asks again by itself before collateral ends that is good for seconds, and says once what fails", async () => {
  const now = () => new Date();
  const ends = (seconds: number) => ({ crlNextUpdate: new Date(Date.now() + seconds * 1000) });
  pccs = await startPccs(now(), ends(4));
  const store = createCollateralStore({ pccsUrl: pccs.url, anchor, now, folder: collateralFolder(dir, anchor) });
  const first = await store.collateralFor(quote);
  const said: string[] = [];
  const log = { warn: (_fields: object, message: string) => void said.push(message) };
  keepCollateralFresh({ collateral: store, now, log: log as unknown as Parameters<typeof keepCollateralFresh>[0]["log"] });
  pccs.publish({ ...ends(3_600), crlNumber: 2 });
  await until(() => store.status().every(({ kind, rank }) => !kind.endsWith("crl") || rank?.number === "2"));
  const asked = pccs.requests.length;
  const second = await store.collateralFor(quote);
  expect(second.pckCrl).not.toEqual(first.pckCrl);
  expect(pccs.requests).toHaveLength(asked);
  expect(said).toEqual([]);
  await store.settled();
});

test("GET /metrics has age, end and failures by kind", async () => {
  const start = new Date("2026-06-15T00:00:00Z");
  pccs = await startPccs(start);
  let at = start;
  const store = createCollateralStore({ pccsUrl: pccs.url, anchor, now: () => at });
  const text = () => createMetrics({ collateral: () => collateralMetrics(store, () => at) }).text();
  expect(text()).toContain('keyward_kms_collateral_refresh_failures_total{kind="tcb-info"} 0\n');
  expect(text()).not.toContain("keyward_kms_collateral_age_seconds{");
  await store.collateralFor(quote);
  pccs.spoil(routes.tcb, status(500));
  at = new Date(start.getTime() + 3_600_000);
  await store.collateralFor(quote);
  const day = 86_400;
  expect(text()).toContain(
    `# TYPE keyward_kms_collateral_age_seconds gauge\nkeyward_kms_collateral_age_seconds{kind="root-crl"} ${day + 3_600}\n`,
  );
  expect(text()).toContain(`keyward_kms_collateral_ends_seconds{kind="tcb-info"} ${30 * day - 3_600}\n`);
  expect(text()).toContain(`keyward_kms_collateral_ends_seconds{kind="pck-crl"} ${30 * day - 3_601}\n`);
  expect(text()).toContain('keyward_kms_collateral_refresh_failures_total{kind="tcb-info"} 1\n');
  expect(text()).toContain('keyward_kms_collateral_refresh_failures_total{kind="qe-identity"} 0\n');
});

describe("the configuration", () => {
  const load = (text: string) => {
    writeFileSync(join(dir, "kms.toml"), text);
    return loadConfig({ cwd: dir, env: {}, systemDir: join(dir, "none") }).settings;
  };

  test("puts the folder beside the keys, and goes to the network", () => {
    expect(load("").collateral).toEqual({ dir: "/etc/kms/certs-collateral", isOffline: false });
    expect(load('core.cert_dir = "keys/"').collateral.dir).toBe(join(dir, "keys-collateral"));
  });

  test("names another folder, and keeps off the network", () => {
    const { collateral } = load('[core.attestation.collateral]\ndir = "here"\noffline = true');
    expect(collateral).toEqual({ dir: join(dir, "here"), isOffline: true });
  });

  test.each([
    ["core.attestation.collateral.folder = 'x'", "core.attestation.collateral.folder: unknown key"],
    ["core.attestation.collateral.offline = 'yes'", "core.attestation.collateral.offline"],
    ["core.attestation.collateral.dir = ''", "core.attestation.collateral.dir"],
  ])("%s is refused", (text, message) => {
    expect(() => load(text)).toThrow(message);
  });

  test("of the tutorial asks the same service as the short form", async () => {
    pccs = await startPccs(new Date());
    for (const suffix of ["", "/", "/sgx/certification/v4", "/sgx/certification/v4/", "/tdx/certification/v4"]) {
      const { pccsUrl } = load(`core.pccs_url = "${pccs.url}${suffix}"`);
      const store = createCollateralStore({ pccsUrl, anchor, now: () => new Date() });
      await store.collateralFor(quote);
    }
    expect(new Set(pccs.requests).size).toBe(4);
    expect(pccs.requests).toHaveLength(20);
  });
});
