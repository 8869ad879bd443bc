/** A process that opens one OS image and says how that ended: for disks that only a namespace of its own can have. */
import { createImageStore } from "../../../kms/attestation/image/cache-images.ts";
import { createMeasurementStore } from "../../../kms/attestation/image/cache-measurements.ts";
import { fromHex } from "../../../kms/bytes.ts";
import { asKmsError } from "../../../kms/errors.ts";

const [cacheDir = "", downloadUrl = "", hash = ""] = process.argv.slice(2);
const images = createImageStore({ cacheDir, downloadUrl, timeoutMs: 10_000 });
const register = new Uint8Array(48);
try {
  await images.recover();
  const files = await (await images.open(fromHex(hash, "hash"))).files();
  const measurements = createMeasurementStore(cacheDir);
  await measurements.store("aa", { mrtd: register, rtmr0: register, rtmr1: register, rtmr2: register });
  const isKept = (await measurements.load("aa")) !== undefined;
  process.stdout.write(JSON.stringify({ kernelBytes: files.kernel.length, isKept }));
} catch (thrown) {
  const { code, message } = asKmsError(thrown);
  process.stdout.write(JSON.stringify({ code, message }));
}
