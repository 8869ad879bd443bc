/** The simulated machine before a PCCS that a test can spoil: stores with a clock that is set by hand, on a folder or without one. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect } from "vitest";
import { type CollateralDisk, collateralFolder, systemCollateralDisk } from "../../../kms/attestation/tdx/collateral-disk.ts";
import {
  type CollateralStore,
  type CollateralStoreSettings,
  createCollateralStore,
} from "../../../kms/attestation/tdx/collateral-store.ts";
import { parseQuote } from "../../../kms/attestation/tdx/quote.ts";
import { loadTrustAnchor } from "../../../kms/attestation/tdx/trust-anchor.ts";
import type { PlatformKnobs } from "../../../scripts/devnet/platform.ts";
import { simulatedPlatform, simulatedTd } from "../../support/simulated-td.ts";
import { type SpoiledPccs, startPccs } from "./spoiled-pccs.ts";

export const start = new Date("2026-06-15T00:00:00Z");
export const hour = 60 * 60 * 1000;
export const day = 24 * hour;
export const platform = simulatedPlatform();
export const anchor = loadTrustAnchor(platform.rootDer);
export const quote = parseQuote(simulatedTd({ platform }).quote(new Uint8Array(64)));
export const refused = (code: string) => expect.objectContaining({ code });
export const later = (ms: number) => new Date(start.getTime() + ms);

type Changes = Partial<Omit<CollateralStoreSettings, "pccsUrl" | "anchor" | "now" | "folder">>;

/** For the tests of one file: each world has a PCCS, a folder and a time of its own, and is taken down after its test. */
export function collateralWorlds() {
  const base = mkdtempSync(join(tmpdir(), "collateral-"));
  const servers: SpoiledPccs[] = [];
  const stores: CollateralStore[] = [];
  let folders = 0;
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.settled())); // a folder that is written to cannot be removed
    for (const server of servers.splice(0)) await server.stop();
  });
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  return async (knobs: PlatformKnobs = {}) => {
    const pccs = await startPccs(start, knobs);
    servers.push(pccs);
    folders += 1;
    const dir = join(base, `${folders}`);
    let time = start;
    const now = () => time;
    const create = (settings: Changes & Pick<CollateralStoreSettings, "folder">) => {
      const store = createCollateralStore({ pccsUrl: pccs.url, anchor, now, ...settings });
      stores.push(store);
      return store;
    };
    return {
      pccs,
      dir,
      now,
      at: (next: Date) => {
        time = next;
      },
      pass: (ms: number) => {
        time = new Date(time.getTime() + ms);
      },
      /** A store as a KMS that starts on the folder has it. */
      open: (changes: Changes = {}, disk: CollateralDisk = systemCollateralDisk) =>
        create({ ...changes, folder: collateralFolder(dir, anchor, disk) }),
      /** A store that forgets everything with its process. */
      forgetful: (changes: Changes = {}) => create(changes),
    };
  };
}
