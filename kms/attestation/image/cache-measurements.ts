/** Launch registers computed before, on disk by the key of their VM configuration. A file that anyone else could have written counts as none. */
import { randomBytes, randomInt } from "node:crypto";
import { constants } from "node:fs";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { fromHex, toHex } from "../../bytes.ts";
import { type LaunchRegisters, REGISTER_BYTES } from "./registers.ts";

/** The name is the key. A caller with an allowed image can make keys by the thousand, so over this many some go. */
export const MAX_MEASUREMENTS = 4096;
const VERSION = 3;
const MAX_FILE_BYTES = 4096;
const ownerOnly = 0o600;
const OTHERS_MAY_WRITE = 0o022;

export interface MeasurementStore {
  /** Undefined where there is none that can be used: it is computed again then. */
  load(key: string): Promise<LaunchRegisters | undefined>;
  /** Of registers that were computed here and that a quote confirmed. A disk that cannot keep them costs time only. */
  store(key: string, registers: LaunchRegisters): Promise<void>;
}

const register = z.string().regex(/^[0-9a-f]{96}$/);
const schema = z.strictObject({
  version: z.literal(VERSION),
  measurements: z.strictObject({ mrtd: register, rtmr0: register, rtmr1: register, rtmr2: register }),
  acpi_data: z.string().optional(),
});

/** What was computed under another file of ACPI digests, named by its digest, counts as none: an entry that was wrong goes with the file. */
export function createMeasurementStore(cacheDir: string, acpiData?: string): MeasurementStore {
  const folder = join(cacheDir, "measurements");
  return {
    async load(key) {
      const text = await readOwn(join(folder, `${key}.json`)).catch(() => undefined);
      return text === undefined ? undefined : parseRegisters(text, acpiData);
    },
    async store(key, registers) {
      try {
        await mkdir(folder, { recursive: true, mode: 0o700 });
        await makeRoom(folder);
        await writeWhole(folder, `${key}.json`, registersText(registers, acpiData));
      } catch {
        // kept in no other place: the next check computes it again
      }
    },
  };
}

/** Without a file of ACPI digests it is what dstack writes. */
export function registersText({ mrtd, rtmr0, rtmr1, rtmr2 }: LaunchRegisters, acpiData?: string): string {
  const measurements = { mrtd: toHex(mrtd), rtmr0: toHex(rtmr0), rtmr1: toHex(rtmr1), rtmr2: toHex(rtmr2) };
  return JSON.stringify({ version: VERSION, measurements, acpi_data: acpiData });
}

function parseRegisters(text: string, acpiData: string | undefined): LaunchRegisters | undefined {
  const { data } = schema.safeParse(readJson(text));
  if (data === undefined || data.acpi_data !== acpiData) return undefined;
  const bytes = (hex: string) => fromHex(hex, "register", REGISTER_BYTES);
  const { mrtd, rtmr0, rtmr1, rtmr2 } = data.measurements;
  return { mrtd: bytes(mrtd), rtmr0: bytes(rtmr0), rtmr1: bytes(rtmr1), rtmr2: bytes(rtmr2) };
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A plain file of this user which nobody else may write. */
async function readOwn(path: string): Promise<string | undefined> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const found = await file.stat();
    const isOwn =
      found.isFile() && found.uid === process.getuid?.() && (found.mode & OTHERS_MAY_WRITE) === 0 && found.nlink === 1;
    return isOwn && found.size <= MAX_FILE_BYTES ? await file.readFile("utf8") : undefined;
  } finally {
    await file.close();
  }
}

async function writeWhole(folder: string, name: string, text: string): Promise<void> {
  const temporary = join(folder, `.${name}.${randomBytes(8).toString("hex")}`);
  try {
    const file = await open(temporary, "wx", ownerOnly);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, join(folder, name));
  } catch (thrown) {
    await rm(temporary, { force: true });
    throw thrown;
  }
}

/** Whose goes is left to chance: keys can be made to order, so by any rule of names one caller could keep the others' out for good. */
async function makeRoom(folder: string): Promise<void> {
  const names = await readdir(folder);
  while (names.length >= MAX_MEASUREMENTS) {
    const [name = ""] = names.splice(randomInt(names.length), 1);
    await rm(join(folder, name), { recursive: true, force: true });
  }
}
