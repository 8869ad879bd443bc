/** Why the registers of a guest are not those of an image: each differing event, and the input that would lead to what the guest has. */

import type { TdxEvent } from "../kms/attestation/evidence.ts";
import { authenticodeSha384 } from "../kms/attestation/image/authenticode.ts";
import type { ImageFiles } from "../kms/attestation/image/image-files.ts";
import { kernelDigest } from "../kms/attestation/image/kernel.ts";
import { commandLineDigest } from "../kms/attestation/image/measure.ts";
import { mrtdOf, type PageOrder } from "../kms/attestation/image/mrtd.ts";
import { isTwoPass } from "../kms/attestation/image/qemu-version.ts";
import {
  type AcpiDigests,
  type NamedDigest,
  registerOf,
  rtmr0Events,
  rtmr1Events,
  rtmr2Events,
  sha384,
} from "../kms/attestation/image/registers.ts";
import { buildTdHob } from "../kms/attestation/image/td-hob.ts";
import { hobWitnessOf, parseTdvf, type Tdvf } from "../kms/attestation/image/tdvf.ts";
import type { VmConfig } from "../kms/attestation/image/vm-config.ts";
import { equal, toHex } from "../kms/bytes.ts";
import { KmsError } from "../kms/errors.ts";
import type { Guest } from "./image-inputs.ts";

export interface Question {
  readonly files: ImageFiles;
  readonly config: VmConfig;
  /** Undefined: RTMR0 cannot be judged as a whole. */
  readonly acpi: AcpiDigests | undefined;
  /** Digests of other machines, to be tried, with words for them. */
  readonly otherAcpi: readonly { readonly digests: AcpiDigests; readonly words: string }[];
  readonly cmdlines: readonly string[];
  readonly guest: Guest;
}

export interface Difference {
  readonly register: string;
  /** Null: there is no log that would tell the events apart. */
  readonly event: string | null;
  readonly expected: string | null;
  readonly actual: string | null;
  /** What it is a digest of, and so what is another if nothing else is found. */
  readonly input: string;
  /** Null: nothing that was tried leads to what the guest has. */
  readonly because: string | null;
}

/** Another input: the digests that it would put in place of the expected ones. */
interface Alternative {
  readonly digests: ReadonlyMap<number, Uint8Array>;
  readonly because: string;
}

export function explain(question: Question): Difference[] {
  const tdvf = parseTdvf(question.files.firmware);
  return [...explainMrtd(question, tdvf), ...explainRtmr0(question, tdvf), ...explainRtmr1(question), ...explainRtmr2(question)];
}

function explainMrtd({ config, guest }: Question, tdvf: Tdvf): Difference[] {
  const orders: [PageOrder, PageOrder] = isTwoPass(config) ? ["two-pass", "single-pass"] : ["single-pass", "two-pass"];
  const [expected, other] = orders.map((order) => mrtdOf(tdvf, order));
  const actual = guest.registers.mrtd;
  if (expected === undefined || other === undefined || equal(expected, actual)) return [];
  const words = orders[1] === "two-pass" ? "two passes, as QEMU 8 does" : "a single pass, as QEMU 9 does";
  const because = equal(other, actual)
    ? `pages were added in ${words}: qemu_version or qemu_single_pass_add_pages is another`
    : null;
  return [{ register: "mrtd", event: null, expected: toHex(expected), actual: toHex(actual), input: "the firmware", because }];
}

function explainRtmr0({ config, acpi, otherAcpi, guest }: Question, tdvf: Tdvf): Difference[] {
  const witness = hobWitnessOf(tdvf);
  const logged = replayed(guest, 0)?.slice(8, 11) ?? [];
  const [loader, rsdp, tables] = logged.map(({ digest }) => digest);
  const digests = acpi ?? (loader && rsdp && tables ? { loader, rsdp, tables } : undefined);
  if (digests === undefined) return [];
  const expected = rtmr0Events(buildTdHob(witness, BigInt(config.memorySize)), digests);
  if (isRegister(expected, guest.registers.rtmr0)) return [];
  const memory = memorySizes()
    .filter((bytes) => bytes !== config.memorySize)
    .map((bytes) => ({
      digests: new Map([[0, sha384(buildTdHob(witness, BigInt(bytes)))]]),
      because: `the machine has ${bytes} bytes of memory, the configuration says ${config.memorySize}`,
    }));
  const machines = [...swapped(digests), ...otherAcpi.map(({ digests: known, words }) => acpiAlternative(known, words))];
  return explainRegister(0, expected, guest, [memory, machines]);
}

