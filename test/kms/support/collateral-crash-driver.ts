/** A process that kills itself at one operation on a collateral folder: `node collateral-crash-driver.ts DIR ROOT BUNDLE ACT NOW AFTER TORN`. */
import { readFileSync } from "node:fs";
import { flushCompileCache } from "node:module";
import { decodeBundle } from "../../../kms/attestation/tdx/collateral-bundle.ts";
import { type CollateralDisk, collateralFolder } from "../../../kms/attestation/tdx/collateral-disk.ts";
import { importBundle } from "../../../kms/attestation/tdx/collateral-import.ts";
import { loadTrustAnchor } from "../../../kms/attestation/tdx/trust-anchor.ts";
import { steppedDisk } from "./stepped-disk.ts";

const [dir = "", root = "", bundle = "", act = "", now = "", after = "", torn = ""] = process.argv.slice(2);

/** A torn write leaves half of its bytes. */
function crashDisk(crashAfter: number, isTorn: boolean): CollateralDisk {
  let done = 0;
  return steppedDisk(async (work, partly) => {
    if (done === crashAfter) {
      if (isTorn) await partly?.();
      process.kill(process.pid, "SIGKILL");
      return new Promise<never>(() => undefined);
    }
    done += 1;
    return work();
  });
}

const anchor = loadTrustAnchor(readFileSync(root));
const folder = collateralFolder(dir, anchor, crashDisk(Number(after), torn === "torn"));
flushCompileCache(); // a killed process keeps none
if (act === "reset") await folder.reset();
else await importBundle(decodeBundle(readFileSync(bundle, "utf8")), { folder, anchor, now: new Date(now) });
