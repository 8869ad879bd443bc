/** The routes of the admin listener: nothing answers before the credentials are checked, not even the page for what is no route. */
import { type AdminCredentials, type AdminVerdict, authorizeAdmin } from "./admin-auth.ts";
import { type App, createFramedApp } from "./framework.ts";
import type { Log } from "./log.ts";
import { createPrpcEndpoint } from "./prpc.ts";
import type { Rpc } from "./rpc.ts";

export interface AdminAppInput {
  readonly rpcs: readonly Rpc[];
  readonly credentials: AdminCredentials;
  readonly log: Log;
}

const CHALLENGE = { "WWW-Authenticate": 'Basic realm="dstack-kms admin"' };
/** As long as one failure is remembered. */
const RETRY = { "Retry-After": "30" };

export function createAdminApp({ rpcs, credentials, log }: AdminAppInput): App {
  const app = createFramedApp(log);
  const answer = createPrpcEndpoint({ prefix: "Admin.", rpcs, log });
  app.use(async (c, next) => {
    const from = c.env.incoming.socket.remoteAddress ?? "";
    if (isFromForeignPage(c.req.header("sec-fetch-site"))) {
      log.warn({ from }, "admin request of a foreign web page refused");
      return c.body(null, 403);
    }
    const claim = { adminToken: c.req.header("x-admin-token"), authorization: c.req.header("authorization"), from };
    const verdict = await authorizeAdmin(credentials, claim);
    if (!verdict.allowed) {
      log.warn({ from, reason: verdict.reason }, "admin request refused");
      return refusal(verdict);
    }
    log.info({ from, as: verdict.as, method: c.req.method, path: c.req.path }, "admin request");
    return next();
  });
  app.on(["GET", "POST"], "/prpc/:method", (c) => answer(c.env.incoming, c.req.param("method"), async () => undefined));
  return app;
}

/** Browsers add a remembered password to requests of any page; they say so, and no other client sends this header. */
function isFromForeignPage(fetchSite: string | undefined): boolean {
  return fetchSite !== undefined && fetchSite !== "same-origin" && fetchSite !== "none";
}

function refusal({ reason }: AdminVerdict & { allowed: false }): Response {
  return reason === "too-many"
    ? new Response(null, { status: 429, headers: RETRY })
    : new Response(null, { status: 401, headers: CHALLENGE });
}