function isRegister(events: readonly NamedDigest[], value: Uint8Array): boolean {
  return equal(registerOf(events.map(({ digest }) => digest)), value);
}

function explainRtmr1({ files, config, guest }: Question): Difference[] {
  const initrdSize = files.initrd.size;
  const memorySize = BigInt(config.memorySize);
  const expected = rtmr1Events(kernelDigest(files.kernel, { memorySize, initrdSize }));
  if (isRegister(expected, guest.registers.rtmr1)) return [];
  const loaded = (bytes: number): Alternative[] => {
    try {
      const digest = kernelDigest(files.kernel, { memorySize: BigInt(bytes), initrdSize });
      return [
        {
          digests: new Map([[0, digest]]),
          because: `the kernel was loaded for ${bytes} bytes of memory, the configuration says ${config.memorySize}`,
        },
      ];
    } catch (thrown) {
      if (thrown instanceof KmsError) return [];
      throw thrown;
    }
  };
  const unpatched = {
    digests: new Map([[0, authenticodeSha384(files.kernel)]]),
    because: "the kernel was measured as it is in the file, without the loader's changes",
  };
  return explainRegister(1, expected, guest, [[unpatched, ...loadedMemorySizes.flatMap(loaded)]], (event) =>
    kernelSize(event, files.kernel),
  );
}

/** EFI_IMAGE_LOAD_EVENT has the image's length behind its place. */
function kernelSize({ eventPayload }: TdxEvent, kernel: Uint8Array): string | null {
  if (eventPayload.length < 16) return null;
  const bytes = new DataView(eventPayload.buffer, eventPayload.byteOffset).getBigUint64(8, true);
  return bytes === BigInt(kernel.length) ? null : `the measured kernel has ${bytes} bytes, the image's ${kernel.length}`;
}

function explainRtmr2({ files, cmdlines, guest }: Question): Difference[] {
  const expected = rtmr2Events(commandLineDigest(files.cmdline), files.initrd.sha384);
  const bare = (text: string) => sha384(new Uint8Array(Buffer.from(`${text}\0`, "utf16le")));
  const withText = (digest: Uint8Array, because: string) => ({ digests: new Map([[0, digest]]), because });
  const lines = [
    withText(bare(files.cmdline), "the command line has no ` initrd=initrd` at its end"),
    withText(commandLineDigest(files.cmdline.trim()), "the command line has no space around it"),
    ...cmdlines.map((text) => withText(commandLineDigest(text), `the command line is: ${text} initrd=initrd`)),
    ...cmdlines.map((text) => withText(bare(text), `the command line is: ${text}`)),
  ];
  return explainRegister(2, expected, guest, [lines]);
}

function explainRegister(
  index: 0 | 1 | 2,
  expected: readonly NamedDigest[],
  guest: Guest,
  groups: readonly (readonly Alternative[])[],
  judge: (event: TdxEvent) => string | null = () => null,
): Difference[] {
  const register = `rtmr${index}`;
  const actual = [guest.registers.rtmr0, guest.registers.rtmr1, guest.registers.rtmr2][index] ?? new Uint8Array(0);
  const digests = expected.map(({ digest }) => digest);
  const value = registerOf(digests);
  if (equal(value, actual)) return [];
  const log = replayed(guest, index);
  if (log !== undefined) return eventDifferences(register, expected, log, groups.flat(), judge);
  const because =
    searched(digests, actual, groups) ?? (hasEvents(guest, index) ? "the event log is not that of this register" : null);
  const input = inputs[register] ?? "the image";
  return [{ register, event: null, expected: toHex(value), actual: toHex(actual), input, because }];
}

/** The log's events of a register, if they lead to its value: otherwise they explain nothing. */
function replayed(guest: Guest, index: 0 | 1 | 2): TdxEvent[] | undefined {
  const events = guest.eventLog.filter(({ imr }) => imr === index);
  const actual = [guest.registers.rtmr0, guest.registers.rtmr1, guest.registers.rtmr2][index] ?? new Uint8Array(0);
  const isLog = events.length > 0 && equal(registerOf(events.map(({ digest }) => digest)), actual);
  return isLog ? events : undefined;
}

