/** The answers that no authority gives: refusals, faults, readiness; with the schemas that document them. */
import { z } from "zod";
import { type Boundary, blockSchema, boundaries, type Decision, type DecisionCode } from "./api.ts";

const refusal = (reason: string, code: DecisionCode): Decision => ({ isAllowed: false, reason, gatewayAppId: "", code });
export const invalidRequest = refusal("invalid authorization request", "invalid");
/** One reason for every outage, as clients of this protocol expect; the code tells where. */
export const backendUnavailable = (boundary: Boundary) => refusal("authorization backend unavailable", `unavailable.${boundary}`);

export const errorSchema = z.object({ status: z.literal("error"), message: z.string() });
export type ErrorAnswer = z.output<typeof errorSchema>;
export const backendError: ErrorAnswer = { status: "error", message: "authorization backend unavailable" };
export const notFound: ErrorAnswer = { status: "error", message: "not found" };

export const healthSchema = z.object({ status: z.literal("ok") });
export const healthy: z.output<typeof healthSchema> = { status: "ok" };

/** The block is missing where the policy is no chain's. */
export const readySchema = z.object({ status: z.literal("ready"), block: blockSchema.optional() });
export const notReadySchema = z.object({
  status: z.literal("unavailable"),
  code: z.enum(boundaries.map((name) => `unavailable.${name}` as const)),
});
export type Readiness = z.output<typeof readySchema> | z.output<typeof notReadySchema>;
