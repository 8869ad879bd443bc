/** The JSON mapping of pRPC: proto field names, bytes as lower-case hex and never base64, 64-bit integers as numbers. */
import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { fromHex, fromUtf8, toHex } from "../bytes.ts";
import { KmsError } from "../errors.ts";
import { type JsonNode, parseJsonText } from "./json-text.ts";
import {
  alwaysPresent,
  defaultOf,
  MAX_U32,
  MAX_U64,
  needKnownNames,
  needList,
  needMessage,
  needScalar,
  type PlainMessage,
  scalarDefault,
} from "./plain.ts";

/** A request body in JSON. No body at all is the message with every field at its default. */
export function decodeJson(desc: DescMessage, body: Uint8Array): PlainMessage {
  if (body.length === 0) return defaults(desc);
  return readMessage(desc, parseJsonText(fromUtf8(body, "request JSON", "malformed.request")), desc.name);
}

/** The arguments of a GET: form style. No request of the protocol has lists or messages in it, so brackets are not read. */
export function decodeQuery(desc: DescMessage, query: URLSearchParams): PlainMessage {
  const message = defaults(desc);
  for (const field of desc.fields) {
    const values = query.getAll(field.name);
    const [text] = values;
    if (text === undefined || field.name === "json") continue;
    if (values.length > 1) throw wrong(field.name, "duplicate field");
    if (field.fieldKind !== "scalar") throw wrong(field.name, "cannot be given in a query");
    message[field.name] = readText(field.scalar, text, field.name);
  }
  return message;
}

/** Compact JSON, fields in proto order, defaults written, null for what is absent. `null` is the empty message. */
export function encodeJson(desc: DescMessage, value: PlainMessage): string {
  needKnownNames(desc, value);
  return `{${desc.fields.map((field) => `"${field.name}":${writeField(field, value[field.name])}`).join(",")}}`;
}

function defaults(desc: DescMessage): PlainMessage {
  const message: PlainMessage = {};
  for (const field of desc.fields) {
    const value = defaultOf(field);
    if (value !== undefined) message[field.name] = value;
  }
  return message;
}

function readMessage(desc: DescMessage, node: JsonNode, name: string): PlainMessage {
  if (node.kind !== "object") throw wrong(name, `need an object, have ${node.kind}`);
  const fields = new Map(desc.fields.map((field) => [field.name, field]));
  const message = defaults(desc);
  const seen = new Set<string>();
  for (const [key, member] of node.members) {
    const field = fields.get(key);
    if (field === undefined) continue;
    if (seen.has(key)) throw wrong(key, "duplicate field");
    seen.add(key);
    if (member.kind === "null" && field.fieldKind !== "list" && !alwaysPresent(field)) continue;
    message[key] = readField(field, member);
  }
  return message;
}

function readField(field: DescField, node: JsonNode): unknown {
  switch (field.fieldKind) {
    case "scalar":
      return readScalar(field.scalar, node, field.name);
    case "message":
      return readMessage(field.message, node, field.name);
    case "list": {
      if (node.kind !== "array") throw wrong(field.name, `need an array, have ${node.kind}`);
      return node.items.map((item) => readItem(field, item));
    }
    default:
      throw new TypeError(`field kind ${field.fieldKind} is not used by the protocol`);
  }
}

function readItem(field: DescField & { fieldKind: "list" }, node: JsonNode): unknown {
  if (field.listKind === "message") return readMessage(field.message, node, field.name);
  if (field.listKind === "scalar") return readScalar(field.scalar, node, field.name);
  throw new TypeError("lists of enums are not used by the protocol");
}

function readScalar(scalar: ScalarType, node: JsonNode, name: string): unknown {
  if (scalar === ScalarType.BOOL && node.kind === "boolean") return node.value;
  if (scalar === ScalarType.STRING && node.kind === "string") return readText(scalar, node.text, name);
  if (scalar === ScalarType.BYTES && node.kind === "string") return readText(scalar, node.text, name);
  const isInteger = scalar === ScalarType.UINT32 || scalar === ScalarType.UINT64;
  if (isInteger && node.kind === "number") return readText(scalar, node.digits, name);
  throw wrong(name, `need ${ScalarType[scalar].toLowerCase()}, have ${node.kind}`);
}

/** A value as text, as it stands in a query, in a JSON string or as the digits of a JSON number. */
function readText(scalar: ScalarType, text: string, name: string): unknown {
  switch (scalar) {
    case ScalarType.STRING:
      if (!text.isWellFormed()) throw wrong(name, "not valid Unicode");
      return text;
    case ScalarType.BYTES:
      return fromHex(text.replace(/^(?:0x)+/, ""), name, undefined, "malformed.request");
    case ScalarType.UINT32:
      return Number(readInteger(text, BigInt(MAX_U32), name));
    case ScalarType.UINT64:
      return readInteger(text, MAX_U64, name);
    case ScalarType.BOOL:
      if (text !== "true" && text !== "false") throw wrong(name, "need true or false");
      return text === "true";
    default:
      throw new TypeError(`scalar type ${ScalarType[scalar]} is not used by the protocol`);
  }
}

function readInteger(text: string, max: bigint, name: string): bigint {
  const value = /^[0-9]{1,20}$/.test(text) ? BigInt(text) : undefined;
  if (value === undefined || value > max) throw wrong(name, `need an integer from 0 to ${max}`);
  return value;
}

function writeField(field: DescField, value: unknown): string {
  switch (field.fieldKind) {
    case "scalar":
      if (!alwaysPresent(field) && (value === undefined || value === null)) return "null";
      return writeScalar(field.scalar, value === undefined ? scalarDefault(field.scalar) : value, field.name);
    case "message":
      return value === undefined || value === null ? "null" : encodeJson(field.message, needMessage(value, field.name));
    case "list":
      return `[${needList(value, field.name)
        .map((item) => writeItem(field, item))
        .join(",")}]`;
    default:
      throw new TypeError(`field kind ${field.fieldKind} is not used by the protocol`);
  }
}

function writeItem(field: DescField & { fieldKind: "list" }, item: unknown): string {
  if (field.listKind === "message") return encodeJson(field.message, needMessage(item, field.name));
  if (field.listKind === "scalar") return writeScalar(field.scalar, item, field.name);
  throw new TypeError("lists of enums are not used by the protocol");
}

/** A bigint is written digit by digit: JSON.stringify cannot, and a JavaScript number would round it. */
function writeScalar(scalar: ScalarType, value: unknown, name: string): string {
  const checked = needScalar(scalar, value, name);
  if (checked instanceof Uint8Array) return `"${toHex(checked)}"`;
  return typeof checked === "bigint" ? checked.toString() : JSON.stringify(checked);
}

function wrong(name: string, what: string): KmsError {
  return new KmsError("malformed.request", `field ${name}: ${what}`);
}
