/** Calls of our contracts between text and bytes: `addOsImageHash(0x…)` by the contract's ABI, and back. */
import {
  type Abi,
  type AbiFunction,
  type AbiParameter,
  decodeFunctionData,
  encodeFunctionData,
  getAddress,
  type Hex,
  isAddress,
  isHex,
  size,
  toFunctionSelector,
} from "viem";
import { KmsError } from "../../kms/errors.ts";
import { authorityAbi } from "./authority-abi.ts";
import { usageError } from "./cli.ts";
import { parseUntil } from "./dates.ts";
import { appAuthAbi, kmsAuthAbi } from "./governance-abi.ts";
import { parseRole } from "./roles.ts";
import { parseCall, type Term } from "./solidity-term.ts";

/** What is known of a call; a function that no ABI here has stays bytes. */
export interface DecodedCall {
  readonly function: string | null;
  readonly args: readonly unknown[];
  readonly text: string;
  readonly data: Hex;
}

/** All functions that governance may call: both contracts' and the AccessManager's own. */
export const governedAbi: Abi = [...kmsAuthAbi, ...appAuthAbi, ...authorityAbi];

const isMutator = (item: Abi[number]): item is AbiFunction =>
  item.type === "function" && item.stateMutability !== "view" && item.stateMutability !== "pure";

/** Each once: the contracts share some. */
const mutators = [...new Map(governedAbi.filter(isMutator).map((item) => [toFunctionSelector(item), item])).values()];

export function encodeCall(written: string): Hex {
  const { name, terms } = parseCall(written);
  const named = mutators.filter((item) => item.name === name);
  if (named.length === 0) {
    const names = [...new Set(mutators.map((item) => item.name))];
    throw usageError(`unknown function ${name}`, `the functions are ${names.join(", ")}; for another one pass --data 0x…`);
  }
  let refusal: KmsError | undefined;
  for (const item of named) {
    try {
      const args = toValues(terms, item.inputs, name);
      return encodeFunctionData({ abi: [item], functionName: name, args });
    } catch (cause) {
      if (!(cause instanceof KmsError)) throw cause;
      refusal = cause; // another form may fit
    }
  }
  if (named.length === 1 && refusal !== undefined) throw refusal;
  throw usageError(`the arguments fit no form of ${name}`, `the forms are ${[...new Set(named.map(signature))].join(" and ")}`);
}

export function decodeCall(data: Hex): DecodedCall {
  try {
    const { functionName, args = [] } = decodeFunctionData({ abi: mutators, data });
    const selector = data.slice(0, 10);
    const item = mutators.find((one) => one.name === functionName && toFunctionSelector(one) === selector);
    const inputs = item?.inputs ?? [];
    const texts = args.map((value, index) => written(value, inputs[index]?.type ?? ""));
    return { function: functionName, args: args.map(plain), text: `${functionName}(${texts.join(", ")})`, data };
  } catch {
    return { function: null, args: [], text: `unknown function ${data.slice(0, 10)}`, data };
  }
}

/** JSON has no bigint: whole numbers that fit become numbers, others stay digits. */
export function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString();
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, plain(member)]));
  }
  return value;
}

function written(value: unknown, type: string): string {
  if (Array.isArray(value)) return `[${value.map((member) => written(member, type.replace(/\[\d*\]$/, ""))).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    return `(${Object.values(value)
      .map((member) => written(member, ""))
      .join(", ")})`;
  }
  return type === "string" ? quoted(String(value)) : String(value);
}

/** Text from the chain may be anybody's: no control character and no look-alike reaches the terminal. */
export function quoted(text: string): string {
  return JSON.stringify(text).replaceAll(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

const signature = (item: AbiFunction): string =>
  `${item.name}(${item.inputs.map(({ type, name }) => `${type} ${name}`.trim()).join(", ")})`;

function toValues(terms: readonly Term[], inputs: readonly AbiParameter[], where: string): unknown[] {
  if (terms.length !== inputs.length) {
    throw usageError(
      `${where}: need ${inputs.length} arguments, have ${terms.length}`,
      `they are ${inputs.map(({ type, name }) => `${type} ${name}`).join(", ")}`,
    );
  }
  return inputs.map((input, index) => toValue(terms[index], input));
}

function toValue(term: Term | undefined, input: AbiParameter): unknown {
  const { type, name: label = type } = input;
  const element = /^(.*)\[\]$/.exec(type)?.[1];
  if (element !== undefined) {
    if (term?.kind !== "array") throw needs(label, `an array of ${element} in brackets`);
    return term.terms.map((member) => toValue(member, { ...input, type: element }));
  }
  if ("components" in input) {
    if (term?.kind !== "tuple") throw needs(label, "a tuple in parentheses");
    const values = toValues(term.terms, input.components, label);
    return Object.fromEntries(input.components.map((component, index) => [component.name, values[index]]));
  }
  if (term === undefined || !("text" in term)) throw needs(label, type);
  return toScalar(term.text, type, label);
}

function toScalar(text: string, type: string, label: string): unknown {
  if (type === "string") return text;
  if (type === "bool") {
    if (text === "true" || text === "false") return text === "true";
    throw needs(label, "true or false");
  }
  if (type === "address") {
    if (/^0x[0-9a-fA-F]{40}$/.test(text) && isAddress(text)) return getAddress(text);
    throw needs(label, "an address: 0x and 40 hex digits, checksum right or all lower case");
  }
  if (type.startsWith("bytes")) return toBytes(text, type, label);
  if (label === "until") return parseUntil(text, label);
  if (label === "roleId" || label === "admin" || label === "guardian") return parseRole(text);
  if (/^\d{1,78}$/.test(text) && BigInt(text) < 1n << BigInt(type.slice("uint".length))) return BigInt(text);
  throw needs(label, `${type} in decimal digits`);
}

function toBytes(text: string, type: string, label: string): Hex {
  const need = type === "bytes" ? undefined : Number(type.slice("bytes".length));
  if (!isHex(text) || text.length % 2 !== 0) throw needs(label, `${type}: hex with 0x`);
  if (need !== undefined && size(text) !== need) throw needs(label, `${need} bytes of hex, have ${size(text)}`);
  return text;
}

function needs(label: string, what: string): KmsError {
  return usageError(`argument ${label}: need ${what}`, "arguments are written as in Solidity");
}
