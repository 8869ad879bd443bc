/** RA-TLS client of a KMS: looks at the server's certificate before it sends anything, then speaks JSON pRPC. */
import { isIP } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { z } from "zod";
import { equal, fromUtf8 } from "../bytes.ts";
import { type Code, codes, KmsError } from "../errors.ts";
import { type CertificateEvidence, readCertificate } from "./extensions.ts";
import type { RaTlsIdentity, TempCa } from "./identity.ts";
import { postJson, type Reply } from "./json-call.ts";
import type { Tunnel } from "./tunnel.ts";

/** What a server's certificate claims. That the server holds its key is proved by the handshake, and nothing else is. */
export interface ServerCertificate extends CertificateEvidence {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** Refuses a server by throwing. Called before the request is sent. */
export type ServerCheck = (server: ServerCertificate) => void | Promise<void>;

export interface RaTlsClientSettings {
  /** `https://host[:port]`, with or without `/prpc`. */
  readonly baseUrl: string;
  /** The one root to trust, the host name checked; undefined is for a first contact, and for a server that `checkServer` pins. */
  readonly rootCaPem: string | undefined;
  readonly identity?: RaTlsIdentity | undefined;
  readonly checkServer?: ServerCheck | undefined;
  /** Through a proxy. */
  readonly tunnel?: Tunnel | undefined;
  readonly limits?: Partial<ClientLimits> | undefined;
}

export interface ClientLimits {
  readonly connectMs: number;
  readonly timeoutMs: number;
  readonly maxReplyBytes: number;
}

export interface RaTlsClient {
  /** The decoded JSON answer. Refusals of the server are thrown with its code. */
  call(method: string, input: unknown): Promise<unknown>;
}

/** As the guests of the reference have them. */
const defaultLimits: ClientLimits = { connectMs: 5_000, timeoutMs: 60_000, maxReplyBytes: 16 * 1024 * 1024 };
const rpcUsage = "kms:rpc";
const unusable = "unavailable.kms";

const errorSchema = z.object({ error: z.string() });
const tempCaSchema = z.object({ temp_ca_cert: z.string().min(1), temp_ca_key: z.string().min(1), ca_cert: z.string().min(1) });

export function createRaTlsClient(settings: RaTlsClientSettings): RaTlsClient {
  const url = prpcUrl(settings.baseUrl);
  const limits = { ...defaultLimits, ...settings.limits };
  return {
    async call(method, input) {
      const socket = await connectTo(url, settings, limits.connectMs);
      try {
        await settings.checkServer?.(serverCertificate(socket));
        return readReply(await send(socket, url, method, input, limits), url.host);
      } finally {
        socket.destroy();
      }
    },
  };
}

/** The first contact: the server is not checked unless a root or a check is given. */
export async function fetchTempCa(
  baseUrl: string,
  options: Pick<RaTlsClientSettings, "checkServer" | "tunnel" | "limits"> & { readonly rootCaPem?: string } = {},
): Promise<TempCa> {
  const client = createRaTlsClient({ baseUrl, ...options, rootCaPem: options.rootCaPem });
  const answer = tempCaSchema.safeParse(await client.call("GetTempCaCert", null));
  if (!answer.success) throw new KmsError(unusable, "GetTempCaCert: the answer cannot be decoded", { cause: answer.error });
  const { temp_ca_cert, temp_ca_key, ca_cert } = answer.data;
  return { tempCaCertPem: temp_ca_cert, tempCaKeyPem: temp_ca_key, caCertPem: ca_cert };
}

/** A KMS marks its leaf; without this check any app that the same root certified could pose as the KMS. */
export function needKmsUsage({ usage }: CertificateEvidence): void {
  if (usage === undefined) throw new KmsError("unproven.server-identity", "missing server cert usage");
  if (usage !== rpcUsage) throw new KmsError("unproven.server-identity", `Invalid server cert usage: ${usage}`);
}

/** The TLS stack judges times only where a root is given. */
export function needValidAt({ notBefore, notAfter }: ServerCertificate, now: Date): void {
  if (notBefore <= now && now <= notAfter) return;
  const validity = `valid from ${notBefore.toISOString()} to ${notAfter.toISOString()}`;
  throw new KmsError("unproven.server-identity", `server certificate ${validity}, it is ${now.toISOString()}`);
}

/** Pins a connection to the key that an earlier one proved: whoever sits between can pass on one connection and answer the next. */
export function needServerKey({ spki }: ServerCertificate, pinned: Uint8Array): void {
  if (!equal(spki, pinned)) throw new KmsError("unproven.server-identity", "server key is not the one that was attested");
}

/** Existing deployments write the URL with and without the path, and with a slash at the end. */
function prpcUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "https:") throw new KmsError("malformed.usage", `KMS URL: need https://host, have ${text}`);
  const path = url.pathname.replace(/\/+$/, "");
  url.pathname = path.endsWith("/prpc") ? path : `${path}/prpc`;
  return url;
}

