import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { utf8 } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import {
  AppIdSchema,
  GetAppKeyRequestSchema,
  GetMetaResponseSchema,
  KmsKeyResponseSchema,
  PublicKeyResponseSchema,
  SignCertRequestSchema,
  SignCertResponseSchema,
} from "../../kms/http/gen/kms_pb.ts";
import { decodeJson, decodeQuery, encodeJson } from "../../kms/http/json-codec.ts";
import { MAX_JSON_DEPTH, MAX_JSON_VALUES, parseJsonText } from "../../kms/http/json-text.ts";
import { allMessages, plainMessages } from "../support/protocol-values.ts";
import { hashing, workOf } from "../support/work.ts";
import { codeOf } from "./support/refusals.ts";

const bytes = (...values: number[]) => new Uint8Array(values);
const refused = (code: string) => expect.objectContaining({ code });

describe("writing", () => {
  test("writes the GetMeta of a dev KMS exactly as the protocol's example", () => {
    const json = encodeJson(GetMetaResponseSchema, {
      ca_cert: "-----BEGIN",
      allow_any_upgrade: true,
      k256_pubkey: bytes(2, 0xab),
      bootstrap_info: null,
      is_dev: true,
      gateway_app_id: "any",
      kms_contract_address: null,
    });
    expect(json).toBe(
      '{"ca_cert":"-----BEGIN","allow_any_upgrade":true,"k256_pubkey":"02ab","bootstrap_info":null,"is_dev":true,' +
        '"gateway_app_id":"any","kms_contract_address":null,"chain_id":null,"app_auth_implementation":null}',
    );
  });

  test("writes defaults of plain fields, in proto order", () => {
    expect(encodeJson(PublicKeyResponseSchema, {})).toBe('{"public_key":"","signature":"","timestamp":0,"signature_v1":""}');
    expect(encodeJson(SignCertResponseSchema, {})).toBe('{"certificate_chain":[]}');
  });

  test("writes 64-bit integers as exact numbers", () => {
    const json = encodeJson(PublicKeyResponseSchema, { timestamp: 2n ** 64n - 1n });
    expect(json).toContain('"timestamp":18446744073709551615,');
  });

  test("writes messages in lists", () => {
    const json = encodeJson(KmsKeyResponseSchema, { temp_ca_key: "t", keys: [{ ca_key: "c", k256_key: bytes(1) }] });
    expect(json).toBe('{"temp_ca_key":"t","keys":[{"ca_key":"c","k256_key":"01"}]}');
  });

  test.each([
    ["a misspelled field", { publickey: bytes() }],
    ["a field of another type", { public_key: "00" }],
    ["a number where 64 bits are needed", { timestamp: 1 }],
    ["a negative integer", { timestamp: -1n }],
    ["null for a plain field", { public_key: null }],
  ])("refuses to write %s of ours", (_name, value) => {
    expect(() => encodeJson(PublicKeyResponseSchema, value)).toThrow(TypeError);
  });
});

