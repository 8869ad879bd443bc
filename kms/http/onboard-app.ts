/** The routes of the onboard listener, served until this KMS has keys and the operator finishes. */
import { type App, createFramedApp, PLAIN_TEXT, serveHealth } from "./framework.ts";
import { Onboard } from "./gen/kms_pb.ts";
import type { Log } from "./log.ts";
import { onboardPage, onboardPagePolicy } from "./onboard-page.ts";
import { createPrpcEndpoint } from "./prpc.ts";
import { type Rpc, rpcsOf } from "./rpc.ts";

export interface OnboardAppInput {
  /** The Onboard service but for Finish, which is served here. */
  readonly rpcs: readonly Rpc[];
  /** Starts the graceful end of this listener; called once, and the answer still goes out. */
  readonly onFinish: () => void;
  readonly log: Log;
}

export function createOnboardApp({ rpcs, onFinish, log }: OnboardAppInput): App {
  let isFinished = false;
  const finish = () => {
    if (isFinished) return;
    isFinished = true;
    onFinish();
  };
  const finishRpc = rpcsOf(Onboard, {
    Finish: async () => {
      finish();
      return null;
    },
  });
  const answer = createPrpcEndpoint({ prefix: "Onboard.", rpcs: [...rpcs, ...finishRpc], log });
  const app = createFramedApp(log);
  serveHealth(app);
  const pageHeaders = { "Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": onboardPagePolicy };
  app.get("/", (c) => c.body(onboardPage, 200, pageHeaders));
  app.get("/finish", (c) => {
    finish();
    return c.body("OK", 200, PLAIN_TEXT);
  });
  app.on(["GET", "POST"], "/prpc/:method", (c) => answer(c.env.incoming, c.req.param("method"), async () => undefined));
  return app;
}
