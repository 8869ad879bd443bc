/** The routes of the main listener. */
import { TLSSocket } from "node:tls";
import type { VerifiedEvidence } from "../attestation/verifier.ts";
import { peerCertificateDer } from "../ra-tls/server.ts";
import { type App, createFramedApp, PLAIN_TEXT, serveHealth } from "./framework.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { createPrpcEndpoint } from "./prpc.ts";
import { methodName } from "./request-path.ts";
import type { Rpc } from "./rpc.ts";

/** Less than the minute after which guests give up: they read why, and an image that is still on its way goes on. */
export const ANSWER_MS = 55_000;

export interface ServiceAppInput {
  readonly prefix: "KMS.";
  readonly rpcs: readonly Rpc[];
  /** The verified evidence of a client certificate; undefined where the caller has none. It throws what the caller is told. */
  readonly authenticate: (peerDer: Uint8Array | undefined) => Promise<VerifiedEvidence | undefined>;
  /** The text of `X-App-Version`. */
  readonly version: string;
  readonly log: Log;
  /** Without them there is no GET /metrics. */
  readonly metrics?: Metrics | undefined;
}

export function createServiceApp(input: ServiceAppInput): App {
  const app = createFramedApp(input.log, { "X-App-Version": input.version });
  serveHealth(app);
  const { metrics } = input;
  const answer = createPrpcEndpoint({ answerMs: ANSWER_MS, ...input });
  if (metrics !== undefined) serveMetrics(app, metrics, input.prefix);
  app.on(["GET", "POST"], "/prpc/:method", (c) =>
    answer(c.env.incoming, c.req.param("method"), () => input.authenticate(peerDer(c.env.incoming.socket))),
  );
  return app;
}

/** Every response to the path of a method counts, whatever made it. */
function serveMetrics(app: App, metrics: Metrics, prefix: string): void {
  app.use("/prpc/:method", async (c, next) => {
    await next();
    metrics.count(methodName(c.req.param("method"), prefix), c.res.status);
  });
  app.get("/metrics", (c) => c.body(metrics.text(), 200, PLAIN_TEXT));
}

/** Read for every request from the connection itself: nothing in a request says who the caller is. */
function peerDer(socket: unknown): Uint8Array | undefined {
  return socket instanceof TLSSocket ? peerCertificateDer(socket) : undefined;
}
