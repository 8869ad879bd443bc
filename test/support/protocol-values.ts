/** Random plain values for any message of the protocol, so that both codecs face every field. */
import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import fc from "fast-check";
import { file_kms } from "../../kms/http/gen/kms_pb.ts";
import { alwaysPresent, type PlainMessage } from "../../kms/http/plain.ts";

export const allMessages: readonly DescMessage[] = file_kms.messages;

export function plainMessages(desc: DescMessage): fc.Arbitrary<PlainMessage> {
  const required = desc.fields.filter((field) => field.fieldKind === "list" || alwaysPresent(field)).map((field) => field.name);
  const fields = Object.fromEntries(desc.fields.map((field) => [field.name, fieldValues(field)]));
  return fc.record(fields, { requiredKeys: required, noNullPrototype: true });
}

function fieldValues(field: DescField): fc.Arbitrary<unknown> {
  if (field.fieldKind === "message") return plainMessages(field.message);
  if (field.fieldKind === "list") {
    const items: fc.Arbitrary<unknown> = field.listKind === "message" ? plainMessages(field.message) : fc.string();
    return fc.array(items);
  }
  if (field.fieldKind !== "scalar") throw new Error(`no values for ${field.name}`);
  switch (field.scalar) {
    case ScalarType.STRING:
      return fc.string({ unit: "binary" });
    case ScalarType.BYTES:
      return fc.uint8Array().map((bytes) => new Uint8Array(bytes));
    case ScalarType.UINT32:
      return fc.nat(2 ** 32 - 1);
    case ScalarType.UINT64:
      return fc.bigInt(0n, 2n ** 64n - 1n);
    case ScalarType.BOOL:
      return fc.boolean();
    default:
      throw new Error(`no values for ${field.name}`);
  }
}
