/** A way to a server through an HTTP proxy, by CONNECT (RFC 9110 9.3.6): enclaves often have no other network. */
import { request as httpRequest, type RequestOptions } from "node:http";
import { request as httpsRequest } from "node:https";
import { BlockList, isIP, type Socket } from "node:net";
import { KmsError } from "../errors.ts";

/** A connection to this host and port, not yet secured. Rejects when there is none in time. */
export type Tunnel = (host: string, port: number, timeoutMs: number) => Promise<Socket>;

/** The variables that say which proxy to use, as a process has them; either case. */
export type ProxyVariables = Readonly<Record<string, string | undefined>>;

/** The proxy that the environment names for this https URL, unless it excepts the host. */
export function proxyFor(url: URL, variables: ProxyVariables): string | undefined {
  const read = (name: string) => variables[name.toLowerCase()]?.trim() || variables[name]?.trim() || undefined;
  const proxy = read("HTTPS_PROXY");
  return proxy === undefined || isExcepted(url, read("NO_PROXY") ?? "") ? undefined : proxy;
}

export function createTunnel(proxy: string): Tunnel {
  const { send, options } = proxyOptions(proxy);
  return async (host, port, timeoutMs) => {
    const authority = `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
    const { promise, resolve, reject } = Promise.withResolvers<Socket>();
    const request = send({ ...options, method: "CONNECT", path: authority, headers: { host: authority, ...options.headers } });
    const timer = setTimeout(() => request.destroy(new Error(`no tunnel within ${timeoutMs} ms`)), timeoutMs);
    request
      .once("connect", (response, socket, head) => {
        const problem = problemOf(response.statusCode ?? 0, head.length);
        if (problem === undefined) return resolve(socket);
        socket.destroy();
        reject(new Error(problem));
      })
      .on("error", reject)
      .end();
    try {
      return await promise;
    } catch (cause) {
      throw new Error(`proxy ${options.host}:${options.port}: ${cause instanceof Error ? cause.message : "failed"}`, { cause });
    } finally {
      clearTimeout(timer);
    }
  };
}

/** In TLS the client speaks first: bytes behind the proxy's answer are not the server's. */
function problemOf(status: number, early: number): string | undefined {
  if (status < 200 || status > 299) return `refused with status ${status}`;
  return early > 0 ? `sent ${early} bytes too many` : undefined;
}

/** Nothing of the URL gets into messages but host and port: it may hold a password. */
function proxyOptions(proxy: string): { send: typeof httpRequest; options: RequestOptions } {
  const text = proxy.includes("://") ? proxy : `http://${proxy}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new KmsError("malformed.usage", "proxy: need http://host:port or https://host:port");
  }
  const isTls = url.protocol === "https:";
  const user = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  const credentials = user === ":" ? {} : { "proxy-authorization": `Basic ${Buffer.from(user).toString("base64")}` };
  const options = {
    host: bareHost(url),
    port: url.port || (isTls ? 443 : 80),
    agent: false,
    headers: credentials,
  } as const;
  return { send: isTls ? httpsRequest : httpRequest, options };
}

/** `*`, a name and all below it, an address, a network; each perhaps with a port. */
function isExcepted(url: URL, list: string): boolean {
  const host = bareHost(url).toLowerCase();
  const port = url.port || "443";
  return list
    .split(",")
    .map((entry) => entry.trim().toLowerCase())
    .filter((entry) => entry !== "")
    .some((entry) => entry === "*" || matches(entry, host, port));
}

function matches(entry: string, host: string, port: string): boolean {
  const [, bracketed, named, wantedPort] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(entry) ?? [];
  const wanted = bracketed ?? named ?? entry;
  if (wantedPort !== undefined && wantedPort !== port) return false;
  if (isIP(host) !== 0) return wanted === host || isInNetwork(wanted, host);
  const name = wanted.replace(/^\*?\./, "");
  return host === name || host.endsWith(`.${name}`);
}

function isInNetwork(network: string, address: string): boolean {
  const [, base = "", bits = ""] = /^([0-9a-f.:]+)\/(\d{1,3})$/.exec(network) ?? [];
  const family = isIP(base);
  if (family === 0 || Number(bits) > (family === 4 ? 32 : 128)) return false;
  const list = new BlockList();
  list.addSubnet(base, Number(bits), family === 4 ? "ipv4" : "ipv6");
  return list.check(address, isIP(address) === 4 ? "ipv4" : "ipv6");
}

function bareHost(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, "$1");
}
