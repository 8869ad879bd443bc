/** The webhook's request and response schemas and a client for them: the one file of auth-eth that the KMS imports. */
import { setTimeout as pause } from "node:timers/promises";
import { z } from "zod";
import { createExchanger, type Endpoint, type Exchange, ExchangeError, type Exchanger, endpointOf } from "./exchange.ts";

export const maxTcbStatusPoints = 128;
export const maxAdvisories = 128;
export const maxAdvisoryPoints = 256;
/** A reason is copied into errors and logs: longer ones come only from a hostile app contract. */
export const maxReasonLength = 256;
const maxResponseBytes = 64 * 1024;
const quotedBytes = 512;
/** Long enough for a webhook that is being replaced to listen again. */
const retryPauseMs = 200;

const strictUtf8 = new TextDecoder("utf-8", { fatal: true });

const hash = z.string().regex(/^(0x)?[0-9a-fA-F]{64}$/);
const hashOrEmpty = z.string().regex(/^(0x)?([0-9a-fA-F]{64})?$/);
const addressOrEmpty = z.string().regex(/^(0x)?([0-9a-fA-F]{40})?$/);
const digits = (text: string): string => (text.startsWith("0x") ? text.slice(2) : text);
/** The limits count code points, as JSON Schema's maxLength does: UTF-16 units would halve them for some texts. */
const textOf = (maxPoints: number) =>
  z
    .string()
    .refine((text) => text.length <= maxPoints || (text.length <= 2 * maxPoints && [...text].length <= maxPoints))
    .meta({ maxLength: maxPoints });
const identityForms = {
  anyOf: [
    { type: "object", properties: { appId: { type: "string", pattern: "^(0x)?[0-9a-fA-F]{40}$" } } },
    { type: "object", properties: { teeVariant: { const: "dstack-amd-sev-snp" } }, required: ["teeVariant"] },
  ],
};

/** What the KMS asks about. Unknown members are dropped; nothing is coerced, padded or truncated. */
export const bootInfoSchema = z
  .object({
    teeVariant: textOf(64).optional(),
    mrAggregated: hash,
    osImageHash: hashOrEmpty,
    mrSystem: hashOrEmpty.default(""),
    appId: addressOrEmpty,
    composeHash: hashOrEmpty,
    instanceId: addressOrEmpty,
    deviceId: z.string().regex(/^(0x)?([0-9a-fA-F]{64}|[0-9a-fA-F]{128})$/), // 64 bytes: the raw chip id of a reference SNP node
    tcbStatus: textOf(maxTcbStatusPoints).default(""),
    advisoryIds: z.array(textOf(maxAdvisoryPoints)).max(maxAdvisories).default([]),
  })
  .refine((boot) => digits(boot.appId) !== "" || boot.teeVariant === "dstack-amd-sev-snp")
  .meta(identityForms); // the rule above in JSON Schema's words

/** Where an answer could not be had, for codes and logs: never an URL, never a text of the endpoint's. */
export const boundaries = [
  "rpc-network",
  "rpc-timeout",
  "rpc-too-large",
  "rpc-status",
  "rpc-garbage",
  "rpc-error",
  "rpc-reverted",
  "chain-id",
  "chain-head",
  "no-contract",
  "quorum",
  "stale",
  "contract-answer",
  "policy-file",
  "overloaded",
  "internal",
] as const;
export type Boundary = (typeof boundaries)[number];

/** Why a policy says no, whatever its words are. */
export const denialCodes = [
  "denied.paused",
  "denied.tcb",
  "denied.tcb-advisory",
  "denied.os-image",
  "denied.aggregated-mr",
  "denied.device",
  "denied.app-not-registered",
  "denied.app-suspended",
  "denied.app-not-deployed",
  "denied.app-contract-failed",
  "denied.app-contract-answer",
  "denied.compose-hash",
  "denied.other",
] as const;
export type DenialCode = (typeof denialCodes)[number];

export const decisionCodes = [
  "allowed",
  ...denialCodes,
  ...boundaries.map((name) => `unavailable.${name}` as const),
  "invalid",
] as const;
export type DecisionCode = (typeof decisionCodes)[number];

/** What every webhook of this protocol answers; ours adds the code. A foreign member of that name counts as absent. */
export const bootResponseSchema = z.object({
  isAllowed: z.boolean(),
  gatewayAppId: z.string(),
  reason: z.string(),
  code: z.string().max(64).optional().catch(undefined),
});

/** One gate of the policy, in its order; the task is the one that would let this request through. */
export const gateSchema = z.object({
  gate: z.string(),
  expected: z.string(),
  came: z.string(),
  outcome: z.enum(["passed", "failed", "not-reached"]),
  task: z.string().nullable(),
});

export const blockSchema = z.object({ number: z.int().nonnegative(), hash: z.string(), timestamp: z.int().nonnegative() });

/** Our whole answer: the three members of the protocol keep their meaning, old clients ignore the others. */
export const decisionSchema = bootResponseSchema.extend({
  code: z.enum(decisionCodes),
  /** Where the answer was read. */
  block: blockSchema.optional(),
  trace: z.array(gateSchema).optional(),
});

export const infoResponseSchema = z.object({
  status: z.string(),
  kmsContractAddr: z.string(),
  ethRpcUrl: z.string().optional(),
  gatewayAppId: z.string(),
  chainId: z.int().nonnegative(),
  appImplementation: z.string(),
  appAuthImplementation: z.string().optional(),
  /** The keys on the chain, lower-case hex without prefix; null before registration. Other webhooks leave it out. */
  kmsInfo: z.object({ k256Pubkey: z.string(), caPubkey: z.string() }).nullish(),
});

