/** Opens the archive of an OS image over HTTP: bounded in size and redirects; what it holds is proved by whoever unpacks it. */
import { toHex } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { needImageHash } from "./manifest.ts";

/** In the template that the operator configured; the hash is lower-case hex. */
export const HASH_PLACE = "{OS_IMAGE_HASH}";
const MAX_REDIRECTS = 5;
const redirects = new Set([301, 302, 303, 307, 308]);

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface ArchiveRequest {
  readonly template: string;
  readonly osImageHash: Uint8Array;
  readonly maxBytes: number;
  readonly signal: AbortSignal | undefined;
  readonly fetch: Fetch;
}

export interface OpenedArchive {
  readonly bytes: AsyncIterable<Uint8Array>;
  /** The server called the compression a coding of the transfer, so it is undone already. */
  readonly isPlain: boolean;
}

/** Messages never hold the URL: an operator may have put credentials there, and callers read them. */
export async function openArchive(request: ArchiveRequest): Promise<OpenedArchive> {
  const response = await answerTo(request);
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw unavailable(`status ${response.status}`);
  }
  const { maxBytes } = request;
  const announced = Number(response.headers.get("content-length") ?? 0);
  if (announced > maxBytes) {
    await response.body.cancel();
    throw tooLarge(maxBytes);
  }
  const coding = response.headers.get("content-encoding") ?? "identity";
  return { bytes: bounded(response.body, maxBytes), isPlain: coding.toLowerCase() !== "identity" };
}

async function answerTo({ template, osImageHash, signal, fetch }: ArchiveRequest): Promise<Response> {
  let url = archiveUrl(template, osImageHash);
  for (let count = 0; count <= MAX_REDIRECTS; count += 1) {
    const response = await send(fetch, url, signal);
    const location = response.headers.get("location");
    if (!redirects.has(response.status) || location === null) return response;
    await response.body?.cancel();
    url = redirected(url, location);
  }
  throw unavailable(`more than ${MAX_REDIRECTS} redirects`);
}

function archiveUrl(template: string, osImageHash: Uint8Array): URL {
  const text = template.replaceAll(HASH_PLACE, toHex(needImageHash(osImageHash)));
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "http:" && url?.protocol !== "https:") {
    throw new KmsError("malformed.config", "core.image.download_url: need an http or https URL");
  }
  return url;
}

/** A protected transport is not given up on the way, and credentials stay with the server they were meant for. */
function redirected(from: URL, location: string): URL {
  const url = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  const isSafe = url?.protocol === "https:" || (url?.protocol === "http:" && from.protocol === "http:");
  if (url === undefined || !isSafe) throw unavailable("redirected to what is no https URL");
  if (url.origin === from.origin) [url.username, url.password] = [from.username, from.password];
  return url;
}

async function send(fetch: Fetch, url: URL, signal: AbortSignal | undefined): Promise<Response> {
  const headers = new Headers({ accept: "*/*", "accept-encoding": "identity" });
  const plain = new URL(url);
  const user = `${decoded(url.username)}:${decoded(url.password)}`;
  if (user !== ":") headers.set("authorization", `Basic ${Buffer.from(user).toString("base64")}`);
  [plain.username, plain.password] = ["", ""];
  try {
    return await fetch(plain.href, { redirect: "manual", headers, ...(signal === undefined ? {} : { signal }) });
  } catch (cause) {
    if (signal?.aborted === true) throw cause;
    throw unavailable("the server cannot be reached", cause);
  }
}

/** A server may redirect to what is no percent-encoding: then it stands for itself. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function* bounded(body: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<Uint8Array, void, undefined> {
  let size = 0;
  try {
    for await (const chunk of body) {
      size += chunk.length;
      if (size > maxBytes) throw tooLarge(maxBytes); // leaving the loop cancels the stream
      yield chunk;
    }
  } catch (cause) {
    if (cause instanceof KmsError || (cause instanceof Error && ["AbortError", "TimeoutError"].includes(cause.name))) throw cause;
    throw unavailable(`the connection ended after ${size} bytes`, cause);
  }
}

function tooLarge(maxBytes: number): KmsError {
  return new KmsError("malformed.archive", `archive: more than ${maxBytes} bytes`);
}

function unavailable(what: string, cause?: unknown): KmsError {
  return new KmsError("unavailable.os-image", `the OS image cannot be downloaded: ${what}`, { cause });
}