describe("reading", () => {
  const appKeyRequest = (text: string) => decodeJson(GetAppKeyRequestSchema, utf8(text));
  const appId = (text: string) => decodeJson(AppIdSchema, utf8(text));

  test.each([
    ["no body", "", { api_version: 0, vm_config: "" }],
    ["an empty object", "{}", { api_version: 0, vm_config: "" }],
    ["both fields", '{"api_version":1,"vm_config":"{}"}', { api_version: 1, vm_config: "{}" }],
    ["white space", ' {\n"api_version" :\t1 }\r\n', { api_version: 1, vm_config: "" }],
    [
      "unknown fields, also twice",
      '{"x":{"y":[1,2]},"x":null,"api_version":4294967295}',
      { api_version: 4294967295, vm_config: "" },
    ],
    ["escapes", '{"vm_config":"a\\"\\u00e9\\n\\\\"}', { api_version: 0, vm_config: 'a"é\n\\' }],
    ["an escaped field name", '{"vm\\u005fconfig":"a"}', { api_version: 0, vm_config: "a" }],
  ])("reads %s", (_name, text, expected) => {
    expect(appKeyRequest(text)).toEqual(expected);
  });

  test.each([
    ["lower case", '{"app_id":"ab01"}', bytes(0xab, 1)],
    ["upper case", '{"app_id":"AB01"}', bytes(0xab, 1)],
    ["0x", '{"app_id":"0xab01"}', bytes(0xab, 1)],
    ["0x three times", '{"app_id":"0x0x0xab01"}', bytes(0xab, 1)],
    ["nothing", '{"app_id":""}', bytes()],
    ["0x alone", '{"app_id":"0x"}', bytes()],
  ])("reads hex: %s", (_name, text, expected) => {
    expect(appId(text)).toEqual({ app_id: expected });
  });

  test("reads null and missing for what is optional", () => {
    const message = decodeJson(
      GetMetaResponseSchema,
      utf8('{"gateway_app_id":null,"bootstrap_info":null,"chain_id":18446744073709551615}'),
    );
    expect(message.gateway_app_id ?? null).toBeNull();
    expect(message.kms_contract_address ?? null).toBeNull();
    expect(message.bootstrap_info ?? null).toBeNull();
    expect(message.chain_id).toBe(2n ** 64n - 1n);
  });

  test.each([
    ["null for a plain text", '{"vm_config":null}'],
    ["null for a plain number", '{"api_version":null}'],
    ["a duplicated field", '{"api_version":1,"api_version":1}'],
    ["a duplicated field behind an escape", '{"vm_config":"","vm\\u005fconfig":""}'],
    ["text for a number", '{"api_version":"1"}'],
    ["a number for text", '{"vm_config":1}'],
    ["a fraction", '{"api_version":1.0}'],
    ["an exponent", '{"api_version":1e2}'],
    ["a negative number", '{"api_version":-1}'],
    ["a number over 32 bits", '{"api_version":4294967296}'],
    ["a lone surrogate", '{"vm_config":"\\ud800"}'],
    ["null as the message", "null"],
    ["an array as the message", '[1,"a"]'],
    ["trailing text", "{}x"],
    ["a trailing comma", '{"api_version":1,}'],
    ["a leading zero", '{"api_version":01}'],
    ["no closing brace", '{"api_version":1'],
    ["a string without end", '{"vm_config":"\\"'],
    ["a raw control character", '{"vm_config":"\n"}'],
    ["single quotes", "{'vm_config':''}"],
    ["a byte order mark", "\ufeff{}"],
    ["nesting without end", `{"x":${"[".repeat(100_000)}`],
  ])("refuses %s", (_name, text) => {
    expect(() => appKeyRequest(text)).toThrow(refused("malformed.request"));
  });

  test.each([
    '{"app_id":"abc"}',
    '{"app_id":"zz"}',
    '{"app_id":"0Xab"}',
    '{"app_id":"q83v"}',
    '{"app_id":[1]}',
    '{"app_id":null}',
  ])("refuses %s as bytes", (text) => {
    expect(() => appId(text)).toThrow(refused("malformed.request"));
  });

  test("refuses bytes that are not UTF-8", () => {
    expect(() => decodeJson(AppIdSchema, bytes(0x7b, 0xff, 0x7d))).toThrow(refused("malformed.request"));
  });

  test("refuses null for a list", () => {
    expect(() => decodeJson(SignCertResponseSchema, utf8('{"certificate_chain":null}'))).toThrow(refused("malformed.request"));
  });

  test(`reads unknown members nested up to ${MAX_JSON_DEPTH} deep`, () => {
    const nested = (depth: number) => `{"x":${"[".repeat(depth)}${"]".repeat(depth)}}`;
    expect(appKeyRequest(nested(MAX_JSON_DEPTH - 1))).toEqual({ api_version: 0, vm_config: "" });
    expect(() => appKeyRequest(nested(MAX_JSON_DEPTH + 1))).toThrow(refused("malformed.request"));
  });
});

