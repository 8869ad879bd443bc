/** The two kinds of proxies as an upgrade finds them: what their code answers, and which fixed slots must say the same. */
import { concat, decodeAbiParameters, type Hex, hexToBigInt, keccak256, pad, parseAbiParameters, size, slice, toHex } from "viem";
import type { KmsError } from "../../kms/errors.ts";
import { hinted } from "./cli.ts";

export const ERC1967_IMPLEMENTATION: Hex = "0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc";
export const INITIALIZABLE: Hex = "0xf0c57e16840df040f15088dc2f81fe391c3923bec73e23a9662efc9c229c6a00";
const OWNABLE: Hex = "0x9016d09d72d40fdae2fd8ceac6b6234c7706214fd39c1cd1e609a0528c199300";
const OWNABLE_2_STEP: Hex = "0x237e158222e3e6968b72b9db0d8043aacf074ad9f650f0d1606b4d82ee432c00";

/** How many slots of the gap are read: the older layouts were two longer than today's. */
const gapSlots = 8;

/** What each getter without arguments returned, undecoded; null where the code does not answer it. */
export type Answers = Readonly<Record<string, Hex | null>>;

/** A slot and the words that agree with the answers. */
export interface FixedSlot {
  readonly slot: Hex;
  readonly label: string;
  readonly allowed: readonly Hex[];
}

export interface ProxyKind {
  readonly contract: "KmsAuth" | "AppAuth";
  /** The getter that tells this kind from the other one, and from the layout of one day in July 2025. */
  readonly ownGetter: string;
  readonly otherGetter: string;
  /** Older code lacks some of them; what one answers must never change by an upgrade. */
  readonly getters: readonly string[];
  readonly lists: readonly { readonly index: number; readonly getter: string }[];
  fixedSlots(answers: Answers): readonly FixedSlot[];
}

/** What the layouts from before 3 July 2025 answer, and today's never. */
export const oldGetters = ["apps(address)", "nextAppSequence(address)", "appId()"] as const;

const registeredApps = "registeredApps(address)";
const allowedComposeHashes = "allowedComposeHashes(bytes32)";
const kmsInfoParts = ["kmsInfo.k256Pubkey", "kmsInfo.caPubkey", "kmsInfo.quote", "kmsInfo.eventlog"] as const;

export const kmsAuthKind: ProxyKind = {
  contract: "KmsAuth",
  ownGetter: registeredApps,
  otherGetter: allowedComposeHashes,
  getters: [
    ...["owner()", "pendingOwner()", "kmsInfo()", "gatewayAppId()", "appImplementation()", "appAuthImplementation()"],
    ...["hardening()", "quoteVerifier()", "paused()"],
  ],
  lists: [
    { index: 6, getter: "kmsAllowedAggregatedMrs(bytes32)" },
    { index: 7, getter: "kmsAllowedDeviceIds(bytes32)" },
    { index: 8, getter: "allowedOsImages(bytes32)" },
  ],
  fixedSlots(answers) {
    const parts = decoded("bytes,bytes,bytes,bytes", "kmsInfo()", answers);
    const [gatewayAppId = "0x"] = decoded("bytes", "gatewayAppId()", answers); // text has the form of bytes
    // Strict mode keeps evidence as the code of a contract, and leaves its slot empty.
    const mayBeCode = (index: number) => index >= 2 && answers["hardening()"] !== null;
    return [
      ...ownership(answers),
      ...kmsInfoParts.flatMap((label, index) => dynamicAt(index, label, parts[index] ?? "0x", mayBeCode(index))),
      ...dynamicAt(4, "gatewayAppId", gatewayAppId, false),
      zeroAt(5, "registeredApps"),
      ...this.lists.map(({ index, getter }) => zeroAt(index, nameOf(getter))),
      wordAt(9, "appImplementation", [answerOf(answers, "appImplementation()", "appAuthImplementation()")]),
      ...gapFrom(10),
    ];
  },
};

