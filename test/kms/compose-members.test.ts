/** The forms that members of app-compose.json may have, each with its nearest neighbour that is refused. */
import { describe, expect, test } from "vitest";
import { parseCompose } from "../../kms/attestation/compose.ts";
import { imageWarnings } from "../../kms/attestation/compose-images.ts";
import { utf8 } from "../../kms/bytes.ts";

const least = { manifest_version: 2, name: "app", runner: "docker-compose" };
const parse = (more: object) => parseCompose(utf8(JSON.stringify({ ...least, ...more }))).members;
const refused = expect.objectContaining({ code: "malformed.compose" });
const volume = { source: "data.img", verity_root: "aB".repeat(32), target: "/data" };

describe.each<[string, (value: unknown) => object, readonly unknown[], readonly unknown[]]>([
  [
    "a size",
    (value) => ({ swap_size: value }),
    [
      ...[0, 1, "0", "12", "1.5G", "1.25 GiB", "1  M", "1K", "1k", "1KB", "1KiB", "1mib", "2T", "2tb", "5B", "5 b"],
      ...["0.50", "100G", "12.34M"],
    ],
    [-1, 1.5, "", "G", " 1G", "x1G", "1.", "1.G", ".5G", "1,5G", "1.5.5G", "1P", "1iB", "1GiBs", "1G ", "1Gi", "-1G", "1.xG"],
  ],
  [
    "a version",
    (value) => ({ manifest_version: value }),
    [1, 2, "1", "3", "10", "905"],
    [0, 3, 1.5, "0", "03", "3x", "x3", "3.1", "", "3 "],
  ],
  ["a runner", (value) => ({ runner: value }), ["docker-compose", "nerdctl-compose", "bash"], ["", "docker", 1, null]],
  ["a snapshotter", (value) => ({ snapshotter: value }), ["overlayfs", "stargz", null], ["", "native", 1]],
  ["a key provider", (value) => ({ key_provider: value }), ["none", "kms", "local", "tpm", null], ["", "sgx", "local-sgx"]],
  ["a version of events", (value) => ({ event_log_version: value }), [1, 2], [0, 3, "1", null]],
  [
    "a provider id",
    (value) => ({ key_provider_id: value }),
    ["", "ab", "AB09", "ab".repeat(91)],
    ["a", "abc", "zz", "abzz", "zzab", "0xab", "ab ", null],
  ],
  ["a port", (port) => ({ port_policy: { ports: [{ port }] } }), [0, 1, 443, 65_535], [-1, 65_536, 1.5, "443", null]],
  [
    "a root of a volume",
    (value) => ({ verity_volumes: [{ ...volume, verity_root: value }] }),
    ["ab".repeat(32), "09AF".repeat(16)],
    ["", "ab".repeat(31), "ab".repeat(33), `x${"ab".repeat(32)}`, `${"ab".repeat(32)}x`, "zz".repeat(32)],
  ],
  [
    "a place of a volume",
    (value) => ({ verity_volumes: [{ ...volume, target: value }] }),
    ["/", "/data", "/data/more"],
    ["", "data", "data/more", "./data", null],
  ],
  ["scripts", (value) => ({ init_script: value }), [null, "", "a", [], Array(5).fill("a")], [1, Array(6).fill("a"), [1], {}]],
  [
    "requirements",
    (value) => ({ requirements: value }),
    [
      ...[
        null,
        {},
        { os_version: null },
        { os_version: ">=0.5" },
        { platforms: null },
        { platforms: [] },
        { platforms: ["tdx"] },
      ],
      ...[{ tdx_measure_acpi_tables: true }, { tdx_measure_acpi_tables: null }, { launch_token_hash: "" }],
      ...[{ launch_token_hash: null }, { launch_token_hash: "Ab" }, { gpu_policy: null }, { gpu_policy: { any: [1] } }],
    ],
    [
      ...[1, [], { other: 1 }, { os_version: 1 }, { platforms: "tdx" }, { platforms: [1] }, { tdx_measure_acpi_tables: "true" }],
      ...[{ launch_token_hash: "a" }, { launch_token_hash: 1 }, { gpu_policy: 1 }, { gpu_policy: [1] }],
    ],
  ],
  [
    "a policy for ports",
    (value) => ({ port_policy: value }),
    [null, {}, { ports: [] }, { restrict_mode: true }],
    [1, { ports: [{}] }, { ports: {} }, { restrict_mode: "true" }, { ports: [{ port: 1, pp: 1 }] }],
  ],
])("%s", (_name, member, right, wrong) => {
  test.each(right.map((value) => [value]))("may be %j", (value) => {
    expect(() => parse(member(value))).not.toThrow();
  });
  test.each(wrong.map((value) => [value]))("may not be %j", (value) => {
    expect(() => parse(member(value))).toThrow(refused);
  });
});