describe("query arguments", () => {
  test.each([
    ["", { api_version: 0, csr: bytes(), signature: bytes(), vm_config: "" }],
    ["json&api_version=2&csr=0xAB&vm_config=a+b%7B", { api_version: 2, csr: bytes(0xab), signature: bytes(), vm_config: "a b{" }],
    ["unknown=1&unknown=2", { api_version: 0, csr: bytes(), signature: bytes(), vm_config: "" }],
  ])("reads ?%s", (query, expected) => {
    expect(decodeQuery(SignCertRequestSchema, new URLSearchParams(query))).toEqual(expected);
  });

  test.each(["api_version=x", "api_version=", "api_version=1&api_version=1", "csr=abc", "csr=%zz", "api_version=4294967296"])(
    "refuses ?%s",
    (query) => {
      expect(() => decodeQuery(SignCertRequestSchema, new URLSearchParams(query))).toThrow(refused("malformed.request"));
    },
  );

  test("refuses a list", () => {
    expect(() => decodeQuery(SignCertResponseSchema, new URLSearchParams("certificate_chain=a"))).toThrow(
      refused("malformed.request"),
    );
  });
});

describe("properties", () => {
  test.each(allMessages.map((desc) => [desc.name, desc] as const))("%s survives the round trip", (_name, desc) => {
    fc.assert(
      fc.property(plainMessages(desc), (value) => {
        const json = encodeJson(desc, value);
        expect(decodeJson(desc, utf8(json))).toEqual(value);
        expect(() => JSON.parse(json)).not.toThrow();
      }),
      { numRuns: 30 },
    );
  });

  test("agrees with JSON.parse on what is JSON", () => {
    const accepts = (text: string, read: (text: string) => unknown) => {
      try {
        read(text);
        return true;
      } catch {
        return false;
      }
    };
    const pieces = fc.array(
      fc.constantFrom("{", "}", "[", "]", ",", ":", '"a"', '"', "\\", "1", "-", ".5", "e1", "0", "true", "null", " "),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json(),
          pieces.map((all) => all.join("")),
        ),
        (text) => {
          expect(accepts(text, parseJsonText)).toBe(accepts(text, JSON.parse));
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("any bytes are a message or a refusal with the code", () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), fc.json().map(utf8)), (body) => {
        try {
          decodeJson(SignCertRequestSchema, body);
        } catch (error) {
          expect(error).toBeInstanceOf(KmsError);
          expect(error).toEqual(refused("malformed.request"));
        }
      }),
    );
  });

  test("ten megabytes of brackets or backslashes are refused in linear time", () => {
    for (const text of ["[".repeat(10_000_000), `"${"\\".repeat(10_000_000)}`, `{"x":[${"0,".repeat(4_000_000)}`]) {
      const body = utf8(text);
      expect(workOf(() => codeOf(() => decodeJson(AppIdSchema, body)), hashing(body))).toBeLessThan(500);
      expect(codeOf(() => decodeJson(AppIdSchema, body))).toBe("malformed.request");
    }
  });

  test("values that nobody reads are counted, so that ten megabytes of them are refused early", () => {
    const withValues = (count: number, value: string) => utf8(`{"x":[${Array(count).fill(value).join(",")}]}`);
    for (const value of ["0", "[]", "{}", '""']) {
      expect(() => decodeJson(AppIdSchema, withValues(MAX_JSON_VALUES - 2, value))).not.toThrow();
      expect(() => decodeJson(AppIdSchema, withValues(MAX_JSON_VALUES - 1, value))).toThrow(refused("malformed.request"));
    }
    const body = withValues(5_000_000, "0");
    expect(codeOf(() => decodeJson(AppIdSchema, body))).toBe("malformed.request");
    const whole = () => JSON.parse(Buffer.from(body).toString());
    expect(workOf(() => codeOf(() => decodeJson(AppIdSchema, body)), whole)).toBeLessThan(0.5);
  });
});
