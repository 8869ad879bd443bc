/** Fetches collateral from the configured PCCS and keeps what verified: fresh for an hour, and until its first part ends while the PCCS is away. */
import { toHex } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { MAX_REMEMBERED_PEM } from "./chain-verifier.ts";
import type { Collateral } from "./collateral.ts";
import { parseCrl } from "./crl.ts";
import { type CollateralKey, collateralUrls, pccsBase, readChainHeader, readHexList, readSigned, rootListUrl } from "./pccs.ts";
import { parsePlatformIdentity, pckCaOf } from "./pck.ts";
import { parseQeIdentity } from "./qe-identity.ts";
import { type Quote, TEE_TYPE_TDX } from "./quote.ts";
import { parseTcbInfo } from "./tcb-info.ts";
import type { TrustAnchor } from "./trust-anchor.ts";
import { pckChainOf, verifyCollateralFor } from "./verify.ts";
import { parseChain, verifyPath } from "./x509-path.ts";

export interface CollateralSource {
  collateralFor(quote: Quote): Promise<Collateral>;
}

export interface CollateralStore extends CollateralSource {
  /** Whether the store would give this very value again without asking anybody: not replaced, not due for a refresh, not ended. */
  isCurrent(collateral: Collateral): boolean;
}

export interface CollateralStoreSettings {
  /** The operator's choice; nothing in a request or a quote can change it. Blank means the default. */
  readonly pccsUrl: string;
  /** A quote whose certificates do not lead here starts no request, and nothing unverified is kept. */
  readonly anchor: TrustAnchor;
  readonly now: () => Date;
  /** Another way to the service, such as through a proxy. */
  readonly fetch?: (url: string, init: { readonly signal: AbortSignal }) => Promise<Response>;
  /** For each request. */
  readonly timeoutMs?: number;
  readonly maxResponseBytes?: number;
}

const TIMEOUT_MS = 15_000;
const MAX_RESPONSE_BYTES = 1024 * 1024;
/** Platforms kept at once; a key holds only what Intel certified, so few are ever seen. */
const MAX_KEPT = 64;
/** Machines whose certificate chain need not be verified again to know what to ask for. */
const MAX_MACHINES = 256;

/** Lists and levels run for a month: a revocation or a lowered status that Intel has published must not wait that long. */
const REFRESH_SECONDS = 60 * 60;
/** How soon a PCCS that was away is asked again. */
const RETRY_SECONDS = 60;

/** Times in seconds since 1970. */
interface Kept {
  readonly collateral: Collateral;
  readonly nextUpdate: number;
  refreshAt: number;
}

export function createCollateralStore(settings: CollateralStoreSettings): CollateralStore {
  const fetcher = createFetcher(settings);
  const keyOf = createKeyReader(settings.anchor);
  const kept = new Map<string, Kept>();
  const running = new Map<string, Promise<Collateral>>();

  const secondsNow = () => Math.floor(settings.now().getTime() / 1000);

  /** One fetch for all who wait for the same key. */
  function shared(name: string, key: CollateralKey): Promise<Collateral> {
    const known = running.get(name);
    if (known !== undefined) return known;
    const started = fetcher(key).finally(() => running.delete(name));
    running.set(name, started);
    return started;
  }

  /** Failures are never kept: the verification of the quote names them, and the next quote asks again. */
  function keepIfGood(name: string, quote: Quote, collateral: Collateral): void {
    if (kept.get(name)?.collateral === collateral) return;
    try {
      const { nextUpdate } = verifyCollateralFor({ quote, collateral, anchor: settings.anchor, now: settings.now() });
      kept.delete(name);
      const [oldest] = kept.keys();
      if (kept.size >= MAX_KEPT && oldest !== undefined) kept.delete(oldest);
      kept.set(name, { collateral, nextUpdate, refreshAt: secondsNow() + REFRESH_SECONDS });
    } catch (problem) {
      // what was kept did not know of it, say of a revocation, so it must not come back when the PCCS goes away
      kept.delete(name);
      if (!(problem instanceof KmsError)) throw problem;
    }
  }

  /** Only a PCCS without a usable answer leaves what is kept in force. */
  async function refreshed(name: string, key: CollateralKey, found: Kept | undefined): Promise<Collateral> {
    try {
      return await shared(name, key);
    } catch (problem) {
      if (found === undefined || secondsNow() >= found.nextUpdate) throw problem;
      found.refreshAt = secondsNow() + RETRY_SECONDS;
      return found.collateral;
    }
  }

  return {
    async collateralFor(quote) {
      const at = secondsNow();
      const key = keyOf(quote, at);
      const name = `${key.tee} ${toHex(key.fmspc)} ${key.ca}`;
      const found = kept.get(name);
      if (found !== undefined && isFresh(found, at)) return found.collateral;
      const collateral = await refreshed(name, key, found);
      keepIfGood(name, quote, collateral);
      return collateral;
    },
    isCurrent(collateral) {
      const at = secondsNow();
      return [...kept.values()].some((each) => each.collateral === collateral && isFresh(each, at));
    },
  };
}

