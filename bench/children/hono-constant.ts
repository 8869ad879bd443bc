/** The HTTP library alone: a route that answers a constant, behind the webhook's own listener. */
import { Hono } from "hono";
import { listen } from "../../auth-eth/server.ts";
import { decisionPath, gatewayAppId } from "../auth-question.ts";
import { announce, endWithParent } from "./child.ts";

const answer = { isAllowed: true, reason: "", gatewayAppId };
const app = new Hono();
app.post(decisionPath, (c) => c.json(answer));

endWithParent();
announce((await listen(app, "127.0.0.1", 0)).url);