test("members of lists are texts, and switches are true or false", () => {
  for (const name of ["features", "allowed_envs"]) {
    expect(parse({ [name]: ["a"] })).toMatchObject({ [name]: ["a"] });
    expect(() => parse({ [name]: [1] })).toThrow(refused);
  }
  const switches =
    "public_logs public_sysinfo public_tcbinfo secure_time kms_enabled gateway_enabled tproxy_enabled no_instance_id";
  for (const name of [...switches.split(" "), "local_key_provider_enabled"]) {
    for (const value of [true, false]) expect(parse({ [name]: value })).toMatchObject({ [name]: value });
    expect(() => parse({ [name]: 1 })).toThrow(refused);
  }
  for (const name of ["docker_compose_file", "bash_script", "pre_launch_script", "storage_fs"]) {
    for (const value of ["text", null]) expect(parse({ [name]: value })).toMatchObject({ [name]: value });
    expect(() => parse({ [name]: 1 })).toThrow(refused);
  }
});

test("a policy for ports has its defaults", () => {
  expect(parse({ port_policy: { ports: [{ port: 443 }] } }).port_policy).toEqual({
    ports: [{ port: 443, pp: false }],
    restrict_mode: false,
  });
  expect(parse({ port_policy: {} }).port_policy).toEqual({ ports: [], restrict_mode: false });
});

test("a refusal names the member, or the file where it is no object", () => {
  expect(() => parse({ port_policy: { ports: [{ port: -1 }] } })).toThrow(/^app-compose: port_policy\.ports\.0\.port: /);
  for (const manifest_version of ["0", 3])
    expect(() => parse({ manifest_version })).toThrow('app-compose: manifest_version: need 1, 2 or a decimal text such as "3"');
  expect(() => parse({ swap_size: "much" })).toThrow(/^app-compose: swap_size: /);
  expect(() => parse({ verity_volumes: [volume, volume] })).toThrow("app-compose: verity_volumes: a target is repeated");
  expect(() => parse({ key_provider_id: "a" })).toThrow("app-compose: key_provider_id: need hex");
  expect(() => parse({ verity_volumes: [{ ...volume, verity_root: "" }] })).toThrow(/: need 64 hex digits$/);
  expect(() => parse({ verity_volumes: [{ ...volume, target: "" }] })).toThrow(/: need an absolute path$/);
  expect(() => parseCompose(utf8("[]"))).toThrow(/^app-compose: file: /);
});

test("a service may have several reasons for a warning", () => {
  const reasons = (text: string) => imageWarnings(text).map(({ image, reason }) => [image, reason]);
  const moves = "is a tag, which can move: pin it with @sha256:…";
  const built = "is built when it starts, from sources that the hash does not cover";
  const extended = "extends a service, which may name another image";
  const other = "has a digest that is not sha256 with 64 hex digits";
  expect(reasons("services: {a: {image: x, build: ., extends: {service: b}}, b: {image: x@sha512:ab}, c: x, d: null}")).toEqual([
    [undefined, extended],
    [undefined, built],
    ["x", moves],
    ["x@sha512:ab", other],
    [undefined, "not a mapping"],
    [undefined, "not a mapping"],
  ]);
  expect(reasons(`services: {a: {image: "x@sha256:${"ab".repeat(32)}", build: .}}`)).toEqual([[undefined, built]]);
  expect(reasons(`services: {a: {image: "x@sha256:${"AB".repeat(32)}"}}`)).toEqual([[`x@sha256:${"AB".repeat(32)}`, other]]);
  expect(reasons("services: {a: {image: $IMAGE}}")).toEqual([["$IMAGE", "depends on a variable: pin it with @sha256:…"]]);
  expect(reasons("null")).toEqual([[undefined, "not a mapping"]]);
  expect(reasons("include: []\nservices: {}")).toEqual([[undefined, "include names files that the hash does not cover"]]);
});