function hasEvents({ eventLog }: Guest, index: number): boolean {
  return eventLog.some(({ imr }) => imr === index);
}

function eventDifferences(
  register: string,
  expected: readonly NamedDigest[],
  log: readonly TdxEvent[],
  alternatives: readonly Alternative[],
  judge: (event: TdxEvent) => string | null,
): Difference[] {
  const isLogged = (index: number, digest: Uint8Array) => equal(log[index]?.digest ?? new Uint8Array(0), digest);
  const right = alternatives.filter(({ digests }) => [...digests].every(([index, digest]) => isLogged(index, digest)));
  return Array.from({ length: Math.max(expected.length, log.length) }, (_, index): Difference[] => {
    const ours = expected[index];
    const theirs = log[index];
    if (ours !== undefined && isLogged(index, ours.digest)) return [];
    const because = right.find(({ digests }) => digests.has(index))?.because ?? (theirs === undefined ? null : judge(theirs));
    return [
      {
        register,
        event: ours?.name ?? `event ${index}`,
        expected: ours === undefined ? null : toHex(ours.digest),
        actual: theirs === undefined ? null : toHex(theirs.digest),
        input: inputs[ours?.name ?? ""] ?? "the firmware",
        because,
      },
    ];
  }).flat();
}

/** One alternative alone, or one of each of two groups: more would be found by chance only. */
function searched(
  digests: readonly Uint8Array[],
  actual: Uint8Array,
  groups: readonly (readonly Alternative[])[],
): string | undefined {
  const leads = (...chosen: readonly Alternative[]) => {
    const changed = chosen.reduce<readonly Uint8Array[]>(
      (list, { digests: put }) => list.map((digest, at) => put.get(at) ?? digest),
      digests,
    );
    return equal(registerOf(changed), actual);
  };
  const single = groups.flat().find((alternative) => leads(alternative));
  if (single !== undefined) return single.because;
  const [first = [], second = []] = groups;
  for (const one of second) {
    const other = first.find((alternative) => leads(alternative, one));
    if (other !== undefined) return `${other.because}; ${one.because}`;
  }
  return undefined;
}

/** By register and by event; every other event is the firmware's own. */
const inputs: Readonly<Record<string, string>> = {
  rtmr0: "the memory, the devices of the machine, or the firmware",
  rtmr1: "the kernel, or the size of the initrd",
  rtmr2: "the command line, or the initrd",
  "TD HOB": "the memory, or the firmware",
  "ACPI loader": "the devices of the machine",
  "ACPI RSDP": "the devices of the machine",
  "ACPI tables": "the devices of the machine",
  kernel: "the kernel, or the size of the initrd",
  "command line": "the command line",
  initrd: "the initrd",
};

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** Each 64 MiB up to 4 GiB, each GiB up to 1 TiB, each power of two up to 64 TiB. */
function memorySizes(): number[] {
  const small = Array.from({ length: 64 }, (_, index) => (index + 1) * 64 * MIB);
  const middle = Array.from({ length: 1020 }, (_, index) => (index + 5) * GIB);
  return [...small, ...middle, ...[2, 4, 8, 16, 32, 64].map((tebibytes) => tebibytes * 1024 * GIB)];
}

/** Where the initrd's place depends on memory, and 2 GiB for all other sizes. */
const loadedMemorySizes = [2 * GIB, ...[1, 2, 3, 4, 5, 6, 7, 9, 10].map((quarters) => (quarters * GIB) / 4)];

function acpiAlternative({ loader, rsdp, tables }: AcpiDigests, because: string): Alternative {
  return {
    digests: new Map([
      [8, loader],
      [9, rsdp],
      [10, tables],
    ]),
    because,
  };
}

function swapped({ loader, rsdp, tables }: AcpiDigests): Alternative[] {
  const because = "the ACPI digests are in another order";
  return [
    { loader, rsdp: tables, tables: rsdp },
    { loader: rsdp, rsdp: loader, tables },
    { loader: rsdp, rsdp: tables, tables: loader },
    { loader: tables, rsdp: loader, tables: rsdp },
    { loader: tables, rsdp, tables: loader },
  ].map((digests) => acpiAlternative(digests, because));
}
