/** A KMS that has its keys, as a process, and what its clients need: files and an app's guest agent. */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createGuestAgentServer } from "../../../scripts/devnet/guest-agent.ts";
import { createPccs } from "../../../scripts/devnet/pccs.ts";
import type { SimulatedTd } from "../../../scripts/devnet/td.ts";
import { type Surroundings, surround } from "../../kms/support/kms-process.ts";
import { infoBody } from "../../kms/support/webhook.ts";
import { ask } from "../../support/http-client.ts";
import { simulatedPlatform, simulatedTd } from "../../support/simulated-td.ts";

export interface ServedKms {
  readonly around: Surroundings;
  /** `https://127.0.0.1:port`, the name in the server's certificate. */
  readonly url: string;
  readonly rootCaFile: string;
  readonly tdxRootFile: string;
  /** The k256 root key, compressed, hex. */
  readonly k256Root: string;
  readonly pccsUrl: string;
  readonly app: SimulatedTd;
  /** `unix:/path` of the app's guest agent. */
  readonly agent: string;
  close(): Promise<void>;
}

export async function serveKms(more = ""): Promise<ServedKms> {
  const around = await surround();
  around.webhook.respond = ({ method }) => (method === "GET" ? { status: 200, body: infoBody } : undefined);
  const app = simulatedTd({ appCompose: '{"name":"client"}', instanceSeed: new Uint8Array(20).fill(5) });
  const agentSocket = join(around.dir, "app.sock");
  const agent = await listening(createGuestAgentServer(app, { appName: "client", version: "0" }), agentSocket);
  const pccs = await listening(
    createPccs(simulatedPlatform(), () => new Date()),
    0,
  );
  const kms = around.start(["-c", around.config(`auto_bootstrap_domain = "127.0.0.1"\n${more}`)]);
  const url = String((await kms.line("listening", "main"))["url"]);
  const meta = await ask(url, "/prpc/GetMeta", { tls: { rejectUnauthorized: false } });
  return {
    around,
    url,
    rootCaFile: join(around.certDir, "root-ca.crt"),
    tdxRootFile: join(around.dir, "root.pem"),
    k256Root: JSON.parse(meta.text).k256_pubkey,
    pccsUrl: `http://127.0.0.1:${(pccs.address() as AddressInfo).port}`,
    app,
    agent: `unix:${agentSocket}`,
    async close() {
      for (const server of [agent, pccs]) server.close().closeAllConnections();
      await around.close();
    },
  };
}

export async function listening<T extends Pick<Server, "listen">>(server: T, place: string | number): Promise<T> {
  await new Promise<void>((resolve) => {
    if (typeof place === "string") server.listen(place, () => resolve());
    else server.listen(place, "127.0.0.1", () => resolve());
  });
  return server;
}