async function connectTo(url: URL, { rootCaPem, identity, tunnel }: RaTlsClientSettings, connectMs: number): Promise<TLSSocket> {
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const port = Number(url.port || 443);
  const through = await tunnel?.(host, port, connectMs).catch((cause: unknown) => Promise.reject(networkError(url.host, cause)));
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect({
    host,
    port,
    ...(through === undefined ? {} : { socket: through }),
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(rootCaPem === undefined ? {} : { ca: rootCaPem }),
    ...(identity === undefined ? {} : { key: Buffer.from(identity.keyPem), cert: identity.certificatePem }),
    minVersion: "TLSv1.2",
    ALPNProtocols: ["http/1.1"],
    rejectUnauthorized: false, // the result is looked at below, so that it gets a code of its own
  });
  const timer = setTimeout(() => reject(new Error(`no connection within ${connectMs} ms`)), connectMs);
  socket.once("secureConnect", resolve).on("error", reject);
  try {
    await promise;
  } catch (cause) {
    socket.destroy();
    throw networkError(url.host, cause);
  } finally {
    clearTimeout(timer);
  }
  if (rootCaPem !== undefined && !socket.authorized) {
    socket.destroy();
    throw new KmsError("unproven.server-identity", `KMS ${url.host}: certificate refused: ${String(socket.authorizationError)}`);
  }
  return socket;
}

function serverCertificate(socket: TLSSocket): ServerCertificate {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) throw new KmsError("unproven.server-identity", "the KMS presented no certificate");
  const { validFromDate: notBefore, validToDate: notAfter } = certificate;
  return { ...readCertificate(new Uint8Array(certificate.raw)), notBefore, notAfter };
}

async function send(socket: TLSSocket, url: URL, method: string, input: unknown, limits: ClientLimits): Promise<Reply> {
  const path = `${url.pathname}/${encodeURIComponent(method)}?json`;
  const headers = { host: url.host, connection: "close" };
  try {
    return await postJson({ createConnection: () => socket, path, headers }, input, limits);
  } catch (cause) {
    throw networkError(url.host, cause);
  }
}

function readReply(reply: Reply, host: string): unknown {
  const { status, body } = reply;
  if (status !== 200 && status !== 400) throw new KmsError(unusable, `KMS ${host}: answered with status ${status}`);
  const answer = parseJson(body, host);
  if (status === 200) return answer;
  const refusal = errorSchema.safeParse(answer);
  if (!refusal.success) throw new KmsError(unusable, `KMS ${host}: refused without a reason`);
  throw new KmsError(codeOf(reply, refusal.data.error), refusal.data.error);
}

function parseJson(body: Uint8Array, host: string): unknown {
  try {
    return JSON.parse(fromUtf8(body, "answer", unusable));
  } catch (cause) {
    throw new KmsError(unusable, `KMS ${host}: the answer is not JSON, ${body.length} bytes`, { cause });
  }
}

/** The reference sends no code: these of its texts are stable, and say who has to act. */
const knownTexts: readonly (readonly [RegExp, Code])[] = [
  [/KMS is not allowed/, "denied.self"],
  [/boot denied: /i, "denied.policy"],
  [/No attestation provided/, "unproven.no-evidence"],
  [/report data mismatch/, "unproven.report-data"],
];

function codeOf({ code }: Reply, text: string): Code {
  if (isCode(code)) return code;
  return knownTexts.find(([pattern]) => pattern.test(text))?.[1] ?? "malformed.request";
}

function isCode(code: string | undefined): code is Code {
  return code !== undefined && Object.hasOwn(codes, code);
}

function networkError(host: string, cause: unknown): KmsError {
  return new KmsError(unusable, `KMS ${host}: ${cause instanceof Error ? cause.message : "failed"}`, { cause });
}
