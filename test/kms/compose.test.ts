/** app-compose files: the real one, every rule of its members from both sides, both normal forms, and any bytes a file or a refusal. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  composeHash,
  defaultAppId,
  MAX_COMPOSE_BYTES,
  measuredParts,
  normalForms,
  parseCompose,
} from "../../kms/attestation/compose.ts";
import { sdkForm, vmmForm } from "../../kms/attestation/compose-forms.ts";
import { imageWarnings } from "../../kms/attestation/compose-images.ts";
import { kmsManifest } from "../../kms/attestation/compose-manifest.ts";
import { parseJsonTree } from "../../kms/attestation/json-tree.ts";
import { toHex, utf8 } from "../../kms/bytes.ts";
import { realBytes, realJson } from "../support/real-evidence.ts";
import { codeOf } from "./support/refusals.ts";

const real = realBytes("mpc-2026-08-app_compose.json");
const least = { manifest_version: 2, name: "app", runner: "docker-compose" };

const parse = (value: unknown) => parseCompose(utf8(typeof value === "string" ? value : JSON.stringify(value)));
const codeOfText = (text: string) => codeOf(() => parse(text));

describe("the real file", () => {
  test("has the hash and the app id that its guest measured, in the form of the VMM client", () => {
    const hash = composeHash(real);
    expect(toHex(hash)).toBe("2911e1f733466216dedb862d6d669e11256ee7a34ce4dbc66c4b807ba7a9c895");
    expect(toHex(defaultAppId(hash))).toBe("2911e1f733466216dedb862d6d669e11256ee7a3");
    const forms = normalForms(real, parseCompose(real));
    expect([forms.vmm.isFile, forms.sdk.isFile]).toEqual([true, false]);
    expect(forms.vmm.hash).toEqual(hash);
  });

  test("is written again by the KMS's own settings", () => {
    const file: Record<string, unknown> = realJson("mpc-2026-08-app_compose.json");
    const written = kmsManifest({
      dockerComposeFile: String(file["docker_compose_file"]),
      name: String(file["name"]),
      secureTime: false,
    });
    expect(Buffer.from(written).toString()).toBe(Buffer.from(real).toString());
  });

  test("names its key provider and pins all its images", () => {
    const compose = parseCompose(real);
    expect([compose.keyProvider, compose.gatewayEnabled, compose.initScripts]).toEqual(["local", false, []]);
    expect(imageWarnings(compose.members.docker_compose_file ?? "")).toEqual([]);
  });
});

describe("members", () => {
  test("have the guest's defaults", () => {
    expect(parse(least).members).toEqual({
      ...least,
      features: [],
      public_logs: false,
      public_sysinfo: false,
      public_tcbinfo: true,
      secure_time: true,
      kms_enabled: false,
      local_key_provider_enabled: false,
      gateway_enabled: false,
      tproxy_enabled: false,
      key_provider_id: "",
      allowed_envs: [],
      no_instance_id: false,
      swap_size: 0,
      event_log_version: 1,
      verity_volumes: [],
    });
  });

  test.each<[object, string]>([
    [{}, "none"],
    [{ kms_enabled: true }, "kms"],
    [{ local_key_provider_enabled: true }, "local"],
    [{ kms_enabled: true, local_key_provider_enabled: true }, "kms"],
    [{ key_provider: "tpm", kms_enabled: true }, "tpm"],
    [{ key_provider: null, kms_enabled: true }, "kms"],
    [{ key_provider: "none", kms_enabled: true }, "none"],
  ])("%j mean the key provider %s", (more, provider) => expect(parse({ ...least, ...more }).keyProvider).toBe(provider));

  test.each<[object, boolean]>([
    [{ gateway_enabled: true }, true],
    [{ tproxy_enabled: true }, true],
    [{ features: ["tproxy-net"] }, true],
    [{ features: ["other"] }, false],
  ])("%j mean a gateway: %s", (more, enabled) => expect(parse({ ...least, ...more }).gatewayEnabled).toBe(enabled));

  const volume = { source: "data.img", verity_root: "ab".repeat(32), target: "/data" };
  test.each<[string, object]>([
    ["version 1", { manifest_version: 1 }],
    ["version 3 as text", { manifest_version: "3" }],
    ["a late version", { manifest_version: "10" }],
    ["one script", { init_script: "true" }],
    ["no script", { init_script: null }],
    ["five scripts", { init_script: Array(5).fill("true") }],
    ["a snapshotter", { runner: "nerdctl-compose", snapshotter: "stargz" }],
    ["swap in words", { swap_size: "1G" }],
    ["swap in bytes", { swap_size: 1073741824 }],
    ["events of version 2", { event_log_version: 2 }],
    ["ports", { port_policy: { ports: [{ port: 443, pp: true }], restrict_mode: true } }],
    ["requirements", { requirements: { os_version: ">=0.5", platforms: ["tdx"], gpu_policy: {}, launch_token_hash: "ab" } }],
    ["volumes", { verity_volumes: [volume, { ...volume, target: "/other" }] }],
    ["a member nobody knows", { pre_launch: { deep: [1] } }],
  ])("may be %s", (_name, more) => expect(codeOf(() => parse({ ...least, ...more }))).toBe("accepted"));

  test.each<[string, object]>([
    ["no version", { manifest_version: undefined }],
    ["version 3 as a number", { manifest_version: 3 }],
    ["version 0", { manifest_version: "0" }],
    ["a version with a zero before it", { manifest_version: "03" }],
    ["a version with a sign", { manifest_version: "+3" }],
    ["an empty version", { manifest_version: "" }],
    ["no name", { name: undefined }],
    ["no runner", { runner: undefined }],
    ["an unknown runner", { runner: "podman" }],
    ["an unknown snapshotter", { snapshotter: "zfs" }],
    ["six scripts", { init_script: Array(6).fill("true") }],
    ["a script that is a number", { init_script: 1 }],
    ["an unknown key provider", { key_provider: "sgx" }],
    ["a key provider id that is no hex", { key_provider_id: "0xab" }],
    ["half a byte of key provider id", { key_provider_id: "abc" }],
    ["text for a switch", { kms_enabled: "true" }],
    ["events of version 3", { event_log_version: 3 }],
    ["swap that is no size", { swap_size: "much" }],
    ["negative swap", { swap_size: -1 }],
    ["a port over 65535", { port_policy: { ports: [{ port: 65_536, pp: false }] } }],
    ["an unknown requirement", { requirements: { cpu: "fast" } }],
    ["a relative volume", { verity_volumes: [{ ...volume, target: "data" }] }],
    ["a short verity root", { verity_volumes: [{ ...volume, verity_root: "ab" }] }],
    ["a volume in two places at once", { verity_volumes: [volume, { ...volume, source: "b.img" }] }],
  ])("may not be %s", (_name, more) => expect(codeOf(() => parse({ ...least, ...more }))).toBe("malformed.compose"));
});

describe("a file is refused:", () => {
  const body = JSON.stringify(least).slice(1);
  test.each<[string, string]>([
    ["nothing", ""],
    ["no JSON", "name: app"],
    ["a list", "[]"],
    ["a byte order mark", `\uFEFF{${body}`],
    ["a member twice", `{"name":"other",${body}`],
    ["a member twice in a member that nobody knows", `{"x":{"a":1,"\\u0061":2},${body}`],
    ["deep nesting", `{"x":${"[".repeat(33)}${"]".repeat(33)},${body}`],
    ["very deep nesting", "[".repeat(500_000)],
    ["NaN", `{"x":NaN,${body}`],
    ["infinity", `{"x":1e999,${body}`],
    ["a number past what readers agree on", `{"x":9007199254740993,${body}`],
    ["a lone surrogate", `{"x":"\\ud800",${body}`],
    ["a lone surrogate as a name", `{"\\udc00":1,${body}`],
    ["a control character", `{"x":"\t",${body}`],
    ["a bad escape", `{"x":"\\q",${body}`],
    ["a string without end", `{"x":"`],
    ["an escape without end", `{"x":"\\`],
    ["a comment", `{/**/${body}`],
    ["a comma too many", `{${body.slice(0, -1)},}`],
    ["a zero before a number", `{"x":01,${body}`],
    ["a second value", `{${body}{}`],
    ["too many bytes", `{${body}${" ".repeat(MAX_COMPOSE_BYTES)}`],
  ])("%s", (_name, text) => expect(codeOfText(text)).toBe("malformed.compose"));

  test("text that is not UTF-8", () => {
    expect(codeOf(() => parseCompose(Uint8Array.of(0x7b, 0xff, 0x7d)))).toBe("malformed.compose");
  });

  test("but not for a depth, a number or a length at the limit", () => {
    expect(codeOfText(`{"x":${"[".repeat(31)}${"]".repeat(31)},"y":9007199254740991,"z":-0.5e3,${body}`)).toBe("accepted");
    const file = `{${body}`;
    expect(codeOfText(file + " ".repeat(MAX_COMPOSE_BYTES - file.length))).toBe("accepted");
  });

  test("any text is a file or a refusal", () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        expect(["accepted", "malformed.compose"]).toContain(codeOfText(text));
      }),
    );
  });
});

describe("normal forms", () => {
  const treeOf = (text: string) => parseJsonTree(text, "test", "malformed.compose");

  test("the VMM client's keeps order, characters and numbers, and indents by four", () => {
    const text = '{"b":[],"10":{},"2":[1.0,1e3,{"é":"\\u00e9\\u2028\\/"}],"a":null}';
    expect(vmmForm(treeOf(text))).toBe(
      '{\n    "b": [],\n    "10": {},\n    "2": [\n        1.0,\n        1e3,\n        {\n            "é": "é\u2028/"\n        }\n    ],\n    "a": null\n}',
    );
  });

  test("the SDKs' sorts at every depth, leaves out white space, and prints numbers as JavaScript does", () => {
    const text = '{ "b" : [ {"d":1, "c":2} ], "10":1, "9":1.0, "a": "\\u00e9" }';
    expect(sdkForm(treeOf(text))).toBe('{"10":1,"9":1,"a":"é","b":[{"c":2,"d":1}]}');
  });

  test.each<[object, readonly string[]]>([
    [{ runner: "bash", docker_compose_file: "x", bash_script: "y" }, ["bash_script", "runner"]],
    [{ runner: "docker-compose", docker_compose_file: "x", bash_script: "y" }, ["docker_compose_file", "runner"]],
    [{ runner: "nerdctl-compose", docker_compose_file: "x", bash_script: "y" }, ["bash_script", "docker_compose_file", "runner"]],
    [{ pre_launch_script: "" }, []],
    [{ pre_launch_script: "true" }, ["pre_launch_script"]],
    [{ nested: { pre_launch_script: "" } }, ["nested"]],
  ])("of %j the SDKs keep %j", (value, kept) => {
    expect(Object.keys(JSON.parse(sdkForm(treeOf(JSON.stringify(value)))))).toEqual(kept);
  });

  test("are what JSON.stringify writes for the same value, and stay themselves when read again", () => {
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.string({ unit: "grapheme" }).map((name) => `k${name}`),
          fc.jsonValue(),
        ),
        (value) => {
          const text = JSON.stringify(value);
          fc.pre(text.isWellFormed() && codeOf(() => treeOf(text)) === "accepted");
          const file = treeOf(text);
          expect(JSON.parse(vmmForm(file))).toEqual(JSON.parse(text));
          expect(vmmForm(treeOf(vmmForm(file)))).toBe(vmmForm(file));
          expect(sdkForm(treeOf(vmmForm(file)))).toBe(sdkForm(file));
          expect(sdkForm(treeOf(sdkForm(file)))).toBe(sdkForm(file));
        },
      ),
    );
  });
});

describe("what a guest measures of the file", () => {
  const noPolicy = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

  test.each<[string, object, string]>([
    ["no policy", {}, noPolicy],
    ["requirements without a policy", { requirements: { gpu_policy: null } }, noPolicy],
    ["an empty policy", { requirements: { gpu_policy: {} } }, noPolicy],
    ["a policy", { requirements: { gpu_policy: { b: 1, a: [true] } } }, toHex(composeHash('{"a":[true],"b":1}'))],
  ])("of %s is the hash of its canonical form", (_name, more, hash) => {
    expect(toHex(measuredParts(parse({ ...least, ...more })).gpuPolicyHash)).toBe(hash);
  });

  test.each<[unknown, readonly string[]]>([
    [undefined, []],
    [null, []],
    ["", [""]],
    ["a", ["a"]],
    [
      ["a", "é"],
      ["a", "é"],
    ],
  ])("of the scripts %j is the hash of each text", (script, texts) => {
    const measured = measuredParts(parse({ ...least, init_script: script }));
    expect(measured.initScriptHashes).toEqual(texts.map((text) => composeHash(text)));
  });
});

describe("the KMS's own file", () => {
  const services = `services:\n  kms:\n    image: example/kms@sha256:${"ab".repeat(32)}\n`;

  test("has the members in the client's order", () => {
    const text = new TextDecoder().decode(kmsManifest({ dockerComposeFile: services }));
    expect(Object.entries(JSON.parse(text))).toEqual([
      ["manifest_version", 2],
      ["name", "kms"],
      ["runner", "docker-compose"],
      ["docker_compose_file", services],
      ["kms_enabled", false],
      ["gateway_enabled", false],
      ["local_key_provider_enabled", true],
      ["key_provider_id", ""],
      ["public_logs", true],
      ["public_sysinfo", true],
      ["allowed_envs", []],
      ["no_instance_id", true],
      ["secure_time", true],
    ]);
    expect(text.endsWith("}")).toBe(true);
  });

  test("has further members only when given", () => {
    const more = { keyProvider: "local", preLaunchScript: "true", swapSize: "1G", eventLogVersion: 2 } as const;
    const file = parseCompose(kmsManifest({ dockerComposeFile: services, keyProviderId: "ab".repeat(32), ...more }));
    expect(file.members).toMatchObject({ key_provider_id: "ab".repeat(32), swap_size: "1G", event_log_version: 2 });
    expect(file.members).toMatchObject({ key_provider: "local", pre_launch_script: "true" });
    expect(file.keyProvider).toBe("local");
    expect(codeOf(() => kmsManifest({ dockerComposeFile: services, swapSize: "much" }))).toBe("malformed.compose");
    expect(codeOf(() => kmsManifest({ dockerComposeFile: "x".repeat(MAX_COMPOSE_BYTES) }))).toBe("malformed.compose");
  });
});

describe("images", () => {
  const digest = `sha256:${"ab".repeat(32)}`;
  const of = (yaml: string) => imageWarnings(yaml).map(({ service, image, reason }) => [service, image, reason.slice(0, 8)]);

  test.each<[string, string, unknown[]]>([
    ["by digest", `services:\n  a:\n    image: x@${digest}\n  b: {image: "r.io:5000/x:1@${digest}"}`, []],
    ["by tag", "services: {a: {image: x:1}}", [["a", "x:1", "is a tag"]]],
    ["without a tag", "services: {a: {image: x}}", [["a", "x", "is a tag"]]],
    ["by a variable", "services: {a: {image: 'x:$TAG'}}", [["a", "x:$TAG", "depends "]]],
    ["by half a digest", "services: {a: {image: x@sha256:ab}}", [["a", "x@sha256:ab", "has a di"]]],
    ["by a digest and more", `services: {a: {image: "x@${digest}0"}}`, [["a", `x@${digest}0`, "has a di"]]],
    ["built", "services: {a: {build: .}}", [["a", undefined, "is built"]]],
    ["missing", "services: {a: {command: x}}", [["a", undefined, "names no"]]],
    ["from another service", "services: {a: {extends: {file: b.yml, service: b}}}", [["a", undefined, "extends "]]],
    ["that are a list", "services: {a: {image: [x]}}", [["a", undefined, "names no"]]],
    [
      "by an anchor",
      `x: &base {image: "y:1"}\nservices: {a: {<<: *base}, b: *base}`,
      [
        ["a", "y:1", "is a tag"],
        ["b", "y:1", "is a tag"],
      ],
    ],
    ["from other files", `include: [b.yml]\nservices: {a: {image: "x@${digest}"}}`, [["", undefined, "include "]]],
    ["in no services", "version: '3'", [["", undefined, "no servi"]]],
    ["in a list", "- a", [["", undefined, "not a ma"]]],
    ["in services that are a list", "services: {a: [x]}", [["a", undefined, "not a ma"]]],
    ["in text that is no YAML", "services: {a: ", [["", undefined, "not YAML"]]],
    ["named twice", "services: {a: {image: x, image: y}}", [["", undefined, "not YAML"]]],
    ["behind a bomb", bomb(), [["", undefined, "not YAML"]]],
    ["behind brackets without end", "[".repeat(20_000), [["", undefined, "not YAML"]]],
  ])("%s", (_name, yaml, warnings) => expect(of(yaml)).toEqual(warnings));

  function bomb(): string {
    const lines = Array.from({ length: 12 }, (_, n) => `a${n + 1}: &a${n + 1} [${Array(9).fill(`*a${n}`).join(",")}]`);
    return ["a0: &a0 [x]", ...lines, "services: *a12"].join("\n");
  }
});
