/** The routes of the webhook: limits, schema, one question to the authority, and the closed set of answers. */
import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import {
  type BootInfoMessage,
  type BootKind,
  type Boundary,
  bootInfoSchema,
  type Decision,
  type DecisionCode,
  type InfoResponse,
} from "./api.ts";
import type { Authority } from "./authority.ts";
import { UnavailableError } from "./chain-rpc.ts";

export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface AppSettings {
  readonly authority: Authority;
  readonly log: Log;
  /** Echoed by the description; the RPC endpoint already without credentials, path and query. */
  readonly kmsContractAddr: string;
  readonly ethRpcUrl: string;
  readonly maxBodyBytes?: number;
  readonly maxConcurrent?: number;
}

const defaultMaxBodyBytes = 1024 * 1024;
/** Each running decision may hold a socket for the whole deadline: more are refused at once, never queued. */
const defaultMaxConcurrent = 256;
const jsonType = /^application\/([\w.+-]+\+)?json\s*(;|$)/i;

const refusal = (reason: string, code: DecisionCode): Decision => ({ isAllowed: false, reason, gatewayAppId: "", code });
export const invalidRequest = refusal("invalid authorization request", "invalid");
/** One reason for every outage, as clients of this protocol expect; the code tells where. */
export const backendUnavailable = (boundary: Boundary) => refusal("authorization backend unavailable", `unavailable.${boundary}`);
const errorBody = { status: "error", message: "authorization backend unavailable" };

export function createApp(settings: AppSettings): Hono {
  const { authority, log } = settings;
  const app = new Hono();
  const slots = createSlots(settings.maxConcurrent ?? defaultMaxConcurrent);
  const maxSize = settings.maxBodyBytes ?? defaultMaxBodyBytes;

  for (const kind of ["app", "kms"] as const) {
    app.post(`/bootAuth/${kind}`, bodyLimit({ maxSize, onError: (c) => c.json(invalidRequest, 413) }), async (c) => {
      const boot = jsonType.test(c.req.header("content-type") ?? "") ? parseBoot(await c.req.arrayBuffer()) : undefined;
      if (boot === undefined) return c.json(invalidRequest, 400);
      const release = slots.take();
      if (release === undefined) return c.json(backendUnavailable("overloaded"), 503);
      try {
        return c.json(await decide(settings, kind, boot), 200);
      } finally {
        release();
      }
    });
  }

  app.get("/", async (c) => {
    const release = slots.take();
    if (release === undefined) return c.json(errorBody, 503);
    try {
      return c.json(await describe(settings), 200);
    } catch (error) {
      log.warn({ route: "info", boundary: boundaryOf(error), ...errorNameOf(error) }, "unavailable");
      return c.json(errorBody, 500);
    } finally {
      release();
    }
  });
  app.get("/health", (c) => c.json({ status: "ok" }));
  app.notFound((c) => c.json({ status: "error", message: "not found" }, 404));
  app.onError((error, c) => {
    log.warn({ error: error.name }, "request failed");
    return c.json(errorBody, 500);
  });
  return app;

  async function describe(input: AppSettings): Promise<InfoResponse> {
    const deployment = await authority.deployment();
    return {
      status: "ok",
      kmsContractAddr: input.kmsContractAddr,
      ethRpcUrl: input.ethRpcUrl,
      ...deployment,
      appAuthImplementation: deployment.appImplementation, // the name old clients read
    };
  }
}

/** An outage is answered like a denial, with status 200; the code and the log tell them apart. */
async function decide({ authority, log }: AppSettings, kind: BootKind, boot: BootInfoMessage): Promise<Decision> {
  const start = performance.now();
  const fields = () => ({ route: kind, appId: boot.appId, ms: Math.round(performance.now() - start) });
  try {
    const decision = await authority.decide(kind, boot);
    log.info({ ...fields(), code: decision.code, reason: decision.reason }, decision.isAllowed ? "allowed" : "denied");
    return decision;
  } catch (error) {
    const boundary = boundaryOf(error);
    log.warn({ ...fields(), boundary, ...errorNameOf(error) }, "unavailable");
    return backendUnavailable(boundary);
  }
}

/** Strict UTF-8 and JSON; of a member given twice the last one counts, as in every JSON parser of the platform. */
function parseBoot(body: ArrayBuffer): BootInfoMessage | undefined {
  try {
    return bootInfoSchema.safeParse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body))).data;
  } catch {
    return undefined;
  }
}

function boundaryOf(error: unknown): Boundary {
  return error instanceof UnavailableError ? error.boundary : "internal";
}

/** The name alone of what nobody foresaw: its text may quote anything. */
function errorNameOf(error: unknown): { error?: string } {
  if (error instanceof UnavailableError) return {};
  return { error: error instanceof Error ? error.name : "unknown" };
}

function createSlots(limit: number): { take(): (() => void) | undefined } {
  let taken = 0;
  return {
    take() {
      if (taken >= limit) return undefined;
      taken += 1;
      return () => {
        taken -= 1;
      };
    },
  };
}
