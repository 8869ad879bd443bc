/** JSON-RPC batches as text and back: the questions of several decisions in one body, every answer matched to its question by id. */
import { z } from "zod";
import { UnavailableError } from "./unavailable.ts";

export interface RpcCall {
  readonly method: string;
  readonly params: readonly unknown[];
}

/** What one decision asks at one moment. */
export type Question = readonly Item[];

/** A call as it is sent, but for its id. */
interface Item {
  readonly text: string;
  /** Asked once for all who ask it at that moment, such as the head. Policy calls are not: each decision asks its own. */
  readonly isCommon: boolean;
}

/** The results in the order of the question's calls, or why there are none. */
export type Answer = readonly unknown[] | UnavailableError;

export interface Batch {
  readonly body: string;
  /** The calls in it: their ids are the numbers below. */
  readonly count: number;
  /** For each question the ids of its calls. */
  readonly ids: readonly (readonly number[])[];
}

/** The code of a reverted call: the same question would get the same answer. */
const revertCode = 3;
const head = '{"jsonrpc":"2.0","id":';

const responseSchema = z.object({
  id: z.int(),
  result: z.unknown().optional(),
  error: z.object({ code: z.int() }).optional(),
});
type RpcResponse = z.output<typeof responseSchema>;

export function questionOf(calls: readonly RpcCall[]): Question {
  return calls.map(({ method, params }) => ({
    text: `"method":"${method}","params":${JSON.stringify(params)}}`,
    isCommon: method !== "eth_call",
  }));
}

/** Collects the questions that one HTTP request carries. */
export class BatchDraft {
  readonly #items: string[] = [];
  readonly #common = new Map<string, number>();
  readonly #ids: number[][] = [];
  #characters = 0;

  get questions(): number {
    return this.#ids.length;
  }

  /** Whether it would still be within both limits with that question. Parameters are hexadecimal: a character is a byte. */
  hasRoomFor(question: Question, limits: { readonly calls: number; readonly bytes: number }): boolean {
    const added = question.filter(({ text, isCommon }) => !(isCommon && this.#common.has(text)));
    const characters = added.reduce((sum, { text }) => sum + head.length + text.length, this.#characters);
    return this.#items.length + added.length <= limits.calls && characters <= limits.bytes;
  }

  add(question: Question): void {
    this.#ids.push(question.map((item) => (item.isCommon ? this.#common.get(item.text) : undefined) ?? this.#append(item)));
  }

  finish(): Batch {
    return { body: `[${this.#items.join(",")}]`, count: this.#items.length, ids: this.#ids };
  }

  #append({ text, isCommon }: Item): number {
    const id = this.#items.length;
    this.#items.push(`${head}${id},${text}`);
    this.#characters += head.length + text.length;
    if (isCommon) this.#common.set(text, id);
    return id;
  }
}

/** Throws unless there is exactly one answer to every call, in any order: of anything else nobody knows whose it is. */
export function answersOf(body: Uint8Array, { count, ids }: Batch): Answer[] {
  const responses = decode(body);
  const byId = new Map(responses.map((response) => [response.id, response]));
  if (responses.length !== count) throw new UnavailableError("rpc-garbage");
  const inOrder = Array.from({ length: count }, (_, id) => {
    const response = byId.get(id);
    if (response === undefined) throw new UnavailableError("rpc-garbage");
    return response;
  });
  return ids.map((own) => answerOf(own, inOrder));
}

function decode(body: Uint8Array): RpcResponse[] {
  try {
    return z.array(responseSchema).parse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body)));
  } catch (cause) {
    throw new UnavailableError("rpc-garbage", { cause });
  }
}

function answerOf(ids: readonly number[], responses: readonly RpcResponse[]): Answer {
  const own = ids.map((id) => responses[id]);
  const error = own.find((response) => response?.error !== undefined)?.error;
  if (error) return new UnavailableError(error.code === revertCode ? "rpc-reverted" : "rpc-error");
  return own.map((response) => response?.result);
}
