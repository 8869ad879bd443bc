/** The network side of collateral: one part from the configured service, within limits of time and size. Nothing here is verified. */
import { KmsError } from "../../errors.ts";
import type { Item, ItemKey } from "./collateral-items.ts";
import {
  isIntelPcs,
  itemUrl,
  type PckRequest,
  pccsBase,
  pckChainUrl,
  readChainHeader,
  readHexList,
  readSigned,
  requireSameTcb,
} from "./pccs.ts";
import type { TrustAnchor } from "./trust-anchor.ts";

export type Reach = (url: string, init: { readonly signal: AbortSignal; readonly redirect: "manual" }) => Promise<Response>;

export interface FetchSettings {
  /** The operator's choice; nothing in a request or a quote can change it. Blank means the default. */
  readonly pccsUrl: string;
  readonly anchor: TrustAnchor;
  readonly now: () => Date;
  /** Another way to the service, such as through a proxy. */
  readonly fetch?: Reach | undefined;
  /** For each request, to the last byte of its answer. */
  readonly timeoutMs?: number | undefined;
  readonly maxResponseBytes?: number | undefined;
}

export interface CollateralFetch {
  item(key: FetchedKey): Promise<Item>;
  /** The chain of a machine that its quote names by an encrypted PPID only: leaf, CA, root. */
  pckChain(request: PckRequest): Promise<string>;
}

export type FetchedKey = Exclude<ItemKey, { kind: "pck-chain" }>;

const TIMEOUT_MS = 15_000;
const MAX_RESPONSE_BYTES = 1024 * 1024;
/** How long a service that says "too many requests" is left alone, unless it says so itself. */
const PAUSE_SECONDS = 10;
const MAX_PAUSE_SECONDS = 120;
const TOO_MANY_REQUESTS = 429;

interface Answer {
  readonly headers: Headers;
  readonly body: Uint8Array;
}

export function createCollateralFetch(settings: FetchSettings): CollateralFetch {
  const base = pccsBase(settings.pccsUrl);
  const get = createGet(settings);

  /** Only the network and the status may send us on to the distribution point; a wrong body may not. */
  const rootCrl = async (): Promise<Uint8Array> => {
    const url = itemUrl(base, { kind: "root-crl" });
    const answer = isIntelPcs(base) ? undefined : await get(url, "root_ca_crl").catch(() => undefined);
    if (answer !== undefined) return readHexList(answer.body);
    return (await get(rootListUrl(settings.anchor), "root_ca_crl")).body;
  };

  const load = async (key: FetchedKey): Promise<Item> => {
    if (key.kind === "root-crl") return { ...key, crl: await rootCrl() };
    const { headers, body } = await get(itemUrl(base, key), what[key.kind]);
    if (key.kind === "pck-crl") return { ...key, crl: body, issuerChain: readChainHeader(headers, "SGX-PCK-CRL-Issuer-Chain") };
    if (key.kind === "tcb-info") {
      const issuerChain = readChainHeader(headers, "SGX-TCB-Info-Issuer-Chain", "TCB-Info-Issuer-Chain");
      return { ...key, ...readSigned(body, "tcbInfo"), issuerChain };
    }
    const issuerChain = readChainHeader(headers, "SGX-Enclave-Identity-Issuer-Chain");
    return { ...key, ...readSigned(body, "enclaveIdentity"), issuerChain };
  };

  const pckChain = async (request: PckRequest): Promise<string> => {
    const { headers, body } = await get(pckChainUrl(base, request), CHAIN);
    requireSameTcb(headers, request);
    return `${Buffer.from(body).toString("latin1")}\n${readChainHeader(headers, "SGX-PCK-Certificate-Issuer-Chain")}`;
  };

  return { item: (key) => asUnavailable(() => load(key)), pckChain: (request) => asUnavailable(() => pckChain(request)) };
}

const CHAIN = "pck_certificate";
const what = { "pck-crl": "pck_crl", "tcb-info": "tcb_info", "qe-identity": "qe_identity" } as const;

/** An answer that cannot be read is the server's fault and not the caller's: the family says who must act. */
export async function asUnavailable<T>(load: () => T | Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    if (cause instanceof KmsError && cause.family === "unproven") throw cause;
    const detail = cause instanceof KmsError ? cause.message : "unexpected error";
    throw new KmsError("unavailable.collateral", `collateral from the PCCS: ${detail}`, { cause });
  }
}

/** The reference takes the address from a chain that the PCCS sent; the anchor is the same certificate, and nobody sent it. */
function rootListUrl({ certificate }: TrustAnchor): string {
  const uri = certificate.crlUris?.[0];
  const url = uri !== undefined && URL.canParse(uri) ? new URL(uri) : undefined;
  if (url?.protocol === "https:" || url?.protocol === "http:") return url.href;
  throw new KmsError(
    "unavailable.collateral",
    "root_ca_crl: the PCCS has none, and the trust anchor names no distribution point",
  );
}

function createGet(settings: FetchSettings): (url: string, what: string) => Promise<Answer> {
  const { fetch: reach = fetch, timeoutMs = TIMEOUT_MS, maxResponseBytes = MAX_RESPONSE_BYTES } = settings;
  const pausedUntil = new Map<string, number>();
  const refuse = (what: string, problem: string, cause?: unknown) =>
    new KmsError("unavailable.collateral", `${what}: ${problem}`, { cause });

  return async (url, what) => {
    const at = settings.now().getTime();
    const { origin } = new URL(url);
    // strangers cause requests for chains: what these get to hear must not stop the others
    const own = what === CHAIN ? `${origin} ${what}` : origin;
    const isPaused = (place: string) => {
      const left = (pausedUntil.get(place) ?? at) - at;
      return left > 0 && left <= MAX_PAUSE_SECONDS * 1000;
    };
    if (isPaused(origin) || isPaused(own)) throw refuse(what, "the service asked for a pause");
    try {
      const response = await reach(url, { signal: AbortSignal.timeout(timeoutMs), redirect: "manual" });
      if (!response.ok) {
        if (response.status === TOO_MANY_REQUESTS) pausedUntil.set(own, at + pauseOf(response.headers) * 1000);
        await response.body?.cancel();
        throw refuse(what, `status ${response.status}${isRedirect(response) ? ", and redirects are not followed" : ""}`);
      }
      return { headers: response.headers, body: await readBounded(response, maxResponseBytes, what) };
    } catch (cause) {
      if (cause instanceof KmsError) throw cause;
      const isLate = cause instanceof Error && cause.name === "TimeoutError";
      throw refuse(what, isLate ? `no whole answer within ${timeoutMs} ms` : "the service cannot be reached", cause);
    }
  };
}

/** The operator named one service; another one is for the operator to name. */
function isRedirect({ status }: Response): boolean {
  return status >= 300 && status < 400;
}

function pauseOf(headers: Headers): number {
  const seconds = /^\d{1,6}$/.exec(headers.get("retry-after") ?? "")?.[0];
  return Math.min(Number(seconds ?? PAUSE_SECONDS), MAX_PAUSE_SECONDS);
}

async function readBounded(response: Response, maxBytes: number, what: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    // leaving the loop cancels the stream
    if (size > maxBytes) throw new KmsError("unavailable.collateral", `${what}: more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks));
}
