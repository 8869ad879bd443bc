/** What the reference's web framework answers by itself: its default headers and its page for whatever is not a route. */

import type { HttpBindings } from "@hono/node-server";
import { Hono } from "hono";
import type { Log } from "./log.ts";
import { routePath } from "./request-path.ts";

export type App = Hono<{ Bindings: HttpBindings }>;

const DEFAULT_HEADERS = {
  Server: "Rocket",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "SAMEORIGIN",
  "Permissions-Policy": "interest-cohort=()",
} as const;

export const PLAIN_TEXT = { "Content-Type": "text/plain; charset=utf-8" } as const;

/** An app without routes of its own, with the headers on every answer. */
export function createFramedApp(log: Log, headers: Readonly<Record<string, string>> = {}): App {
  const app: App = new Hono({ getPath: (request) => routePath(request.url) });
  const everywhere = Object.entries({ ...DEFAULT_HEADERS, ...headers });
  app.use((c, next) => {
    // on Node's own response: a header that is set on a web one has it built in full and read back through a stream
    for (const [name, value] of everywhere) c.env.outgoing.setHeader(name, value);
    return next();
  });
  app.notFound((c) => errorPage(c.req.header("accept"), 404, "Not Found", "The requested resource could not be found."));
  app.onError((error, c) => {
    log.error({ err: error, path: c.req.path }, "route failed");
    const description = "The server encountered an internal error while processing this request.";
    return errorPage(c.req.header("accept"), 500, "Internal Server Error", description);
  });
  return app;
}

/** Says that the process serves; not on the admin listener. */
export function serveHealth(app: App): void {
  app.get("/health", (c) => c.body("OK", 200, PLAIN_TEXT));
}

function errorPage(accept: string | undefined, code: number, reason: string, description: string): Response {
  if (prefersJson(accept)) {
    const body = JSON.stringify({ error: { code, reason, description } }, null, 2);
    return new Response(body, { status: code, headers: { "Content-Type": "application/json" } });
  }
  const page = `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>${code} ${reason}</title></head>
<body><h1>${code}: ${reason}</h1><p>${description}</p></body>
</html>
`;
  return new Response(page, { status: code, headers: { "Content-Type": "text/html; charset=utf-8" } });
}

/** Whether the most wanted media type is JSON: highest weight, then most specific, then first. */
export function prefersJson(accept: string | undefined): boolean {
  const ranges = (accept ?? "").split(",").map((range) => {
    const [type = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
    const weight = Number(parameters.find((parameter) => parameter.startsWith("q="))?.slice(2) ?? 1);
    const wildcards = type.split("/").filter((part) => part === "*").length;
    return { type, weight: Number.isFinite(weight) ? weight : 0, wildcards };
  });
  const [first] = ranges.toSorted((a, b) => b.weight - a.weight || a.wildcards - b.wildcards);
  return first?.type === "application/json" && first.weight > 0;
}
