/** The five questions to KmsAuth as call data, and its answers read back: all that a decision needs of the contract ABI. */
import { keccak_256 } from "@noble/hashes/sha3.js";
import type { Hex } from "viem";
import type { AppBootInfo } from "./boot-info.ts";

const wordDigits = 64;
const selectors = { isAppAllowed: "0x1e079198", isKmsAllowed: "0xe067ec9d" } as const;
export const gatewayAppIdCall: Hex = "0x95f51931";
export const appImplementationCall: Hex = "0x25a992da";
export const kmsInfoCall: Hex = "0x09177063";

export function policyCall(functionName: keyof typeof selectors, boot: AppBootInfo): Hex {
  const values = [
    boot.appId,
    boot.composeHash,
    boot.instanceId,
    boot.deviceId,
    boot.mrAggregated,
    boot.mrSystem,
    boot.osImageHash,
  ];
  const heads = values.map((hex) => hex.slice(2).padStart(wordDigits, "0")).join("");
  const status = encodeText(boot.tcbStatus);
  const statusAt = (values.length + 2) * 32;
  const advisoriesAt = statusAt + status.length / 2;
  const tuple = heads + word(statusAt) + word(advisoriesAt) + status + encodeTexts(boot.advisoryIds);
  return `${selectors[functionName]}${word(32)}${tuple}`;
}

function encodeTexts(texts: readonly string[]): string {
  const bodies = texts.map(encodeText);
  let at = 32 * texts.length;
  const places = bodies.map((body) => {
    const place = word(at);
    at += body.length / 2;
    return place;
  });
  return word(texts.length) + places.join("") + bodies.join("");
}

function encodeText(text: string): string {
  const digits = Buffer.from(text, "utf8").toString("hex");
  return word(digits.length / 2) + digits.padEnd(Math.ceil(digits.length / wordDigits) * wordDigits, "0");
}

function word(value: number): string {
  return value.toString(16).padStart(wordDigits, "0");
}

/** Each reader takes whole bytes in lower case and throws a RangeError where they are something else. */
export function verdictOf(answer: Hex): { readonly allows: boolean; readonly reason: string } {
  const digits = answer.slice(2);
  const allows = sizeAt(digits, 0);
  if (allows > 1) throw new RangeError(`a truth value of ${allows}`);
  return { allows: allows === 1, reason: textAt(digits, 1) };
}

export function textOf(answer: Hex): string {
  return textAt(answer.slice(2), 0);
}

/** The keys that are registered, in hex. The evidence behind them is not read. */
export function kmsInfoOf(answer: Hex): { readonly k256Pubkey: string; readonly caPubkey: string } {
  const digits = answer.slice(2);
  return { k256Pubkey: bytesAt(digits, 0), caPubkey: bytesAt(digits, 1) };
}

export function addressOf(answer: Hex): Hex {
  const digits = wordAt(answer.slice(2), 0);
  if (!digits.startsWith("0".repeat(24))) throw new RangeError("more than an address");
  return checksummed(`0x${digits.slice(24)}`);
}

/** EIP-55: a digit's case is a bit of the hash of all. */
export function checksummed(address: Hex): Hex {
  const digits = address.slice(2).toLowerCase();
  const hash = Buffer.from(keccak_256(Buffer.from(digits, "ascii"))).toString("hex");
  const cased = [...digits].map((digit, index) => (hash.charAt(index) >= "8" ? digit.toUpperCase() : digit));
  return `0x${cased.join("")}`;
}

/** What an app's contract says is text of its own making: malformed UTF-8 is shown, not refused. */
function textAt(digits: string, index: number): string {
  return Buffer.from(bytesAt(digits, index), "hex").toString("utf8");
}

function bytesAt(digits: string, index: number): string {
  const place = 2 * sizeAt(digits, index * wordDigits);
  const start = place + wordDigits;
  const end = start + 2 * sizeAt(digits, place);
  if (end > digits.length) throw new RangeError(`bytes up to ${end / 2} of ${digits.length / 2}`);
  return digits.slice(start, end);
}

/** No answer is longer than a number of that many bits. */
function sizeAt(digits: string, at: number): number {
  const text = wordAt(digits, at);
  if (!text.startsWith("0".repeat(wordDigits - 8))) throw new RangeError(`a size of 0x${text}`);
  return Number.parseInt(text.slice(-8), 16);
}

function wordAt(digits: string, at: number): string {
  if (at + wordDigits > digits.length) throw new RangeError(`a word at ${at / 2} of ${digits.length / 2} bytes`);
  return digits.slice(at, at + wordDigits);
}
