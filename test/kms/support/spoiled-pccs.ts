/** The simulator's PCCS on a port of its own, which a test can change, spoil, stop and start again while a store asks it. */
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createPccs } from "../../../scripts/devnet/pccs.ts";
import type { PlatformKnobs } from "../../../scripts/devnet/platform.ts";
import { simulatedPlatform } from "../../support/simulated-td.ts";

export const routes = {
  root: "/sgx/certification/v4/rootcacrl",
  pck: "/sgx/certification/v4/pckcrl",
  tcb: "/tdx/certification/v4/tcb",
  qe: "/tdx/certification/v4/qe/identity",
  chain: "/sgx/certification/v4/pckcert",
} as const;

/** Takes an answer over; nothing else is sent. */
export type Spoil = (response: ServerResponse, honest: Server) => void;

export interface SpoiledPccs {
  readonly url: string;
  /** Paths with their query, in the order of arrival. */
  readonly requests: string[];
  /** Answers of another platform, or of this one at another time. */
  publish(knobs: PlatformKnobs, at?: Date): void;
  spoil(route: string, how: Spoil | undefined): void;
  stop(): Promise<void>;
  /** At the same address. */
  start(): Promise<void>;
}

export async function startPccs(at: Date, knobs: PlatformKnobs = {}): Promise<SpoiledPccs> {
  let honest = createPccs(simulatedPlatform(knobs), () => at);
  const spoiled = new Map<string, Spoil>();
  const requests: string[] = [];
  let server: Server | undefined;
  let port = 0;
  const start = async () => {
    const started = createServer((request, response) => {
      requests.push(request.url ?? "");
      const spoil = spoiled.get((request.url ?? "").split("?")[0] ?? "");
      if (spoil === undefined) honest.emit("request", request, response);
      else spoil(response, honest);
    });
    await new Promise<void>((resolve) => started.listen(port, "127.0.0.1", resolve));
    port = (started.address() as AddressInfo).port;
    server = started;
  };
  await start();
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    publish(next, time = at) {
      honest = createPccs(simulatedPlatform(next), () => time);
    },
    spoil(route, how) {
      if (how === undefined) spoiled.delete(route);
      else spoiled.set(route, how);
    },
    async stop() {
      const stopped = server;
      server = undefined;
      stopped?.closeAllConnections();
      await new Promise<void>((resolve) => (stopped === undefined ? resolve() : stopped.close(() => resolve())));
    },
    start,
  };
}

export const status =
  (code: number, headers: Record<string, string> = {}): Spoil =>
  (response) =>
    void response.writeHead(code, headers).end("<html>no</html>");

export const body =
  (content: string | Uint8Array, headers: Record<string, string> = {}): Spoil =>
  (response) =>
    void response.writeHead(200, headers).end(content);

export const hang: Spoil = () => undefined;

/** A byte now and then, for ever. */
export const drip: Spoil = (response) => {
  response.writeHead(200);
  const timer = setInterval(() => response.write(" "), 20);
  response.once("close", () => clearInterval(timer));
};
