/** What an endpoint answers as values: quantities in their one spelling, block headers, bytes. */
import type { Hex } from "viem";
import { z } from "zod";
import type { BlockReference } from "./api.ts";
import { UnavailableError } from "./unavailable.ts";

const quantitySchema = z.string().regex(/^0x(0|[1-9a-f][0-9a-f]{0,15})$/);
const hashSchema = z.string().regex(/^0x[0-9a-f]{64}$/);
const headerSchema = z.object({ number: quantitySchema, hash: hashSchema, parentHash: hashSchema, timestamp: quantitySchema });
const bytesSchema = z.string().regex(/^0x([0-9a-f]{2})*$/i);

export interface Header extends BlockReference {
  readonly parentHash: string;
}

export function headerOf(value: unknown): Header {
  if (value === null) throw new UnavailableError("chain-head");
  const { success, data } = headerSchema.safeParse(value);
  if (!success) throw new UnavailableError("rpc-garbage");
  const [number, timestamp] = [Number(data.number), Number(data.timestamp)];
  if (!Number.isSafeInteger(number) || !Number.isSafeInteger(timestamp)) throw new UnavailableError("rpc-garbage");
  return { number, timestamp, hash: data.hash, parentHash: data.parentHash };
}

export function chainIdOf(value: unknown): number {
  const parsed = quantitySchema.safeParse(value);
  if (!parsed.success) throw new UnavailableError("rpc-garbage");
  const id = Number(parsed.data);
  if (!Number.isSafeInteger(id)) throw new UnavailableError("chain-id");
  return id;
}

export function bytesOf(value: unknown): Hex {
  const parsed = bytesSchema.safeParse(value);
  if (!parsed.success) throw new UnavailableError("contract-answer");
  return `0x${parsed.data.slice(2).toLowerCase()}`;
}

export function toQuantity(number: number): Hex {
  return `0x${number.toString(16)}`;
}
