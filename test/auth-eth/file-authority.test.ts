/** The policy of a file over a socket: every gate and its words, bad files, and a change that counts at once. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Decision, decisionSchema, infoResponseSchema } from "../../auth-eth/api.ts";
import { createApp } from "../../auth-eth/app.ts";
import { createFileAuthority, maxPolicyBytes } from "../../auth-eth/file-authority.ts";
import { createMetrics } from "../../auth-eth/metrics.ts";
import { createRequestLog } from "../../auth-eth/request-log.ts";
import { type Listener, listen } from "../../auth-eth/server.ts";
import { startProcess } from "./support/process.ts";
import { invalid, jsonPost, unavailable, withoutAdded } from "./support/webhook.ts";

const digits = (digit: string, bytes = 32) => digit.repeat(2 * bytes);
const [mr, image, device, compose, app] = [digits("a"), digits("b"), digits("c"), digits("d"), digits("e", 20)];
const chipId = digits("5", 64);
const zeroAddress = `0x${digits("0", 20)}`;
const gatewayAppId = "gateway-app";
const policy = {
  osImages: [image],
  allowedTcbStatuses: ["UpToDate", "SWHardeningNeeded"],
  allowedAdvisoryIds: ["INTEL-SA-1", "INTEL-SA-2"],
  gatewayAppId,
  kmsContractAddr: `0x${digits("1", 20)}`,
  appImplementation: `0x${digits("2", 20)}`,
  chainId: 8453,
  kms: { mrAggregated: [mr], devices: [device], allowAnyDevice: false },
  apps: { [app]: { composeHashes: [compose], devices: [device], allowAnyDevice: false } },
};
const request = {
  teeVariant: "dstack-tdx",
  mrAggregated: mr,
  osImageHash: image,
  mrSystem: "",
  appId: app,
  composeHash: compose,
  instanceId: "",
  deviceId: device,
  tcbStatus: "UpToDate",
  advisoryIds: [] as string[],
};

let folder: string;
let path: string;
let listener: Listener;
let warnings: object[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "file-policy-"));
  path = join(folder, "auth-config.json");
  const log = createRequestLog({ info: () => undefined, warn: (fields: object) => void warnings.push(fields) });
  const authority = createFileAuthority({ path, log });
  const app = createApp({ authority, log, metrics: createMetrics(), kmsContractAddr: "", maxConcurrent: 64 });
  listener = await listen(app, "127.0.0.1", 0);
});
beforeEach(async () => {
  warnings = [];
  await rm(path, { recursive: true, force: true });
  await write(policy);
});
afterAll(async () => {
  await listener.close();
  await rm(folder, { recursive: true });
});

const write = (content: unknown) => writeFile(path, typeof content === "string" ? content : JSON.stringify(content));
async function ask(kind: "app" | "kms", changes: object = {}): Promise<Decision> {
  const response = await fetch(`${listener.url}/bootAuth/${kind}`, jsonPost(JSON.stringify({ ...request, ...changes })));
  expect(response.status).toBe(200);
  return decisionSchema.strict().parse(await response.json());
}
const describeIt = async () => {
  const response = await fetch(listener.url);
  return { status: response.status, json: infoResponseSchema.parse(await response.json()) };
};
const kmsWith = (changes: object) => ({ ...policy, kms: { ...policy.kms, ...changes } });
const appWith = (changes: object) => ({ ...policy, apps: { [app]: { ...policy.apps[app], ...changes } } });

describe("the gates", () => {
  const other = digits("9");
  const upper = (hex: string) => hex.toUpperCase();
  const rows: [name: string, kind: "app" | "kms", request: object, reason: string, code: string, policy?: object][] = [
    ["a listed KMS", "kms", {}, "", "allowed"],
    ["a listed app", "app", {}, "", "allowed"],
    ["prefixes and upper case in the request", "app", { osImageHash: `0x${upper(image)}`, appId: upper(app) }, "", "allowed"],
    ["prefixes and upper case in the file", "kms", {}, "", "allowed", kmsWith({ devices: [`0X${upper(device)}`] })],
    ["an app id with prefix in the file", "app", {}, "", "allowed", { ...policy, apps: { [`0x${app}`]: policy.apps[app] } }],
    ["a raw chip id that is listed", "kms", { deviceId: chipId }, "", "allowed", kmsWith({ devices: [chipId] })],
    ["the second listed TCB status", "kms", { tcbStatus: "SWHardeningNeeded" }, "", "allowed"],
    ["another TCB status", "kms", { tcbStatus: "OutOfDate" }, "TCB status is not allowed", "denied.tcb"],
    ["a TCB status in another case", "app", { tcbStatus: "uptodate" }, "TCB status is not allowed", "denied.tcb"],
    ["no TCB status", "app", { tcbStatus: "" }, "TCB status is not allowed", "denied.tcb"],
    ["listed advisories", "app", { advisoryIds: ["INTEL-SA-2", "INTEL-SA-1"] }, "", "allowed"],
    ["one more advisory", "kms", { advisoryIds: ["INTEL-SA-1", "x"] }, "advisory ID is not allowed", "denied.tcb-advisory"],
    ["another image", "kms", { osImageHash: other }, "OS image is not allowed", "denied.os-image"],
    ["an absent image", "app", { osImageHash: "" }, "OS image is not allowed", "denied.os-image"],
    ["a listed empty image", "app", { osImageHash: "" }, "OS image is not allowed", "denied.os-image", { ...policy, osImages: ["", "0x"] }],
    ["another measurement", "kms", { mrAggregated: other }, "aggregated MR not allowed", "denied.aggregated-mr"],
    ["no measurements", "kms", {}, "aggregated MR not allowed", "denied.aggregated-mr", kmsWith({ mrAggregated: [] })],
    ["another device", "kms", { deviceId: other }, "KMS is not allowed to boot on this device", "denied.device"],
    ["no devices", "kms", {}, "KMS is not allowed to boot on this device", "denied.device", kmsWith({ devices: [] })],
    ["any device", "kms", { deviceId: other }, "", "allowed", kmsWith({ devices: [], allowAnyDevice: true })],
    ["another app", "app", { appId: digits("9", 20) }, "app not registered", "denied.app-not-registered"],
    ["an absent app id", "app", { appId: "", teeVariant: "dstack-amd-sev-snp" }, "app not registered", "denied.app-not-registered", { ...policy, apps: { "": policy.apps[app] } }],
    ["another compose hash", "app", { composeHash: other }, "compose hash not allowed", "denied.compose-hash"],
    ["an absent compose hash", "app", { composeHash: "" }, "compose hash not allowed", "denied.compose-hash", appWith({ composeHashes: [""] })],
    ["an app of defaults", "app", {}, "compose hash not allowed", "denied.compose-hash", { ...policy, apps: { [app]: {} } }],
    ["another device of an app", "app", { deviceId: other }, "app is not allowed to boot on this device", "denied.device"],
    ["an app without devices", "app", {}, "app is not allowed to boot on this device", "denied.device", appWith({ devices: [] })],
    ["an app on any device", "app", { deviceId: other }, "", "allowed", appWith({ devices: [], allowAnyDevice: true })],
    ["two faults, by the earlier gate", "app", { tcbStatus: "x", osImageHash: other }, "TCB status is not allowed", "denied.tcb"],
  ]; // biome-ignore format: one row a line
  test.each(rows)("answer for %s", async (_name, kind, changes, reason, code, file = policy) => {
    await write(file);
    const { trace, ...decision } = await ask(kind, changes);
    expect(decision).toEqual({ isAllowed: code === "allowed", reason, gatewayAppId, code });
    const outcomes = trace?.map(({ outcome }) => outcome).join(" ");
    expect(outcomes).toMatch(code === "allowed" ? /^passed( passed)*$/ : /^(passed )*failed( not-reached)*$/);
    expect(trace?.find(({ outcome }) => outcome === "failed")?.gate).toBe(code === "allowed" ? undefined : code.slice(7));
  });

  test.each([
    ["kms", { osImageHash: other }, `add 0x${other} to osImages`],
    ["kms", { mrAggregated: other }, `add 0x${other} to kms.mrAggregated`],
    ["kms", { deviceId: other }, `add 0x${other} to kms.devices`],
    ["kms", { tcbStatus: "OutOfDate" }, null],
    ["app", { advisoryIds: ["x"] }, "add the advisories to allowedAdvisoryIds"],
    ["app", { appId: digits("9", 20) }, `add 0x${digits("9", 20)} to apps`],
    ["app", { composeHash: other }, `add 0x${other} to apps.0x${app}.composeHashes`],
    ["app", { deviceId: other }, `add 0x${other} to apps.0x${app}.devices`],
    ["app", { composeHash: "" }, null],
  ] as const)("of the %s question name what would open them: %o", async (kind, changes, task) => {
    const { trace } = await ask(kind, changes);
    expect(trace?.find(({ outcome }) => outcome === "failed")?.task).toBe(task);
  });

  test("hold an empty file's defaults, which allow nobody", async () => {
    await write({});
    expect(await ask("kms")).toMatchObject({ code: "denied.os-image", gatewayAppId: "" });
    expect(await ask("app", { tcbStatus: "OutOfDate" })).toMatchObject({ code: "denied.tcb" });
    expect(await ask("app", { advisoryIds: ["x"] })).toMatchObject({ code: "denied.tcb-advisory" });
  });

  test("take the same requests as the chain's", async () => {
    const send = (body: string) => fetch(`${listener.url}/bootAuth/app`, jsonPost(body));
    for (const body of ["", "{", JSON.stringify({ ...request, deviceId: "0x12" }), JSON.stringify({ ...request, appId: 1 })]) {
      const response = await send(body);
      expect([response.status, withoutAdded(await response.json())]).toEqual([400, invalid]);
    }
  });
});

describe("a file that cannot be used", () => {
  const rows: [name: string, place: () => unknown, problem: RegExp][] = [
    ["is missing", () => rm(path), /ENOENT/],
    ["is a folder", () => rm(path).then(() => mkdir(path)), /not a regular file/],
    ["is a pipe", () => rm(path).then(() => execFileSync("mkfifo", [path])), /not a regular file/],
    ["is a device", () => rm(path).then(() => symlink("/dev/zero", path)), /not a regular file/],
    ["points nowhere", () => rm(path).then(() => symlink(join(folder, "nowhere"), path)), /ENOENT/],
    ["is empty", () => write(""), /not JSON/],
    ["is cut off", () => write(JSON.stringify(policy).slice(0, -1)), /not JSON/],
    ["is not UTF-8", () => writeFile(path, Buffer.from([0x22, 0xff, 0x22])), /not JSON in UTF-8/],
    ["is too large", () => write(JSON.stringify(policy).padEnd(maxPolicyBytes + 1)), /need at most 1048576 bytes, have 1048577/],
    ["is a list", () => write([policy]), /expected object/],
    ["is null", () => write("null"), /expected object/],
    ["has an unknown key", () => write({ ...policy, osImage: [] }), /"osImage"/],
    ["has an unknown key of the KMS", () => write(kmsWith({ mrs: [] })), /kms: .*"mrs"/],
    ["has an unknown key of an app", () => write(appWith({ composeHash: [] })), /apps\.e{40}: .*"composeHash"/],
    ["has a text for a list", () => write({ ...policy, osImages: image }), /osImages: .*expected array/],
    ["has a number in a list", () => write(kmsWith({ devices: [1] })), /kms\.devices\.0: .*expected string/],
    ["has a text for a switch", () => write(appWith({ allowAnyDevice: "true" })), /allowAnyDevice: .*expected boolean/],
    ["has null for a part", () => write({ ...policy, kms: null }), /kms: .*expected object/],
    ["has a negative chain", () => write({ ...policy, chainId: -1 }), /chainId: /],
    [
      "has an app twice",
      () => write({ ...policy, apps: { [app]: {}, [`0x${app}`]: {} } }),
      /apps\.0xe{40}: the app is listed twice/,
    ],
    [
      "has a gateway id that clients would not read",
      () => write({ ...policy, gatewayAppId: "x".repeat(4097) }),
      /gatewayAppId: /,
    ],
  ];
  test.each(rows)("refuses when it %s, says so in the log, and recovers", async (_name, place, problem) => {
    await place();
    for (const kind of ["app", "kms"] as const) {
      expect(await ask(kind)).toEqual({ ...unavailable, code: "unavailable.policy-file" });
    }
    expect(JSON.stringify(warnings)).toMatch(new RegExp(`"problems":\\["[^\\]]*${problem.source.replaceAll('"', '\\\\"')}`));
    expect((await fetch(`${listener.url}/health`)).status).toBe(200);
    await rm(path, { recursive: true, force: true });
    await write(policy);
    expect((await ask("kms")).code).toBe("allowed");
  });

  test.skipIf(process.getuid?.() === 0)("refuses when nobody may read it", async () => {
    await chmod(path, 0);
    expect((await ask("kms")).code).toBe("unavailable.policy-file");
  });

  test("logs at most eight problems, and no content", async () => {
    await write({ ...policy, osImages: Array.from({ length: 40 }, (_, index) => ({ secret: index })) });
    await ask("kms");
    expect(warnings[0]).toMatchObject({ path, problems: { length: 9, 8: "and 32 more" } });
    expect(JSON.stringify(warnings)).not.toContain("secret");
  });

  test("is described by the defaults, and is not ready", async () => {
    await rm(path);
    const description = { gatewayAppId: "", kmsContractAddr: zeroAddress, appImplementation: zeroAddress, chainId: 0 };
    expect(await describeIt()).toMatchObject({ status: 200, json: { status: "ok", ...description } });
    expect((await describeIt()).json).not.toHaveProperty("kmsInfo"); // null would say that keys could be registered and are not
    const authority = createFileAuthority({ path, log: { warn: () => undefined } });
    await expect(authority.ready()).rejects.toMatchObject({ boundary: "policy-file" });
    await write(policy);
    expect(await authority.ready()).toBeUndefined();
  });
});

test("a file that was replaced counts from the next request on", async () => {
  for (let round = 0; round < 3; round++) {
    expect((await ask("app")).code).toBe("allowed");
    const next = join(folder, "next.json");
    await writeFile(next, JSON.stringify(appWith({ composeHashes: [] })));
    await rename(next, path);
    expect((await ask("app")).code).toBe("denied.compose-hash");
    await write(policy);
  }
});

test("a symbolic link is followed, as mounted configuration needs it", async () => {
  await rename(path, join(folder, "target.json"));
  await symlink(join(folder, "target.json"), path);
  expect((await ask("kms")).code).toBe("allowed");
});

test("the description comes from the file", async () => {
  const { kmsContractAddr, appImplementation, chainId } = policy;
  const json = {
    status: "ok",
    kmsContractAddr,
    appImplementation,
    appAuthImplementation: appImplementation,
    chainId,
    gatewayAppId,
  };
  expect(await describeIt()).toMatchObject({ status: 200, json });
});

test("the process starts without its file, and decides as soon as there is one", async () => {
  await rm(path);
  const { child, lineOf } = startProcess({ AUTH_CONFIG_PATH: path, PORT: "0" });
  expect(await lineOf("not ready yet")).toMatchObject({ boundary: "policy-file" });
  const { url } = await lineOf("listening");
  expect((await fetch(`${url}/ready`)).status).toBe(503);
  await write(policy);
  expect(await (await fetch(`${url}/ready`)).json()).toEqual({ status: "ready" });
  const answer = await fetch(`${url}/bootAuth/app`, jsonPost(JSON.stringify(request)));
  expect(await answer.json()).toMatchObject({ isAllowed: true, gatewayAppId, code: "allowed" });
  child.kill("SIGTERM");
  expect(await once(child, "exit")).toEqual([0, null]);
});
