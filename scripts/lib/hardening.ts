/** The switches of both contracts between their names and the bits on the chain. */
import { usageError } from "./cli.ts";
import type { Plan } from "./owner-change.ts";

/** In the order of their bits, the first being 1. */
export const kmsSwitches = [
  "strictChanges",
  "keepOwner",
  "checkRootKeys",
  "factoryOnly",
  "checkContracts",
  "boundedAppCalls",
  "strictApps",
] as const;
export const appSwitches = ["strictChanges", "keepOwner"] as const;

export interface Switching {
  readonly on: string | undefined;
  readonly off: string | undefined;
}

export function switchesText(bits: bigint, known: readonly string[]): Record<string, boolean> {
  return Object.fromEntries(known.map((name, index) => [name, isOn(bits, index)]));
}

/** The call depends on what is on already, so the plan is made with the state at hand. */
export function hardeningPlan(before: bigint, { on, off }: Switching, known: readonly string[]): Plan {
  const [turnOn, turnOff] = [bitsOf(on, "--on", known), bitsOf(off, "--off", known)];
  if ((turnOn & turnOff) !== 0n) throw usageError("a switch is both in --on and in --off", "name each switch once");
  const after = (before | turnOn) & ~turnOff;
  return {
    getter: "hardening",
    functionName: "setHardening",
    args: [after],
    what: "switches",
    after: () => after,
    noOp: "already so",
    shown: (value) => switchesText(typeof value === "bigint" ? value : 0n, known),
  };
}

function bitsOf(names: string | undefined, option: string, known: readonly string[]): bigint {
  if (names === undefined) return 0n;
  return names
    .split(",")
    .map((name) => {
      const index = name === "all" ? -1 : known.indexOf(name);
      if (name === "all") return (1n << BigInt(known.length)) - 1n;
      if (index < 0)
        throw usageError(`${option}: there is no switch ${name.slice(0, 40)}`, `the switches are ${known.join(", ")}, or all`);
      return 1n << BigInt(index);
    })
    .reduce((bits, bit) => bits | bit, 0n);
}

function isOn(bits: bigint, index: number): boolean {
  return (bits & (1n << BigInt(index))) !== 0n;
}
