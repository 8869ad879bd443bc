/** Several reads and the block they were made at in one eth_call, by a program that is run but never deployed. */
import type { Hex } from "viem";

/** The largest program that nodes run as a deployment (EIP-3860). */
export const maxProgramBytes = 49_152;
const headBytes = 5 * 32;
const resultHeadBytes = 2 * 32;
/** More would not fit the code size that nodes accept from a deployment (EIP-170). */
const maxAnswerBytes = 24_576;

const op = { add: "01", sub: "03", codecopy: "39", returndatasize: "3d", returndatacopy: "3e", blockhash: "40" } as const;
const env = { timestamp: "42", number: "43", chainid: "46", codesize: "3b", gas: "5a" } as const;
const mem = { mstore: "52", dup2: "81", dup3: "82", dup4: "83", staticcall: "fa", return: "f3" } as const;
const push1 = (value: number): string => `60${hexOf(value, 1)}`;
const push20 = (address: Hex): string => `73${address.slice(2)}`;
const push3 = (value: number): string => `62${hexOf(value, 3)}`;

/** What the EVM itself says about the block that it runs in, and each call's answer, undefined where it reverted. */
export interface AnchoredAnswers {
  readonly number: bigint;
  readonly parentHash: Hex;
  readonly timestamp: bigint;
  readonly chainId: bigint;
  /** Of the contract: a call to an address without code succeeds with nothing. */
  readonly codeSize: bigint;
  readonly results: readonly (Hex | undefined)[];
}

/** No opcode is younger than Istanbul's CHAINID, so that old chains run it too. */
export function anchoredProgram(contract: Hex, calls: readonly Hex[]): Hex {
  const head = [
    [env.number, push1(0), mem.mstore],
    [push1(1), env.number, op.sub, op.blockhash, push1(0x20), mem.mstore],
    [env.timestamp, push1(0x40), mem.mstore],
    [env.chainid, push1(0x60), mem.mstore],
    [push20(contract), env.codesize, push1(0x80), mem.mstore],
    [push1(headBytes)], // the place of the next result stays on the stack
  ].flat();
  const end = [push1(0), mem.return];
  const before = head.join("");
  const after = end.join("");
  const step = createStep(contract);
  let offset = (before.length + calls.length * step(0, 0).length + after.length) / 2;
  let steps = "";
  let bodies = "";
  for (const call of calls) {
    const length = call.length / 2 - 1;
    steps += step(offset, length);
    bodies += call.slice(2);
    offset += length;
  }
  return `0x${before}${steps}${after}${bodies}`;
}

/** With the result's place on the stack: runs one call and leaves the place after its result there. */
function createStep(contract: Hex): (offset: number, length: number) => string {
  const afterHead = [push1(resultHeadBytes), op.add];
  const copy = [mem.dup3, ...afterHead, op.codecopy, push1(0), push1(0)].join("");
  const rest = [
    ...[mem.dup4, ...afterHead, push20(contract), env.gas, mem.staticcall],
    ...[mem.dup2, mem.mstore], // success
    ...[op.returndatasize, mem.dup2, push1(0x20), op.add, mem.mstore],
    ...[op.returndatasize, push1(0), mem.dup3, ...afterHead, op.returndatacopy],
    ...[op.returndatasize, op.add, ...afterHead],
  ].join("");
  return (offset, length) => push3(length) + push3(offset) + copy + push3(length) + rest;
}

/** Throws a RangeError unless the answer, whole bytes in lower case, is exactly that many results. */
export function decodeAnchored(answer: Hex, count: number): AnchoredAnswers {
  const size = answer.length / 2 - 1;
  if (size > maxAnswerBytes) throw new RangeError(`answer of ${size} bytes`);
  let at = 2;
  const take = (length: number): Hex => {
    const end = at + 2 * length;
    if (end > answer.length) throw new RangeError(`answer ends at ${size}`);
    const data: Hex = `0x${answer.slice(at, end)}`;
    at = end;
    return data;
  };
  const word = (): bigint => BigInt(take(32));
  const anchor = { number: word(), parentHash: take(32), timestamp: word(), chainId: word(), codeSize: word() };
  const results = Array.from({ length: count }, () => {
    const isDone = word() === 1n;
    const length = word();
    if (length > BigInt(maxAnswerBytes)) throw new RangeError(`result of ${length} bytes`);
    const data = take(Number(length));
    return isDone ? data : undefined;
  });
  if (at !== answer.length) throw new RangeError(`${(answer.length - at) / 2} bytes after the results`);
  return { ...anchor, results };
}

function hexOf(value: number, bytes: number): string {
  return value.toString(16).padStart(2 * bytes, "0");
}
