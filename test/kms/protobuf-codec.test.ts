import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromHex, toHex, utf8 } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import { GetAppKeyRequestSchema, GetMetaResponseSchema, KmsKeyResponseSchema } from "../../kms/http/gen/kms_pb.ts";
import { decodeProtobuf, encodeProtobuf, MAX_PROTOBUF_FIELDS } from "../../kms/http/protobuf-codec.ts";
import { allMessages, plainMessages } from "../support/protocol-values.ts";
import { hashing, workOf } from "../support/work.ts";
import { codeOf } from "./support/refusals.ts";

const refused = expect.objectContaining({ code: "malformed.request" });
const decode = (hex: string) => decodeProtobuf(GetAppKeyRequestSchema, fromHex(hex, "test"));

describe("reading", () => {
  test.each([
    ["nothing", "", { api_version: 0, vm_config: "" }],
    ["both fields", "08011202 7b7d", { api_version: 1, vm_config: "{}" }],
    ["unknown fields", "18051a0161 0801", { api_version: 1, vm_config: "" }],
    ["a field twice, the last one wins", "08010802", { api_version: 2, vm_config: "" }],
  ])("reads %s", (_name, hex, expected) => {
    expect(decode(hex.replaceAll(" ", ""))).toEqual(expected);
  });

  test.each([
    ["text cut short", "12057b7d"],
    ["a length beyond 32 bits", "12ffffffffffffffff7f00"],
    ["a varint without end", "08ffffffffffffffffffffff"],
    ["a tag without a value", "08"],
    ["a number as bytes", "0a0101"],
    ["text as a number", "1001"],
    ["text that is not UTF-8", "1202fffe"],
    ["field number zero", "0001"],
    ["an end without a group", "1c"],
    ["a group without end", "1b"],
    ["groups nested without end", "1b".repeat(1000)],
    ["a whole group", "530801540801"],
    ["a wire type that does not exist", "0e"],
    ["JSON", toHex(utf8('{"api_version":1}'))],
  ])("refuses %s", (_name, hex) => {
    expect(() => decode(hex)).toThrow(refused);
  });
});

describe("work of hostile input", () => {
  test.each(["0801", "5001", "1200"])("is bounded: field %s ten megabytes long is refused early", (field) => {
    const bytes = fromHex(field.repeat(5 * 1024 * 1024), "test");
    const read = () => codeOf(() => decodeProtobuf(GetAppKeyRequestSchema, bytes));
    expect(read()).toBe("malformed.request");
    expect(workOf(read, hashing(bytes))).toBeLessThan(10);
    expect(() => decode(field.repeat(MAX_PROTOBUF_FIELDS))).not.toThrow();
    expect(() => decode(field.repeat(MAX_PROTOBUF_FIELDS + 1))).toThrow(refused);
  });
});

describe("writing", () => {
  test("leaves defaults and absent fields out", () => {
    expect(toHex(encodeProtobuf(GetMetaResponseSchema, { is_dev: false, chain_id: null }))).toBe("");
  });

  test("keeps the presence of an optional default", () => {
    expect(toHex(encodeProtobuf(GetMetaResponseSchema, { chain_id: 0n, gateway_app_id: "" }))).toBe("32004000");
  });

  test("writes messages in lists", () => {
    const keys = [{ ca_key: "c", k256_key: new Uint8Array([1]) }];
    expect(toHex(encodeProtobuf(KmsKeyResponseSchema, { temp_ca_key: "t", keys }))).toBe("0a017412060a0163120101");
  });

  test("refuses a misspelled or mistyped field of ours", () => {
    expect(() => encodeProtobuf(GetMetaResponseSchema, { isDev: true })).toThrow(TypeError);
    expect(() => encodeProtobuf(GetMetaResponseSchema, { is_dev: 1 })).toThrow(TypeError);
    expect(() => encodeProtobuf(GetMetaResponseSchema, { chain_id: 1 })).toThrow(TypeError);
  });
});

describe("properties", () => {
  test.each(allMessages.map((desc) => [desc.name, desc] as const))("%s survives the round trip", (_name, desc) => {
    fc.assert(
      fc.property(plainMessages(desc), (value) => {
        expect(decodeProtobuf(desc, encodeProtobuf(desc, value))).toEqual(value);
      }),
      { numRuns: 30 },
    );
  });

  test("any bytes are a message or a refusal with the code", () => {
    fc.assert(
      fc.property(fc.constantFrom(...allMessages), fc.uint8Array({ maxLength: 64 }), (desc, body) => {
        try {
          decodeProtobuf(desc, body);
        } catch (error) {
          expect(error).toBeInstanceOf(KmsError);
          expect(error).toEqual(refused);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
