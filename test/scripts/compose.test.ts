/** `compose hash` and `compose manifest` as processes: what they print, write, warn of and refuse. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { composeHashResult } from "../../scripts/compose-hash.ts";
import { runCommandLine } from "../support/programs.ts";
import { scratchFolder } from "../support/scratch.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const real = join(root, "test/fixtures/tdx/mpc-2026-08-app_compose.json");
const realHash = "2911e1f733466216dedb862d6d669e11256ee7a34ce4dbc66c4b807ba7a9c895";
const { dir: scratch, file: scratchFile } = scratchFolder();
const compose = (...args: string[]) => runCommandLine("compose.ts", args);

const loose = scratchFile(
  "loose.json",
  JSON.stringify({
    runner: "docker-compose",
    manifest_version: 2,
    name: "x",
    docker_compose_file: "services: {a: {image: b:1}}",
  }),
);

describe("compose hash", () => {
  test("prints the real file's names, in words and in JSON", async () => {
    const words = await compose("hash", real, "--strict", "--expect", `0x${realHash}`);
    expect([words.status, words.stderr]).toEqual([0, ""]);
    expect(words.stdout).toMatch(new RegExp(`composeHash +${realHash}\nappId +${realHash.slice(0, 40)}\n`));
    const { status, stdout } = await compose("hash", real, "--json", "--app-id", "11".repeat(20));
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      ok: true,
      composeHash: realHash,
      appId: "11".repeat(20),
      form: "vmm",
      forms: { vmm: realHash, sdk: expect.stringMatching(/^[0-9a-f]{64}$/) },
      keyProvider: "local",
      mrConfigId: { v1: `01${realHash}${"00".repeat(15)}`, v2: expect.stringMatching(/^02[0-9a-f]{64}0{30}$/) },
      gpuPolicyHash: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
      initScriptHashes: [],
      warnings: [],
    });
  });

  test("points out images that can change, and with --strict refuses them", async () => {
    const warned = await compose("hash", loose, "--json");
    expect([warned.status, JSON.parse(warned.stdout).form]).toEqual([0, "other"]);
    expect(JSON.parse(warned.stdout).warnings).toEqual([
      { kind: "image", service: "a", image: "b:1", reason: expect.any(String) },
    ]);
    expect(warned.stderr).toMatch(/^note: warning: service a, image b:1: is a tag/);
    const strict = await compose("hash", loose, "--json", "--strict");
    expect([strict.status, JSON.parse(strict.stdout).code]).toEqual([2, "malformed.compose"]);
    expect(strict.stderr).toMatch(/image b:1.*\nhint: name every image with its digest/s);
  });

  test("says whether another hash is that of the same content or of another", async () => {
    const { forms } = JSON.parse((await compose("hash", loose, "--json")).stdout);
    const spelled = await compose("hash", loose, "--expect", forms.sdk);
    expect([spelled.status, spelled.stdout]).toEqual([2, ""]);
    expect(spelled.stderr).toMatch(/same content as the SDKs/);
    expect((await compose("hash", loose, "--expect", realHash)).stderr).toMatch(/the content differs/);
    expect((await compose("hash", loose, "--expect", "12")).stderr).toMatch(/malformed\.usage/);
  });

  test.each<[string, object, RegExp]>([
    ["a bash runner without a script", { runner: "bash" }, /nothing to run/],
    ["a compose runner without services", { runner: "nerdctl-compose" }, /nothing to run/],
    ["a snapshotter that is not read", { snapshotter: "stargz", docker_compose_file: "services: {}" }, /snapshotter/],
    ["requirements that old guests pass over", { requirements: {} }, /requirements/],
    ["deprecated members", { features: ["x"] }, /features/],
  ])("warns of %s", (_name, more, warning) => {
    const file = JSON.stringify({ manifest_version: 2, name: "x", runner: "docker-compose", ...more });
    expect(composeHashResult(new TextEncoder().encode(file), {}).notes?.join()).toMatch(warning);
  });

  test.each<[string, string[], string]>([
    ["a file that is none", [join(scratch, "nowhere")], "malformed.file"],
    ["JSON with a member twice", [scratchFile("twice.json", '{"name":"a","name":"b"}')], "malformed.compose"],
    ["a short app id", [real, "--app-id", "11"], "malformed.usage"],
  ])("refuses %s", async (_name, args, code) => {
    const { status, stdout } = await compose("hash", ...args, "--json");
    expect([status, JSON.parse(stdout).code]).toEqual([2, code]);
  });
});

describe("compose manifest", () => {
  const services = JSON.parse(readFileSync(real, "utf8")).docker_compose_file as string;
  const yaml = scratchFile("docker-compose.yaml", services);

  test("writes the real file again, to the byte, and its names", async () => {
    const out = join(scratch, "app-compose.json");
    const args = ["--docker-compose", yaml, "--out", out, "--name", "mpc-localnet-one-node-1786619449", "--no-secure-time"];
    const { status, stdout, stderr } = await compose("manifest", ...args, "--json");
    expect([status, stderr]).toEqual([0, ""]);
    expect(JSON.parse(stdout)).toEqual({
      ok: true,
      file: out,
      composeHash: realHash,
      appId: realHash.slice(0, 40),
      mrConfigId: `01${realHash}${"00".repeat(15)}`,
      warnings: [],
    });
    expect(readFileSync(out)).toEqual(readFileSync(real));
    const again = await compose("manifest", ...args, "--json");
    expect([again.status, JSON.parse(again.stdout).code]).toEqual([2, "malformed.file"]);
    expect(again.stderr).toMatch(/--force/);
    expect((await compose("manifest", ...args, "--force")).status).toBe(0);
  });

  test("takes every further member, and pins the key provider", async () => {
    const out = join(scratch, "more.json");
    const script = scratchFile("pre.sh", "true\n");
    const more = [
      "--key-provider-id",
      "AB".repeat(32),
      "--pre-launch-script",
      script,
      "--swap-size",
      "4G",
      "--event-log-version",
      "2",
    ];
    const { status, stdout } = await compose("manifest", "--docker-compose", yaml, "--out", out, ...more);
    expect([status, /composeHash +[0-9a-f]{64}/.test(stdout)]).toEqual([0, true]);
    expect(Object.entries(JSON.parse(readFileSync(out, "utf8"))).slice(7)).toEqual([
      ["key_provider_id", "ab".repeat(32)],
      ["public_logs", true],
      ["public_sysinfo", true],
      ["allowed_envs", []],
      ["no_instance_id", true],
      ["secure_time", true],
      ["pre_launch_script", "true\n"],
      ["swap_size", "4G"],
      ["event_log_version", 2],
    ]);
  });

  test("with --strict writes nothing that can change under its hash", async () => {
    const out = join(scratch, "strict.json");
    const open = scratchFile("open.yaml", "services: {kms: {image: kms:latest}}");
    const { status, stderr } = await compose("manifest", "--docker-compose", open, "--out", out, "--strict");
    expect([status, /malformed\.compose/.test(stderr)]).toEqual([2, true]);
    expect(() => readFileSync(out)).toThrow();
    expect((await compose("manifest", "--docker-compose", open, "--out", out)).stderr).toMatch(/kms:latest/);
  });

  test("explains itself", async () => {
    const bare = await compose();
    expect([bare.status, /Usage: compose/.test(bare.stderr)]).toEqual([2, true]);
    expect(await compose("manifest", "--help")).toMatchObject({ status: 0, stdout: expect.stringMatching(/--key-provider-id/) });
    expect((await compose("manifest", "--json")).status).toBe(2);
    expect((await compose("manifest", "--docker-compose", yaml, "--out", join(scratch, "x", "y"))).stderr).toMatch(
      /cannot be written/,
    );
  });
});