export const appAuthKind: ProxyKind = {
  contract: "AppAuth",
  ownGetter: allowedComposeHashes,
  otherGetter: registeredApps,
  getters: [
    ...["owner()", "pendingOwner()", "allowAnyDevice()", "requireTcbUpToDate()"],
    ...["hardening()", "upgradesDisabled()", "policyFrozen()"],
  ],
  lists: [
    { index: 0, getter: allowedComposeHashes },
    { index: 2, getter: "allowedDeviceIds(bytes32)" },
  ],
  fixedSlots(answers) {
    const anyDevice = hexToBigInt(answerOf(answers, "allowAnyDevice()")) << 8n;
    const locked = answers["upgradesDisabled()"];
    const locks = locked === null || locked === undefined ? [0n, 1n] : [hexToBigInt(locked)];
    return [
      ...ownership(answers),
      ...this.lists.map(({ index, getter }) => zeroAt(index, nameOf(getter))),
      wordAt(
        1,
        "upgradesDisabled and allowAnyDevice",
        locks.map((lock) => word(anyDevice + lock)),
      ),
      wordAt(3, "requireTcbUpToDate", [answers["requireTcbUpToDate()"] ?? word(0n)]),
      ...gapFrom(4),
    ];
  },
};

export const slotOf = (index: number): Hex => word(BigInt(index));
export const word = (value: bigint): Hex => toHex(value, { size: 32 });
export const listSlot = (index: number, entry: Hex): Hex => keccak256(concat([entry, slotOf(index)]));

/** The lock on upgrades: byte 0 of the slot that holds both switches. */
export function areUpgradesDisabled(words: Readonly<Record<Hex, Hex>>): boolean {
  return (hexToBigInt(words[slotOf(1)] ?? "0x0") & 0xffn) !== 0n;
}

const oldProxy = "a proxy from before 3 July 2025 keeps its code: deploy a new one";

export function layoutRefusal(message: string, hint = oldProxy): KmsError {
  return hinted("denied.upgrade-layout", message, hint);
}

function nameOf(getter: string): string {
  return getter.slice(0, getter.indexOf("("));
}

function answerOf(answers: Answers, getter: string, olderName = getter): Hex {
  const answer = answers[getter] ?? answers[olderName];
  if (answer === null || answer === undefined) throw layoutRefusal(`the proxy's code does not answer ${getter}`);
  return answer;
}

function decoded(types: string, getter: string, answers: Answers): readonly Hex[] {
  const answer = answerOf(answers, getter);
  try {
    return decodeAbiParameters(parseAbiParameters(types), answer).map((part) => toHexText(part));
  } catch {
    throw layoutRefusal(`the proxy's code answers ${getter} in another form`);
  }
}

function toHexText(part: unknown): Hex {
  return `0x${String(part).slice(2)}`;
}

/** Code from before May 2026 has no staged owner: then its slot was never written. */
function ownership(answers: Answers): readonly FixedSlot[] {
  return [
    { slot: OWNABLE, label: "owner", allowed: [answerOf(answers, "owner()")] },
    { slot: OWNABLE_2_STEP, label: "pendingOwner", allowed: [answers["pendingOwner()"] ?? word(0n)] },
  ];
}

function wordAt(index: number, label: string, allowed: readonly Hex[]): FixedSlot {
  return { slot: slotOf(index), label, allowed };
}

/** The slot of a mapping itself, or one that no version has used: anything in it was written under another layout. */
function zeroAt(index: number, label: string): FixedSlot {
  return wordAt(index, label, [word(0n)]);
}

function gapFrom(first: number): readonly FixedSlot[] {
  return Array.from({ length: gapSlots }, (_, index) => zeroAt(first + index, "gap"));
}

/** Bytes or text: up to 31 inside the slot; longer from the slot's hash on, where the first and the last word stand for all. */
function dynamicAt(index: number, label: string, data: Hex, mayBeEmpty: boolean): readonly FixedSlot[] {
  const at = (slot: Hex, value: Hex) => ({ slot, label, allowed: mayBeEmpty ? [value, word(0n)] : [value] });
  const length = size(data);
  if (length < 32) return [at(slotOf(index), concat([pad(data, { dir: "right", size: 31 }), toHex(length * 2, { size: 1 })]))];
  const start = hexToBigInt(keccak256(slotOf(index)));
  const last = Math.ceil(length / 32) - 1;
  return [
    at(slotOf(index), word(BigInt(length * 2 + 1))),
    ...[...new Set([0, last])].map((position) => {
      const bytes = slice(data, position * 32, Math.min(length, (position + 1) * 32));
      return at(word(start + BigInt(position)), pad(bytes, { dir: "right", size: 32 }));
    }),
  ];
}
