/** A KMS process that kills itself at one operation of its store: `node crash-driver.ts CONFIG CERT_DIR ACT AFTER TORN [SOURCE_URL]`. */

import { flushCompileCache } from "node:module";
import { toHex } from "../../../kms/bytes.ts";
import { loadConfig } from "../../../kms/config.ts";
import { k256Pubkey } from "../../../kms/keys/root-keys.ts";
import { loadKeySet, recoverKeyStore } from "../../../kms/keys/store.ts";
import { createBootstrap } from "../../../kms/replication/bootstrap.ts";
import { createOnboard } from "../../../kms/replication/onboard.ts";
import { oneAtATime } from "../../../kms/replication/one-at-a-time.ts";
import { reissueCertificates } from "../../../kms/replication/reissue.ts";
import { createServices } from "../../../kms/services.ts";
import { crashDisk } from "./crash-disk.ts";

const [configFile = "", certDir = "", act = "", after = "", torn = "", sourceUrl = ""] = process.argv.slice(2);
const { settings } = loadConfig({ explicit: configFile, cwd: process.cwd() });
const disk = crashDisk({ after: Number(after), torn: torn === "torn", end: () => process.kill(process.pid, "SIGKILL") });
const services = { ...(await createServices(settings, "0.0.0")), ...settings, certDir, disk };
const replication = { ...services, alone: oneAtATime(), warn: () => undefined };
/** When both CA certificates are due, so that a start writes all three. */
const renewalTime = new Date(Date.now() + 3_300 * 86_400_000);

const acts: Readonly<Record<string, () => Promise<Uint8Array>>> = {
  bootstrap: async () => (await createBootstrap(replication).manual("localhost")).k256_pubkey,
  auto: async () => {
    await createBootstrap(replication).auto("localhost");
    return storedKey();
  },
  onboard: () => createOnboard(replication).from(sourceUrl, "localhost"),
  start: async () => {
    await recoverKeyStore(certDir, disk);
    await reissueCertificates({ ...services, now: () => renewalTime }, await loadKeySet(certDir));
    return storedKey();
  },
};

async function storedKey(): Promise<Uint8Array> {
  return k256Pubkey((await loadKeySet(certDir)).rootKeys);
}

flushCompileCache(); // a killed process keeps none, and there are hundreds of them
process.stdout.write(toHex((await acts[act]?.()) ?? new Uint8Array()));
