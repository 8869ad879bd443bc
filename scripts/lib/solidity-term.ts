/** Reads the arguments of a call written as in Solidity: words, quoted text, tuples in parentheses, arrays in brackets. */
import { usageError } from "./cli.ts";

export type Term =
  | { readonly kind: "word" | "text"; readonly text: string }
  | { readonly kind: "tuple" | "array"; readonly terms: readonly Term[] };

export interface WrittenCall {
  readonly name: string;
  readonly terms: readonly Term[];
}

/** Deeper than any type of the contracts: a bound on recursion. */
const maxDepth = 8;
const tokenPattern = /\s*(?:([()[\],])|"((?:[^"\\]|\\["\\])*)"|([^\s()[\],"]+))/y;
const closing = { "(": ")", "[": "]" } as const;

type Token = { readonly mark: string } | { readonly term: Term };

/** `name(terms)` and nothing after it. */
export function parseCall(written: string): WrittenCall {
  const [, name, rest] = /^\s*([A-Za-z_]\w*)\s*(\(.*\))\s*$/s.exec(written) ?? [];
  if (name === undefined || rest === undefined) throw wrong("need NAME(ARGUMENTS)");
  const tokens = tokensOf(rest);
  const call = parseTerm(tokens, 0);
  if (call.kind !== "tuple" || tokens.length > 0) throw wrong("there is more after the closing parenthesis");
  return { name, terms: call.terms };
}

function tokensOf(written: string): Token[] {
  const tokens: Token[] = [];
  const pattern = new RegExp(tokenPattern);
  const end = written.trimEnd().length;
  while (pattern.lastIndex < end) {
    const at = pattern.lastIndex;
    const match = pattern.exec(written);
    if (match === null) throw wrong(`cannot be read from character ${at + 1} of the arguments`);
    const [, mark, quoted, word] = match;
    if (mark !== undefined) tokens.push({ mark });
    else if (word !== undefined) tokens.push({ term: { kind: "word", text: word } });
    else tokens.push({ term: { kind: "text", text: (quoted ?? "").replaceAll(/\\(.)/g, "$1") } });
  }
  return tokens;
}

/** Takes one term off the front. */
function parseTerm(tokens: Token[], depth: number): Term {
  const token = tokens.shift();
  if (token === undefined) throw wrong("an argument is missing");
  if ("term" in token) return token.term;
  if (depth > maxDepth) throw wrong("the arguments are nested too deeply");
  if (token.mark !== "(" && token.mark !== "[") throw wrong(`an argument is missing before ${token.mark}`);
  return { kind: token.mark === "(" ? "tuple" : "array", terms: parseTerms(tokens, closing[token.mark], depth) };
}

function parseTerms(tokens: Token[], close: string, depth: number): Term[] {
  const terms: Term[] = [];
  if (takeMark(tokens, close)) return terms;
  for (;;) {
    terms.push(parseTerm(tokens, depth + 1));
    if (takeMark(tokens, close)) return terms;
    if (!takeMark(tokens, ",")) throw wrong(`need a comma or ${close} after argument ${terms.length}`);
  }
}

function takeMark(tokens: Token[], mark: string): boolean {
  const [next] = tokens;
  if (next === undefined || !("mark" in next) || next.mark !== mark) return false;
  tokens.shift();
  return true;
}

function wrong(why: string) {
  return usageError(
    `the call: ${why}`,
    "written as in Solidity, quoted for the shell: 'acceptTcbStatus(\"SWHardeningNeeded\", 2027-01-31)'",
  );
}
