/** The one error of whatever decides: no usable answer, and where it went missing. */
import type { Boundary } from "./api.ts";

const lasting: ReadonlySet<Boundary> = new Set(["rpc-reverted", "chain-id", "chain-head", "no-contract", "contract-answer"]);

export class UnavailableError extends Error {
  readonly boundary: Boundary;

  constructor(boundary: Boundary, options?: { cause?: unknown }) {
    super(`authorization backend unavailable: ${boundary}`, options);
    this.name = "UnavailableError";
    this.boundary = boundary;
  }

  /** Whether asking again can help. */
  get isPassing(): boolean {
    return !lasting.has(this.boundary);
  }
}
