/** The legacy OS image check: the launch registers computed from the image itself, which is downloaded when it is not at hand. */
import { KmsError } from "../../errors.ts";
import type { TdReport10, TdReport15 } from "../tdx/report.ts";
import type { AcpiSource } from "./acpi.ts";
import type { ImageFiles } from "./image-files.ts";
import { fileRegistersOf, measureImage } from "./measure.ts";
import { measurementKey } from "./measurement-key.ts";
import { type FileRegisters, type LaunchRegisters, requireFileRegisters, requireRegisters } from "./registers.ts";
import { SharedWork, type SharedWorkSettings } from "./shared-work.ts";
import type { VmConfig } from "./vm-config.ts";

export interface LegacyImage {
  files(): Promise<ImageFiles>;
  prove(): Promise<void>;
}

export interface LegacyCheckSettings {
  readonly images: { open(osImageHash: Uint8Array, app: string, until: number): Promise<LegacyImage> };
  readonly measurements: {
    load(key: string): Promise<LaunchRegisters | undefined>;
    store(key: string, registers: LaunchRegisters): Promise<void>;
  };
  readonly acpi: AcpiSource;
  /** How long a caller waits. */
  readonly patienceMs?: number;
}

interface HashedImage {
  readonly files: ImageFiles;
  readonly registers: FileRegisters;
}

/** `app` is in whose name the work is done. */
export type LegacyCheck = (report: TdReport10 | TdReport15, config: VmConfig, app: string) => Promise<void>;

/** Hashing is all they do, so more at once would only make each slower. */
const MEASURED_AT_ONCE = 2;
const MAX_WAITING = 64;
/** Kinds of machine that an app has at once. A guest says what machine it is, so a hostile one can say a new one each time. */
const MAX_OF_ONE_APP = 8;
/** So that a slow start of one app's guests leaves places for others. */
const MAX_CALLERS_OF_ONE_APP = 16;
/** For download, hashing and measuring together: callers have to be answered in less than a minute. */
const PATIENCE_MS = 45_000;
/** The program behind it may have taken a minute to fail. */
const REST_MS = 10_000;

export function createLegacyCheck(legacy: LegacyCheckSettings): LegacyCheck {
  const { images, measurements, acpi, patienceMs = PATIENCE_MS } = legacy;
  const late = {
    code: "unavailable.timeout",
    message: "the OS image is being measured, which goes on: try again later",
  } as const;
  const settings: SharedWorkSettings = {
    running: MEASURED_AT_ONCE,
    waiting: MAX_WAITING,
    ofOneOwner: MAX_OF_ONE_APP,
    callersOfOneOwner: MAX_CALLERS_OF_ONE_APP,
    patienceMs,
    late,
    restMs: REST_MS,
  };
  const hashing = new SharedWork<HashedImage>(settings);
  const works = new SharedWork<LaunchRegisters>(settings);
  return async (report, config, app) => {
    if (config.osImageHash.length === 0) throw new KmsError("unproven.os-image", "os_image_hash: need 32 bytes, have none");
    const until = performance.now() + patienceMs;
    const image = await images.open(config.osImageHash, app, until);
    const key = measurementKey(config);
    const known = await measurements.load(key);
    if (known !== undefined) {
      await image.prove();
      return requireRegisters(known, report);
    }
    const hash = async (): Promise<HashedImage> => {
      const files = await image.files();
      return { files, registers: fileRegistersOf(files, config) };
    };
    const { files, registers } = await hashing.run(key, hash, app, until);
    // whoever names an image without having started it makes no program run for ACPI tables
    requireFileRegisters(registers, report);
    const computed = await works.run(key, () => measureImage(files, config, acpi), app, until);
    requireRegisters(computed, report);
    await measurements.store(key, computed);
  };
}
