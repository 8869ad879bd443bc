/** The routes of the webhook: limits, schema, one question to the authority, and the closed set of answers. */
import { type Context, Hono } from "hono";
import { backendError, backendUnavailable, healthy, invalidRequest, notFound, type Readiness } from "./answers.ts";
import {
  type BootInfoMessage,
  type BootKind,
  type Boundary,
  bootInfoSchema,
  boundedReason,
  type Decision,
  type InfoResponse,
} from "./api.ts";
import type { Authority } from "./authority.ts";
import { pageHeaders, renderPage } from "./docs-page.ts";
import type { Metrics } from "./metrics.ts";
import { createDocument } from "./openapi.ts";
import { createBodyReader } from "./request-body.ts";
import { type RequestLog, requestIdOf } from "./request-log.ts";
import { createSlots, sharedWhileRunning } from "./slots.ts";
import { UnavailableError } from "./unavailable.ts";

export interface AppSettings {
  readonly authority: Authority;
  readonly log: RequestLog;
  readonly metrics: Metrics;
  /** For the description, where the authority does not name one itself. */
  readonly kmsContractAddr: string;
  /** Already without credentials, path and query; absent without a chain. */
  readonly ethRpcUrl?: string;
  /** Each running request may hold a socket for the whole deadline: more are refused at once, never queued. */
  readonly maxConcurrent: number;
}

export type App = Hono<{ Variables: { readonly start: number } }>;
type AppContext = Context<{ Variables: { readonly start: number } }>;

const jsonType = /^application\/([\w.+-]+\+)?json\s*(;|$)/i;

export function createApp(settings: AppSettings): App {
  const { log, metrics } = settings;
  const app: App = new Hono();
  app.use((c, next) => {
    const requestId = requestIdOf(c.req.header("x-request-id"));
    c.set("start", performance.now());
    c.header("x-request-id", requestId); // before the answer is made: afterwards it would be made twice
    return log.within(requestId, next);
  });
  const slots = createSlots(settings.maxConcurrent, metrics.running);
  const bodies = createBodyReader();
  for (const kind of ["app", "kms"] as const) {
    app.post(`/bootAuth/${kind}`, async (c) => {
      const body = await bodies.read(c.req.raw);
      // What is left of it is never read, so the connection cannot carry another request
      const end = { connection: "close" };
      if (body === "too-large") return c.json(refused(settings, c, kind, invalidRequest), 413, end);
      if (body === "overloaded") return c.json(refused(settings, c, kind, backendUnavailable("overloaded")), 503, end);
      const boot = jsonType.test(c.req.header("content-type") ?? "") ? parseBoot(body) : undefined;
      if (boot === undefined) return c.json(refused(settings, c, kind, invalidRequest), 400);
      const release = slots.take();
      if (release === undefined) return c.json(refused(settings, c, kind, backendUnavailable("overloaded")), 503);
      const decision = await decide(settings, kind, boot, c.get("start")).finally(release);
      metrics.decision(kind, decision.code, secondsSince(c.get("start")));
      return c.json(decision, 200);
    });
  }
  app.get("/", async (c) => {
    const release = slots.take();
    if (release === undefined) {
      metrics.overloaded("info");
      log.warn({ route: "info", code: "unavailable.overloaded" }, "refused");
      return c.json(backendError, 503);
    }
    try {
      return c.json(await describe(settings), 200);
    } catch (error) {
      log.warn({ route: "info", ...causeOf(error) }, "unavailable");
      return c.json(backendError, 500);
    } finally {
      release();
    }
  });
  addOperatorRoutes(app, settings);
  app.notFound((c) => c.json(notFound, 404));
  app.onError((error, c) => {
    log.warn({ error: error.name }, "request failed");
    return c.json(backendError, 500);
  });
  return app;
}

/** These take no place among the running requests: they answer while decisions are saturated. */
function addOperatorRoutes(app: App, { authority, log, metrics }: AppSettings): void {
  const document = createDocument();
  const page = renderPage(document);
  const ready = sharedWhileRunning(() => readiness(authority, log, metrics));
  app.get("/health", (c) => c.json(healthy));
  app.get("/ready", async (c) => {
    const answer = await ready();
    return c.json(answer, answer.status === "ready" ? 200 : 503);
  });
  app.get("/metrics", async (c) => c.body(await metrics.text(), 200, { "content-type": metrics.contentType }));
  app.get("/openapi.json", (c) => c.json(document));
  app.get("/docs", (c) => c.body(page, 200, pageHeaders));
}

async function readiness(authority: Authority, log: RequestLog, metrics: Metrics): Promise<Readiness> {
  try {
    const block = await authority.ready();
    if (block !== undefined) metrics.head(block.timestamp);
    return { status: "ready", ...(block && { block }) };
  } catch (error) {
    log.warn({ route: "ready", ...causeOf(error) }, "unavailable");
    return { status: "unavailable", code: `unavailable.${boundaryOf(error)}` };
  }
}

async function describe({ authority, kmsContractAddr, ethRpcUrl }: AppSettings): Promise<InfoResponse> {
  const deployment = await authority.deployment();
  return {
    status: "ok",
    kmsContractAddr,
    ...(ethRpcUrl !== undefined && { ethRpcUrl }),
    ...deployment,
    appAuthImplementation: deployment.appImplementation, // the name old clients read
  };
}

/** An outage is answered like a denial, with status 200; the code and the log tell them apart. */
async function decide({ authority, log, metrics }: AppSettings, kind: BootKind, boot: BootInfoMessage, start: number) {
  const fields = () => ({ route: kind, appId: boot.appId, ms: Math.round(performance.now() - start) });
  try {
    const decision = await authority.decide(kind, boot);
    if (decision.block !== undefined) metrics.head(decision.block.timestamp);
    log.info(
      { ...fields(), code: decision.code, reason: boundedReason(decision.reason) },
      decision.isAllowed ? "allowed" : "denied",
    );
    return decision;
  } catch (error) {
    log.warn({ ...fields(), ...causeOf(error) }, "unavailable");
    return backendUnavailable(boundaryOf(error));
  }
}

/** What no authority was asked about is counted and logged all the same. */
function refused({ log, metrics }: AppSettings, c: AppContext, kind: BootKind, answer: Decision): Decision {
  if (answer.code === "unavailable.overloaded") metrics.overloaded(kind);
  metrics.decision(kind, answer.code, secondsSince(c.get("start")));
  log.warn({ route: kind, code: answer.code }, "refused");
  return answer;
}

/** Strict UTF-8 and JSON; of a member given twice the last one counts, as in every JSON parser of the platform. */
function parseBoot(body: Uint8Array): BootInfoMessage | undefined {
  try {
    return bootInfoSchema.safeParse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body))).data;
  } catch {
    return undefined;
  }
}

const secondsSince = (start: number): number => (performance.now() - start) / 1000;

function boundaryOf(error: unknown): Boundary {
  return error instanceof UnavailableError ? error.boundary : "internal";
}

/** Of what nobody foresaw the name alone: its text may quote anything. */
function causeOf(error: unknown): { boundary: Boundary; error?: string } {
  if (error instanceof UnavailableError) return { boundary: error.boundary };
  return { boundary: "internal", error: error instanceof Error ? error.name : "unknown" };
}
