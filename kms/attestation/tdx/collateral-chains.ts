/** The certificate chains of machines whose quotes carry an encrypted PPID in place of one: asked for once, and kept by machine. */
import { BoundedMap } from "../../bounded-map.ts";
import { KmsError } from "../../errors.ts";
import { createBudget } from "./collateral-budget.ts";
import { RecentFailures } from "./collateral-failures.ts";
import type { CollateralFetch } from "./collateral-fetch.ts";
import type { Keeper } from "./collateral-keeper.ts";
import { machineOf, pckRequestOf, requireOwnChain } from "./collateral-machine.ts";
import { isGood } from "./collateral-times.ts";
import type { PckRequest } from "./pccs.ts";
import type { Quote } from "./quote.ts";
import type { TrustAnchor } from "./trust-anchor.ts";
import { parseChain, verifyPath } from "./x509-path.ts";

export interface ChainSettings {
  readonly keeper: Keeper;
  /** Undefined without a network. */
  readonly fetcher: CollateralFetch | undefined;
  readonly anchor: TrustAnchor;
  /** Whole seconds since 1970. */
  readonly seconds: () => number;
}

/**
 * Such a request is made before anything about the quote is proven: all in it is the caller's word, so nothing tells machines from
 * strangers who make them up. Strangers may cause some requests, not many; a machine that is known needs none.
 */
const limits = { aMinute: 60, atOnce: 4, waiting: 16 };
/** The same answer for who asks again, so that quotes forged in a machine's name cost one request. */
const ANSWER_SECONDS = 60;
const MAX_ANSWERS = 64;

interface ChainAnswer {
  readonly chain: string;
  readonly at: number;
  /** Until a quote shows that it was asked for on behalf of its machine. */
  isOfStranger: boolean;
}

/** Undefined for a quote that carries its chain. */
export function createChains(settings: ChainSettings): (quote: Quote) => Promise<string | undefined> {
  const { keeper, anchor, seconds } = settings;
  const budget = createBudget(limits, seconds);
  const answerFor = createAnswers(settings, budget.spend);

  return async (quote) => {
    const request = pckRequestOf(quote);
    if (request === undefined) return undefined;
    const at = seconds();
    const machine = machineOf(request);
    const kept = keeper.shelf.get(`pck-chain ${machine}`);
    if (isGood(kept, at) && kept.part.item.kind === "pck-chain" && isOwn(quote, request, kept.part.item.chain, { anchor, at })) {
      return kept.part.item.chain;
    }
    const answer = await answerFor(machine, request);
    requireOwnChain(quote, request, answer.chain, { anchor, at: seconds() });
    const { isOneMore } = keeper.accept({ kind: "pck-chain", machine, chain: answer.chain });
    if (answer.isOfStranger && isOneMore) budget.giveBack();
    answer.isOfStranger = false;
    void keeper.settle();
    return answer.chain;
  };
}

/** What the service says of a machine, for all who name it. */
function createAnswers(
  { fetcher, anchor, seconds }: ChainSettings,
  spend: <T>(work: () => Promise<T>) => Promise<T>,
): (machine: string, request: PckRequest) => Promise<ChainAnswer> {
  const running = new Map<string, Promise<ChainAnswer>>();
  const answers = new BoundedMap<string, ChainAnswer>(MAX_ANSWERS);
  const failures = new RecentFailures(seconds);

  const ask = async (fetch: CollateralFetch, machine: string, request: PckRequest): Promise<ChainAnswer> => {
    try {
      const chain = await fetch.pckChain(request);
      verifyPath(parseChain(chain), { anchor, at: seconds() }); // whatever the service sends, only chains of the anchor stay in memory
      const answer = { chain, at: seconds(), isOfStranger: true };
      answers.set(machine, answer);
      return answer;
    } catch (thrown) {
      failures.note(machine, thrown);
      throw thrown;
    }
  };

  return async (machine, request) => {
    const known = answers.get(machine);
    if (known !== undefined && Math.abs(seconds() - known.at) < ANSWER_SECONDS) return known;
    if (fetcher === undefined) throw new KmsError("unavailable.collateral", "pck_certificate: this KMS is offline");
    failures.requireFew(machine);
    const asked = running.get(machine) ?? spend(() => ask(fetcher, machine, request)).finally(() => running.delete(machine));
    running.set(machine, asked);
    return asked;
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
