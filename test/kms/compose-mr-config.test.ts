/** mr_config_id against what the events say, and the key-provider event in its exact bytes. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  encodeKeyProviderInfo,
  type KeyProviderDemand,
  type KeyProviderInfo,
  parseKeyProviderInfo,
  requireKeyProvider,
} from "../../kms/attestation/key-provider-info.ts";
import {
  canonicalMrConfig,
  MAX_DOCUMENT_CHARACTERS,
  mrConfigIdV1,
  mrConfigIdV2,
  mrConfigIdV3,
  mrConfigStanding,
  parseMrConfigDocument,
} from "../../kms/attestation/mr-config.ts";
import { concat, fromHex, utf8 } from "../../kms/bytes.ts";
import vectors from "../fixtures/vectors/kdf.json" with { type: "json" };
import { expected } from "../support/tdx-samples.ts";
import { codeOf } from "./support/refusals.ts";

const composeHash = new Uint8Array(32).fill(0x22);
const appId = new Uint8Array(20).fill(0x11);
const enclave = new Uint8Array(32).fill(0x33);
const keyProvider: KeyProviderInfo = { kind: "local", id: enclave };
const app = { composeHash, appId, keyProvider };
const nothing = new Uint8Array(0);

describe("mr_config_id", () => {
  const document = {
    version: 3,
    compose_hash: "22".repeat(32),
    app_id: "11".repeat(20),
    key_provider: "local",
    key_provider_id: "33".repeat(32),
  } as const;
  const v3 = mrConfigIdV3(canonicalMrConfig(document));
  const other = new Uint8Array(32).fill(0x44);

  test.each<[string, Uint8Array, Parameters<typeof mrConfigStanding>[1], number, string]>([
    ["all zero", new Uint8Array(48), app, 0, "unused"],
    ["version 1 of this file", mrConfigIdV1(composeHash), app, 1, "agrees"],
    ["version 1 of another file", mrConfigIdV1(other), app, 1, "differs"],
    ["version 1 without a compose hash", mrConfigIdV1(composeHash), { appId }, 1, "differs"],
    ["version 2 of this app", mrConfigIdV2(app), app, 2, "agrees"],
    ["version 2 that pins no id", mrConfigIdV2({ ...app, keyProvider: { kind: "local", id: nothing } }), app, 2, "agrees"],
    ["version 2 of another file", mrConfigIdV2({ ...app, composeHash: other }), app, 2, "differs"],
    ["version 2 of another app", mrConfigIdV2({ ...app, appId: new Uint8Array(20) }), app, 2, "differs"],
    ["version 2 of another mode", mrConfigIdV2({ ...app, keyProvider: { kind: "kms", id: enclave } }), app, 2, "differs"],
    ["version 2 of another enclave", mrConfigIdV2({ ...app, keyProvider: { kind: "local", id: other } }), app, 2, "differs"],
    ["version 2 before the provider answered", mrConfigIdV2(app), { composeHash, appId }, 2, "unknown"],
    ["version 2 without an app id", mrConfigIdV2(app), { composeHash, keyProvider }, 2, "differs"],
    ["version 3 without its document", v3, app, 3, "unknown"],
    ["a version that no guest knows", concat(Uint8Array.of(4), new Uint8Array(47)), app, 4, "differs"],
    ["zero with something after it", concat(new Uint8Array(47), Uint8Array.of(1)), app, 0, "differs"],
  ])("of %s", (_name, id, facts, version, state) => {
    expect(mrConfigStanding(id, facts)).toEqual({ version, state });
  });

  test.each<[string, object, string]>([
    ["its document", {}, "agrees"],
    ["a document of another file", { compose_hash: "44".repeat(32) }, "differs"],
    ["a document of another app", { app_id: "44".repeat(20) }, "differs"],
    ["a document of another mode", { key_provider: "kms" }, "differs"],
    ["a document of another enclave", { key_provider_id: "44".repeat(32) }, "differs"],
    ["a document without the app", { app_id: undefined }, "agrees"],
    ["a document that pins no id", { key_provider_id: "" }, "agrees"],
  ])("version 3 with %s", (_name, change, state) => {
    const changed = parseMrConfigDocument(JSON.stringify({ ...document, ...change }));
    expect(mrConfigStanding(mrConfigIdV3(canonicalMrConfig(changed)), app, changed).state).toBe(state);
    if (Object.keys(change).length > 0) expect(mrConfigStanding(v3, app, changed).state).toBe("differs");
  });

  test.each<[string, object]>([
    ["version 2", { version: 2 }],
    ["an unknown member", { more: 1 }],
    ["no compose hash", { compose_hash: undefined }],
    ["a short compose hash", { compose_hash: "22" }],
    ["upper-case hex", { app_id: "AB".repeat(20) }],
    ["an unknown mode", { key_provider: "local-sgx" }],
    ["six scripts", { init_script_hashes: Array(6).fill("22".repeat(32)) }],
    ["a member twice", {}],
    ["a short app id", { app_id: "11" }],
    ["a long compose hash", { compose_hash: "22".repeat(33) }],
    ["half a byte of provider id", { key_provider_id: "333" }],
    ["a provider id that is no hex", { key_provider_id: "zz" }],
    ["a provider id with white space", { key_provider_id: "33\n" }],
    ["a provider id after white space", { key_provider_id: " 33" }],
    ["a short instance id", { instance_id: "44" }],
    ["an instance id that is none", { instance_id: "none" }],
  ])("a document with %s is refused", (name, change) => {
    const text = JSON.stringify({ ...document, ...change });
    const twice = name === "a member twice" ? text.replace("{", '{"version":3,') : text;
    expect(codeOf(() => parseMrConfigDocument(twice))).toBe("malformed.compose");
  });

  test("of a document is over its canonical text, and the published one", () => {
    const [vector] = vectors.mr_config;
    const text = vector?.document ?? "";
    const shuffled = JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(text)).reverse()), undefined, 2);
    expect(shuffled).not.toBe(text);
    expect(canonicalMrConfig(parseMrConfigDocument(shuffled))).toBe(text);
    expect(mrConfigIdV3(text)).toEqual(fromHex(vector?.tdx_mr_config_id ?? "", "id"));
  });

  test.each<[string, object]>([
    [
      "all members",
      { gpu_policy_hash: "55".repeat(32), instance_id: "44".repeat(20), init_script_hashes: Array(5).fill("66".repeat(32)) },
    ],
    ["an app without instances", { instance_id: "" }],
    ["no provider id", { key_provider_id: undefined }],
    ["none", { key_provider: "none" }],
    ["local", { key_provider: "local" }],
    ["kms", { key_provider: "kms" }],
    ["tpm", { key_provider: "tpm" }],
  ])("a document may have %s", (_name, change) => {
    const text = JSON.stringify({ ...document, ...change });
    const parsed = parseMrConfigDocument(text);
    expect(parsed).toEqual(JSON.parse(text));
    expect(JSON.parse(canonicalMrConfig(parsed))).toEqual(JSON.parse(text));
  });

  test("a document may be as long as the limit", () => {
    const text = JSON.stringify(document).padEnd(MAX_DOCUMENT_CHARACTERS);
    expect(MAX_DOCUMENT_CHARACTERS).toBe(16_384);
    expect(codeOf(() => parseMrConfigDocument(text))).toBe("accepted");
    expect(codeOf(() => parseMrConfigDocument(`${text} `))).toBe("malformed.compose");
  });

  test("a document without a provider id fits every provider, and one is not compared before it answered", () => {
    const { key_provider_id: _left, ...open } = document;
    const id = mrConfigIdV3(canonicalMrConfig(open));
    expect(mrConfigStanding(id, app, open).state).toBe("agrees");
    expect(mrConfigStanding(v3, { composeHash, appId }, document).state).toBe("agrees");
  });

  test("has a document for any JSON, or a refusal", () => {
    const member = fc.constantFrom("version", "compose_hash", "key_provider", "app_id", "more");
    const value = fc.oneof(fc.constantFrom<unknown>(3, "local", "22".repeat(32), "11".repeat(20)), fc.jsonValue());
    fc.assert(
      fc.property(fc.dictionary(member, value), fc.string(), (members, noise) => {
        for (const text of [JSON.stringify(members), noise]) {
          const code = codeOf(() => parseMrConfigDocument(text));
          expect(["accepted", "malformed.compose"]).toContain(code);
          if (code === "accepted") expect(parseMrConfigDocument(canonicalMrConfig(parseMrConfigDocument(text)))).toEqual(members);
        }
      }),
    );
  });

  test("needs values of its lengths", () => {
    expect(codeOf(() => mrConfigIdV1(nothing))).toBe("malformed.length");
    expect(codeOf(() => mrConfigIdV2({ ...app, appId: nothing }))).toBe("malformed.length");
  });

  test("of every real capture is unused or agrees", () => {
    const captures = expected.samples.filter((sample) => "dstack" in sample) as unknown as {
      readonly fields: { readonly mr_config_id: string };
      readonly dstack: { readonly app_id: string; readonly compose_hash: string; readonly key_provider_info_hex: string };
    }[];
    expect(captures).toHaveLength(5);
    for (const { fields, dstack } of captures) {
      const standing = mrConfigStanding(fromHex(fields.mr_config_id, "id"), {
        composeHash: fromHex(dstack.compose_hash, "hash"),
        appId: fromHex(dstack.app_id, "app"),
        keyProvider: parseKeyProviderInfo(fromHex(dstack.key_provider_info_hex, "provider")),
      });
      expect(["unused", "agrees"]).toContain(standing.state);
    }
  });
});

describe("the key-provider event", () => {
  const spki = concat(Uint8Array.of(0x30), new Uint8Array(90));
  const each: readonly [string, KeyProviderInfo][] = [
    ['{"name":"none","id":""}', { kind: "none", id: nothing }],
    ['{"name":"tpm","id":""}', { kind: "tpm", id: nothing }],
    [`{"name":"local-sgx","id":"${"33".repeat(32)}"}`, { kind: "local", id: enclave }],
    [`{"name":"kms","id":"30${"00".repeat(90)}"}`, { kind: "kms", id: spki }],
  ];

  test.each(each)("%s", (text, info) => {
    expect(parseKeyProviderInfo(utf8(text))).toEqual(info);
    expect(encodeKeyProviderInfo(info)).toEqual(utf8(text));
  });

  test.each<[string, string | Uint8Array]>([
    ["nothing", ""],
    ["white space in it", '{"name": "none","id":""}'],
    ["white space before it", ' {"name":"none","id":""}'],
    ["white space after it", '{"name":"none","id":""}\n'],
    ["members in another order", '{"id":"","name":"none"}'],
    ["a further member", '{"name":"none","id":"","x":1}'],
    ["a name that nobody knows", '{"name":"sgx","id":""}'],
    ["the name that the app-compose file has", `{"name":"local","id":"${"33".repeat(32)}"}`],
    ["upper-case hex", `{"name":"local-sgx","id":"${"AB".repeat(32)}"}`],
    ["half a byte", '{"name":"kms","id":"300"}'],
    ["an id that is no enclave", '{"name":"local-sgx","id":"00"}'],
    ["an enclave and more", `{"name":"local-sgx","id":"${"33".repeat(33)}"}`],
    ["an id that is no key", '{"name":"kms","id":"00"}'],
    ["a KMS without a key", '{"name":"kms","id":""}'],
    ["an id of none", '{"name":"none","id":"00"}'],
    ["an id of a TPM", '{"name":"tpm","id":"00"}'],
    ["too many bytes", `{"name":"kms","id":"30${"00".repeat(5000)}"}`],
    ["bytes that are no text", Uint8Array.of(0xff)],
  ])("is refused with %s", (_name, content) => {
    const payload = typeof content === "string" ? utf8(content) : content;
    expect(codeOf(() => parseKeyProviderInfo(payload))).toBe("unproven.key-provider");
  });

  test("may have 2,048 bytes", () => {
    const longest = encodeKeyProviderInfo({ kind: "kms", id: concat(Uint8Array.of(0x30), new Uint8Array(1012)) });
    expect([longest.length, codeOf(() => parseKeyProviderInfo(longest))]).toEqual([2048, "accepted"]);
    const longer = encodeKeyProviderInfo({ kind: "kms", id: concat(Uint8Array.of(0x30), new Uint8Array(1013)) });
    expect(codeOf(() => parseKeyProviderInfo(longer))).toBe("unproven.key-provider");
  });

  const local = utf8(each[2]?.[0] ?? "");
  test.each<[string, Uint8Array | undefined, KeyProviderDemand, string]>([
    ["any", local, {}, "accepted"],
    ["the mode", local, { kind: "local" }, "accepted"],
    ["mode and id", local, { kind: "local", id: enclave }, "accepted"],
    ["the id alone", local, { id: enclave }, "accepted"],
    ["another mode", local, { kind: "kms" }, "unproven.key-provider"],
    ["another id", local, { kind: "local", id: new Uint8Array(32) }, "unproven.key-provider"],
    ["no id where there is one", local, { id: nothing }, "unproven.key-provider"],
    ["any, of a guest that boots", undefined, {}, "unproven.key-provider"],
    ["none, of a guest that boots", undefined, { kind: "none" }, "unproven.key-provider"],
  ])("demanded: %s", (_name, payload, demand, code) => {
    expect(codeOf(() => requireKeyProvider(payload, demand))).toBe(code);
  });

  test("any bytes are one of the four or a refusal, and only one spelling passes", () => {
    const text = fc.oneof(fc.json().map(utf8), fc.uint8Array(), fc.constantFrom(...each.map(([whole]) => utf8(whole))));
    fc.assert(
      fc.property(text, (payload) => {
        const code = codeOf(() => parseKeyProviderInfo(payload));
        expect(["accepted", "unproven.key-provider"]).toContain(code);
        if (code === "accepted") expect(encodeKeyProviderInfo(parseKeyProviderInfo(payload))).toEqual(payload);
      }),
    );
  });
});
