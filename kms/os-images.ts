/** The OS image check of a KMS from its settings: images and measurements on disk, ACPI digests from a file and a program. */
import { hash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { AcpiSource } from "./attestation/image/acpi.ts";
import { createAcpiData } from "./attestation/image/acpi-data.ts";
import { ACPI_PROGRAM, createAcpiProgram } from "./attestation/image/acpi-program.ts";
import { createImageStore, type DownloadCounts } from "./attestation/image/cache-images.ts";
import { createMeasurementStore } from "./attestation/image/cache-measurements.ts";
import { createLegacyCheck } from "./attestation/image/legacy.ts";
import { createOsImageCheck, type OsImageCheck } from "./attestation/image/os-image.ts";
import type { Settings } from "./config.ts";
import { asKmsError, inContext, KmsError } from "./errors.ts";

export interface OsImages {
  /** Undefined: `core.image.verify` is off. */
  readonly check: OsImageCheck | undefined;
  readonly counts: () => DownloadCounts;
  /** Who is told of each download that ended, with its problem where there is one. */
  reportTo(report: DownloadReport): void;
}

export type DownloadReport = (image: string, problem: unknown) => void;

export async function createOsImages(image: Settings["image"]): Promise<OsImages> {
  const { cacheDir, downloadUrl, downloadTimeoutMs: timeoutMs } = image;
  let told: DownloadReport = () => undefined;
  const report: DownloadReport = (name, problem) => told(name, problem);
  const images = createImageStore({ cacheDir, downloadUrl, timeoutMs, report });
  const { counts } = images;
  const reportTo = (listener: DownloadReport) => {
    told = listener;
  };
  if (!image.verify) return { check: undefined, counts, reportTo };
  await images.recover();
  const data = image.acpiDataFile === undefined ? undefined : await loadAcpiData(image.acpiDataFile);
  const measurements = createMeasurementStore(cacheDir, data?.sha256);
  const checkLegacy = createLegacyCheck({ images, measurements, acpi: acpiSource(image, data?.source) });
  return { check: createOsImageCheck(checkLegacy), counts, reportTo };
}

/** The file first: it costs nothing, and an operator who wrote an entry means it. */
function acpiSource({ programPath }: Settings["image"], data: AcpiSource | undefined): AcpiSource {
  const program = createAcpiProgram({ program: ACPI_PROGRAM, environment: { PATH: programPath } });
  if (data === undefined) return program;
  return {
    async digestsOf(machine, paths) {
      try {
        return await data.digestsOf(machine, paths);
      } catch (thrown) {
        const missing = asKmsError(thrown);
        if (missing.code !== "unavailable.acpi-tables") throw thrown;
        return await program.digestsOf(machine, paths).catch((cause: unknown) => {
          throw inContext(missing.message, cause);
        });
      }
    },
  };
}

async function loadAcpiData(file: string): Promise<{ readonly source: AcpiSource; readonly sha256: string }> {
  try {
    const text = await readFile(file, "utf8");
    return { source: createAcpiData(text), sha256: hash("sha256", text) };
  } catch (cause) {
    const why = cause instanceof KmsError ? cause.message : "cannot be read";
    throw new KmsError("malformed.config", `core.image.acpi_data: ${file}: ${why}`, { cause });
  }
}