function isFresh({ refreshAt, nextUpdate }: Kept, at: number): boolean {
  return at < Math.min(refreshAt, nextUpdate);
}

/**
 * What to ask for, from a PCK certificate that the anchor vouches for: strangers cannot make us fetch what they like. All quotes of a
 * machine carry one chain; whether it is still good is for the verification.
 */
function createKeyReader(anchor: TrustAnchor): (quote: Quote, at: number) => CollateralKey {
  const machines = new Map<string, Omit<CollateralKey, "tee">>();
  const read = (chain: string, at: number): Omit<CollateralKey, "tee"> => {
    const [pck] = verifyPath(parseChain(chain), { anchor, at });
    const machine = { fmspc: parsePlatformIdentity(pck).fmspc, ca: pckCaOf(pck) };
    if (chain.length > MAX_REMEMBERED_PEM) return machine;
    const [oldest] = machines.keys();
    if (machines.size >= MAX_MACHINES && oldest !== undefined) machines.delete(oldest);
    machines.set(chain, machine);
    return machine;
  };
  return (quote, at) => {
    const chain = pckChainOf(quote);
    return { tee: quote.teeType === TEE_TYPE_TDX ? "tdx" : "sgx", ...(machines.get(chain) ?? read(chain, at)) };
  };
}

interface Answer {
  readonly headers: Headers;
  readonly body: Uint8Array;
}

function createFetcher(settings: CollateralStoreSettings): (key: CollateralKey) => Promise<Collateral> {
  const base = pccsBase(settings.pccsUrl);
  const reach = settings.fetch ?? fetch;
  const timeoutMs = settings.timeoutMs ?? TIMEOUT_MS;
  const maxBytes = settings.maxResponseBytes ?? MAX_RESPONSE_BYTES;

  const get = async (url: string, what: string): Promise<Answer> => {
    try {
      const response = await reach(url, { signal: AbortSignal.timeout(timeoutMs) });
      if (!response.ok) {
        await response.body?.cancel();
        throw new KmsError("unavailable.collateral", `${what}: status ${response.status}`);
      }
      return { headers: response.headers, body: await readBounded(response, maxBytes, what) };
    } catch (cause) {
      if (cause instanceof KmsError) throw cause;
      const isLate = cause instanceof Error && cause.name === "TimeoutError";
      const problem = isLate ? `no answer within ${timeoutMs} ms` : "the service cannot be reached";
      throw new KmsError("unavailable.collateral", `${what}: ${problem}`, { cause });
    }
  };

  /** Only the network and the status may send us on to the distribution point; a wrong body may not. */
  const rootCaCrl = async (url: string | undefined, qeIdentityIssuerChain: string): Promise<Uint8Array> => {
    const answer = url === undefined ? undefined : await get(url, "root_ca_crl").catch(() => undefined);
    if (answer !== undefined) return readHexList(answer.body);
    return (await get(rootListUrl(qeIdentityIssuerChain), "root_ca_crl")).body;
  };

  const load = async (key: CollateralKey): Promise<Collateral> => {
    const urls = collateralUrls(base, key);
    const [pckCrl, tcb, qe] = await Promise.all([
      get(urls.pckCrl, "pck_crl"),
      get(urls.tcbInfo, "tcb_info"),
      get(urls.qeIdentity, "qe_identity"),
    ]);
    const tcbInfo = readSigned(tcb.body, "tcbInfo");
    const qeIdentity = readSigned(qe.body, "enclaveIdentity");
    const qeIdentityIssuerChain = readChainHeader(qe.headers, "SGX-Enclave-Identity-Issuer-Chain");
    const collateral: Collateral = {
      rootCaCrl: await rootCaCrl(urls.rootCaCrl, qeIdentityIssuerChain),
      pckCrl: pckCrl.body,
      tcbInfoIssuerChain: readChainHeader(tcb.headers, "SGX-TCB-Info-Issuer-Chain", "TCB-Info-Issuer-Chain"),
      tcbInfo: tcbInfo.text,
      tcbInfoSignature: tcbInfo.signature,
      qeIdentityIssuerChain,
      qeIdentity: qeIdentity.text,
      qeIdentitySignature: qeIdentity.signature,
    };
    requireReadable(collateral);
    return collateral;
  };

  return async (key) => {
    try {
      return await load(key);
    } catch (cause) {
      // an answer that cannot be read is the server's fault and not the caller's: the family says who must act
      const detail = cause instanceof KmsError ? cause.message : "unexpected error";
      throw new KmsError("unavailable.collateral", `collateral from the PCCS: ${detail}`, { cause });
    }
  };
}

/** What cannot be read is refused here, where the blame is clear; signatures and dates are the verification's work. */
function requireReadable({ rootCaCrl, pckCrl, tcbInfo, qeIdentity }: Collateral): void {
  parseCrl(rootCaCrl, "root_ca_crl");
  parseCrl(pckCrl, "pck_crl");
  parseTcbInfo(tcbInfo);
  parseQeIdentity(qeIdentity);
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
