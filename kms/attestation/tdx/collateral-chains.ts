/** The certificate chains of machines whose quotes carry an encrypted PPID in place of one: asked for once, and kept by machine. */
import { KmsError } from "../../errors.ts";
import type { CollateralFetch } from "./collateral-fetch.ts";
import type { Keeper } from "./collateral-keeper.ts";
import { machineOf, pckRequestOf, requireOwnChain } from "./collateral-machine.ts";
import { isGood } from "./collateral-times.ts";
import type { PckRequest } from "./pccs.ts";
import type { Quote } from "./quote.ts";
import type { TrustAnchor } from "./trust-anchor.ts";

export interface ChainSettings {
  readonly keeper: Keeper;
  /** Undefined without a network. */
  readonly fetcher: CollateralFetch | undefined;
  readonly anchor: TrustAnchor;
  /** Whole seconds since 1970. */
  readonly seconds: () => number;
}

/** Such a request is made before anything about the quote is proven: strangers may cause some, not many. */
const MAX_AT_ONCE = 4;
const MAX_PER_MINUTE = 60;

/** Undefined for a quote that carries its chain. */
export function createChains({ keeper, fetcher, anchor, seconds }: ChainSettings): (quote: Quote) => Promise<string | undefined> {
  const running = new Map<string, Promise<string>>();
  const budget = createBudget(seconds);

  const ask = (machine: string, request: PckRequest): Promise<string> => {
    const known = running.get(machine);
    if (known !== undefined) return known;
    if (fetcher === undefined) throw new KmsError("unavailable.collateral", "pck_certificate: this KMS is offline");
    if (running.size >= MAX_AT_ONCE || !budget()) {
      throw new KmsError("unavailable.collateral", "pck_certificate: too many machines are unknown at once");
    }
    const started = fetcher.pckChain(request).finally(() => running.delete(machine));
    running.set(machine, started);
    return started;
  };

  return async (quote) => {
    const request = pckRequestOf(quote);
    if (request === undefined) return undefined;
    const at = seconds();
    const machine = machineOf(request);
    const kept = keeper.shelf.get(`pck-chain ${machine}`);
    if (isGood(kept, at) && kept.part.item.kind === "pck-chain" && isOwn(quote, request, kept.part.item.chain, { anchor, at })) {
      return kept.part.item.chain;
    }
    const chain = await ask(machine, request);
    requireOwnChain(quote, request, chain, { anchor, at: seconds() });
    keeper.accept({ kind: "pck-chain", machine, chain });
    void keeper.settle();
    return chain;
  };
}

/** A machine whose key was made anew has another chain under the same name. */
function isOwn(...input: Parameters<typeof requireOwnChain>): boolean {
  try {
    requireOwnChain(...input);
    return true;
  } catch (thrown) {
    if (thrown instanceof KmsError) return false;
    throw thrown;
  }
}

function createBudget(seconds: () => number): () => boolean {
  let minute = 0;
  let used = 0;
  return () => {
    const now = Math.floor(seconds() / 60);
    if (now !== minute) [minute, used] = [now, 0];
    used += 1;
    return used <= MAX_PER_MINUTE;
  };
}