export type BootKind = "app" | "kms";
export type BootInfoMessage = z.output<typeof bootInfoSchema>;
export type BootResponse = z.output<typeof bootResponseSchema>;
export type Gate = z.output<typeof gateSchema>;
export type BlockReference = z.output<typeof blockSchema>;
export type Decision = z.output<typeof decisionSchema>;
export type InfoResponse = z.output<typeof infoResponseSchema>;

/** The request as the KMS writes it, members in the order of the wire; byte values are lower-case hex without prefix. */
export interface BootRequest {
  readonly teeVariant: string;
  readonly mrAggregated: string;
  readonly osImageHash: string;
  readonly mrSystem: string;
  readonly appId: string;
  readonly composeHash: string;
  readonly instanceId: string;
  readonly deviceId: string;
  readonly keyProviderInfo: string;
  readonly tcbStatus: string;
  readonly advisoryIds: readonly string[];
}

/** Printable ASCII of bounded length: a contract may return any bytes. */
export function boundedReason(reason: string): string {
  return reason.slice(0, maxReasonLength).replace(/[^\x20-\x7e]/g, "?");
}

export type AuthClientFailure = "status" | "decode" | "network" | "timeout";

export class AuthClientError extends Error {
  readonly kind: AuthClientFailure;

  constructor(kind: AuthClientFailure, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "AuthClientError";
    this.kind = kind;
  }
}

export interface AuthClient {
  boot(kind: BootKind, body: BootRequest): Promise<BootResponse>;
  info(): Promise<InfoResponse>;
  /** Ends the kept-alive sockets. */
  close(): void;
}

export interface AuthClientSettings {
  readonly url: string;
  /** For the whole call, the retry and the answer's body included. */
  readonly deadlineMs: number;
  readonly userAgent?: string;
}

/** Decisions are never cached. The webhook retries its own sources: what is repeated here, once, is a call that nobody answered. */
export function createAuthClient(settings: AuthClientSettings): AuthClient {
  const base = settings.url.endsWith("/") ? settings.url : `${settings.url}/`;
  const exchanger = createExchanger();
  const endpoints = new Map<string, Endpoint>();
  const call = (url: string, body?: string) => {
    const endpoint = endpoints.get(url) ?? endpointOf(url);
    endpoints.set(url, endpoint);
    return callWebhook(exchanger, endpoint, settings, body);
  };
  return {
    async boot(kind, body) {
      const answer = await call(`${base}bootAuth/${kind}`, JSON.stringify(body));
      const response = answer.parse(bootResponseSchema);
      return { ...response, reason: boundedReason(response.reason) };
    },
    async info() {
      return (await call(settings.url)).parse(infoResponseSchema);
    },
    close: () => exchanger.close(),
  };
}

interface Answer {
  parse<T extends z.ZodType>(schema: T): z.output<T>;
}

async function callWebhook(
  exchanger: Exchanger,
  endpoint: Endpoint,
  settings: AuthClientSettings,
  body?: string,
): Promise<Answer> {
  const deadline = new AbortController(); // a signal with a time of its own would stay until that has passed
  const timer = setTimeout(() => deadline.abort(), settings.deadlineMs).unref();
  const input = {
    method: body === undefined ? ("GET" as const) : ("POST" as const),
    headers: {
      ...(settings.userAgent && { "user-agent": settings.userAgent }),
      ...(body !== undefined && { "content-type": "application/json" }),
    },
    ...(body !== undefined && { body }),
    signal: deadline.signal,
    maxResponseBytes,
  };
  const { status, body: bytes } = await exchangeTwiceAtMost(exchanger, endpoint, input)
    .catch((cause: unknown) => {
      throw asClientError(endpoint.url, settings.deadlineMs, cause);
    })
    .finally(() => clearTimeout(timer));
  const quoted = () => new TextDecoder().decode(bytes.subarray(0, quotedBytes)); // lossy: a cut character must not throw
  if (status < 200 || status > 299)
    throw new AuthClientError("status", `auth api ${endpoint.url} returned ${status}: ${quoted()}`);
  return {
    parse(schema) {
      try {
        return schema.parse(JSON.parse(strictUtf8.decode(bytes)));
      } catch (cause) {
        const message = `failed to decode response from ${endpoint.url}, status=${status}, body=${quoted()}`;
        throw new AuthClientError("decode", message, { cause });
      }
    },
  };
}

async function exchangeTwiceAtMost(exchanger: Exchanger, endpoint: Endpoint, input: Exchange) {
  try {
    return await exchanger.exchange(endpoint, input);
  } catch (cause) {
    if (!(cause instanceof ExchangeError && cause.isRepeatable)) throw cause;
    await pause(retryPauseMs, undefined, { signal: input.signal }).catch(() => {
      throw cause;
    });
    return await exchanger.exchange(endpoint, input);
  }
}

function asClientError(url: string, deadlineMs: number, cause: unknown): AuthClientError {
  const kind = cause instanceof ExchangeError ? cause.kind : "network";
  if (kind === "timeout")
    return new AuthClientError("timeout", `auth api ${url} did not answer within ${deadlineMs} ms`, { cause });
  if (kind === "too-large") {
    return new AuthClientError("decode", `auth api ${url} answered more than ${maxResponseBytes} bytes`, { cause });
  }
  return new AuthClientError("network", `auth api ${url} cannot be reached`, { cause });
}
