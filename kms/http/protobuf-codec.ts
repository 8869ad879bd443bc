/** Plain values to and from protobuf bytes. */
import { create, type DescField, type DescMessage, fromBinary, ScalarType, toBinary } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { KmsError } from "../errors.ts";
import { alwaysPresent, needKnownNames, needList, needMessage, needScalar, type PlainMessage } from "./plain.ts";

/** Fields in one message, unknown and repeated ones included: ten megabytes hold five million empty ones, a second of work. */
export const MAX_PROTOBUF_FIELDS = 16_384;

export function decodeProtobuf(desc: DescMessage, body: Uint8Array): PlainMessage {
  try {
    checkFields(desc, body);
    return toPlain(reflect(desc, fromBinary(desc, body, { readUnknownFields: false })));
  } catch (cause) {
    if (cause instanceof KmsError) throw cause;
    throw new KmsError("malformed.request", `request protobuf: cannot decode ${body.length} bytes as ${desc.name}`, { cause });
  }
}

export function encodeProtobuf(desc: DescMessage, value: PlainMessage): Uint8Array {
  return toBinary(desc, fromPlain(desc, value).message);
}

/** The library decodes a known field of another wire type as if it were its own, so that case is refused here. */
function checkFields(desc: DescMessage, body: Uint8Array): void {
  const expected = new Map(desc.fields.map((field) => [field.number, wireTypeOf(field)]));
  const reader = new BinaryReader(body);
  for (let count = 1; reader.pos < reader.len; count += 1) {
    if (count > MAX_PROTOBUF_FIELDS) {
      throw new KmsError("malformed.request", `request protobuf: more than ${MAX_PROTOBUF_FIELDS} fields`);
    }
    const [number, wireType] = reader.tag();
    // the protocol has no groups, and one could hide any number of fields
    if (wireType === WireType.StartGroup) throw new KmsError("malformed.request", "request protobuf: has a group");
    const want = expected.get(number);
    if (want !== undefined && want !== wireType) {
      throw new KmsError("malformed.request", `field ${number} of ${desc.name}: need wire type ${want}, have ${wireType}`);
    }
    reader.skip(wireType, number);
  }
}

function wireTypeOf(field: DescField): WireType {
  if (field.fieldKind !== "scalar") return WireType.LengthDelimited;
  const isBytes = field.scalar === ScalarType.STRING || field.scalar === ScalarType.BYTES;
  return isBytes ? WireType.LengthDelimited : WireType.Varint;
}

function toPlain(message: ReflectMessage): PlainMessage {
  const plain: PlainMessage = {};
  for (const field of message.fields) {
    if (field.fieldKind === "list") plain[field.name] = Array.from(message.get(field), plainItem);
    else if (message.isSet(field) || alwaysPresent(field)) plain[field.name] = plainItem(message.get(field));
  }
  return plain;
}

function plainItem(value: unknown): unknown {
  return isReflected(value) ? toPlain(value) : value;
}

function isReflected(value: unknown): value is ReflectMessage {
  return typeof value === "object" && value !== null && "desc" in value && "message" in value;
}

function fromPlain(desc: DescMessage, value: PlainMessage): ReflectMessage {
  needKnownNames(desc, value);
  const message = reflect(desc, create(desc));
  for (const field of desc.fields) {
    const given = value[field.name];
    if (given === undefined || (given === null && !alwaysPresent(field))) continue;
    if (field.fieldKind === "scalar") message.set(field, needScalar(field.scalar, given, field.name));
    else if (field.fieldKind === "message") message.set(field, fromPlain(field.message, needMessage(given, field.name)));
    else if (field.fieldKind === "list") addItems(message, field, needList(given, field.name));
    else throw new TypeError(`field kind ${field.fieldKind} is not used by the protocol`);
  }
  return message;
}

function addItems(message: ReflectMessage, field: DescField & { fieldKind: "list" }, items: readonly unknown[]): void {
  const list = message.get(field);
  for (const item of items) {
    if (field.listKind === "message") list.add(fromPlain(field.message, needMessage(item, field.name)));
    else if (field.listKind === "scalar") list.add(needScalar(field.scalar, item, field.name));
    else throw new TypeError("lists of enums are not used by the protocol");
  }
}
