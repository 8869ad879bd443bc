/** One platform's collateral in a file, in the spellings of other tools; what is signed in it is taken as it stands. */
import { type Collateral, MAX_COLLATERAL_CHARACTERS, parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { parseJson } from "../../kms/attestation/tdx/json-text.ts";
import { KmsError } from "../../kms/errors.ts";

/** Under which answers of services have it. */
const wrappers = ["collateral", "quote_collateral"];
const binary = ["root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature"];

/** Members in snake or camel case; bytes as hex of either case, with or without 0x, or as an array of byte values. */
export function parseCollateralFile(text: string): Collateral {
  if (text.length > MAX_COLLATERAL_CHARACTERS) {
    throw refuse(`at most ${MAX_COLLATERAL_CHARACTERS} characters, have ${text.length}`);
  }
  return parseCollateral(spelledPlainly(unwrapped(parseJson(text, "collateral"))));
}

/** What an import takes: a bundle as it stands, or one platform's collateral in its plain spelling. */
export function bundleText(text: string): string {
  if (text.length > MAX_COLLATERAL_CHARACTERS) return text;
  const document = parseJson(text, "bundle");
  return isObject(document) && !("format" in document) ? spelledPlainly(unwrapped(document)) : text;
}

function spelledPlainly(collateral: object): string {
  const members = new Map<string, unknown>();
  for (const [name, value] of Object.entries(collateral)) {
    const snake = snakeCase(name);
    if (members.has(snake)) throw refuse(`${snake}: a member is repeated in another spelling`);
    members.set(snake, binary.includes(snake) ? hexOf(value, snake) : value);
  }
  return JSON.stringify(Object.fromEntries(members));
}

function unwrapped(document: unknown): object {
  if (!isObject(document)) throw refuse("need an object");
  const inner = wrappers.map((name) => new Map<string, unknown>(Object.entries(document)).get(name)).find(isObject);
  return inner ?? document;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function hexOf(value: unknown, name: string): unknown {
  if (typeof value === "string") return value.trim().replace(/^0x/i, "");
  if (!Array.isArray(value)) return value;
  const isByte = (item: unknown): item is number => typeof item === "number" && Number.isInteger(item) && item >= 0 && item < 256;
  if (!value.every(isByte)) throw refuse(`${name}: the array has members that are not byte values`);
  return Buffer.from(value).toString("hex");
}

function refuse(message: string): KmsError {
  return new KmsError("malformed.collateral", `collateral: ${message}`);
}
