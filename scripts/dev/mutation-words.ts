/** A Stryker plugin that leaves words alone: the texts of errors are for people, and tests assert codes. */
import { declareValuePlugin, PluginKind } from "@stryker-mutator/api/plugin";

/** Functions whose text arguments only end up in messages: the names of fields, and what is wrong with them. */
const wordTakers: ReadonlySet<string> = new Set([
  ...["KmsError", "refuse", "inContext", "fail"],
  // readers: the name of the field being read
  ...[
    "take",
    "u8",
    "u16",
    "u32",
    "u64",
    "u16be",
    "u32be",
    "end",
    "next",
    "any",
    "raw",
    "element",
    "content",
    "inside",
    "boolean",
    "unsigned",
  ],
  ...["smallInteger", "oid", "wholeBits", "time", "sized", "takeSized", "readFullName", "readEntries", "readExtensions"],
  ...["fromHex", "fromUtf8", "needLength", "exactOrEmpty", "octets", "parseJson", "decodeSigned", "parseDate", "refuseCritical"],
  ...["requireWindow", "requireSignedText", "requireEcdsaSha256", "parseCrl", "refine", "addIssue", "readNumber", "cutMembers"],
  ...["pages", "number", "required", "readMembers", "readKind", "uint", "bytes", "text", "array", "vec", "skip", "bool"],
  ...["compact", "fixed", "parseJsonTree"],
]);

const code = /^(malformed|unproven|denied|unavailable|fault)\./;

interface Node {
  readonly type: string;
  readonly [member: string]: unknown;
}

interface Path {
  readonly node: Node;
  readonly parentPath: Path | null;
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value;
}

function nameOf(callee: unknown): string {
  if (!isNode(callee)) return "";
  if (callee.type === "Identifier") return String(callee["name"]);
  if (callee.type === "PrivateName") return nameOf(callee["id"]);
  return callee.type === "MemberExpression" ? nameOf(callee["property"]) : "";
}

function isText({ node }: Path): boolean {
  return node.type === "TemplateLiteral" || (node.type === "StringLiteral" && !code.test(String(node["value"])));
}

/** The function that a literal, or the expression it is part of, is an argument of. */
function takerOf(path: Path): string {
  for (let at: Path | null = path; at !== null; at = at.parentPath) {
    if (at.node.type === "CallExpression" || at.node.type === "NewExpression") return nameOf(at.node["callee"]);
    if (at.node.type.endsWith("Statement") || at.node.type.includes("Function")) return "";
  }
  return "";
}

/** Variables that hold a part of a message. */
const wordHolders: ReadonlySet<string> = new Set(["message", "detail", "have", "sizes", "values", "where", "limit", "field"]);

function isHeldAsWords(path: Path): boolean {
  for (let at: Path | null = path; at !== null; at = at.parentPath) {
    if (at.node.type === "VariableDeclarator") return wordHolders.has(nameOf(at.node["id"]));
    if (at.node.type.includes("Function")) return false;
  }
  return false;
}

/** Texts that a function returns as the reason of a refusal. */
function isReturnedProblem(path: Path): boolean {
  for (let at: Path | null = path; at !== null; at = at.parentPath) {
    if (at.node.type === "FunctionDeclaration") return nameOf(at.node["id"]).endsWith("Problem");
  }
  return false;
}

export const strykerPlugins = [
  declareValuePlugin(PluginKind.Ignore, "words", {
    shouldIgnore(path): string | undefined {
      const found: Path = path as unknown as Path;
      if (!isText(found)) return undefined;
      return wordTakers.has(takerOf(found)) || isHeldAsWords(found) || isReturnedProblem(found)
        ? "words for people, no API"
        : undefined;
    },
  }),
];
