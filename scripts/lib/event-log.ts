/** The events of a transaction, decoded where they are our contracts' or the AccessManager's. */
import { type Hex, isHex, parseEventLogs, type TransactionReceipt } from "viem";
import { governedAbi, plain, quoted } from "./solidity-call.ts";

export interface LoggedEvent {
  readonly contract: Hex;
  readonly event: string;
  readonly args: unknown;
}

export function eventsOf({ logs }: TransactionReceipt): LoggedEvent[] {
  return parseEventLogs({ abi: governedAbi, logs }).map(({ address, eventName, args }) => ({
    contract: address,
    event: eventName,
    args: plain(args),
  }));
}

export function eventText({ event, args }: LoggedEvent): string {
  const values = typeof args === "object" && args !== null ? Object.entries(args) : [];
  return `${event}(${values.map(([name, value]) => `${name} ${valueText(value)}`).join(", ")})`;
}

function valueText(value: unknown): string {
  if (typeof value !== "string") return JSON.stringify(value);
  return isHex(value) ? value : quoted(value);
}
