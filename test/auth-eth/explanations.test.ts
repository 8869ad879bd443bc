/** The added members of an answer: its code, and the gates in the contract's order with the task that would change the failing one. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { bootInfoSchema, denialCodes } from "../../auth-eth/api.ts";
import { explain } from "../../auth-eth/gates.ts";

const digits = (digit: string, bytes = 32) => digit.repeat(2 * bytes);
const boot = bootInfoSchema.parse({
  mrAggregated: digits("1"),
  osImageHash: `0x${digits("2")}`,
  deviceId: digits("3"),
  appId: digits("4", 20),
  composeHash: digits("5"),
  instanceId: "",
  tcbStatus: "OutOfDate",
  advisoryIds: ["INTEL-SA-00837"],
});
const appId = `0x${digits("4", 20)}`;

test.each([
  ["kms", "TCB status is not up to date", "denied.tcb", "OutOfDate", null],
  ["kms", "KMS is paused", "denied.paused", "", "kms unpause"],
  ["kms", "TCB advisory is not accepted", "denied.tcb-advisory", "INTEL-SA-00837", "kms accept-advisory INTEL-SA-00837"],
  ["kms", "OS image is not allowed", "denied.os-image", `0x${digits("2")}`, `kms add-image 0x${digits("2")}`],
  ["kms", "Aggregated MR not allowed", "denied.aggregated-mr", `0x${digits("1")}`, `kms add-mr 0x${digits("1")}`],
  ["kms", "KMS is not allowed to boot on this device", "denied.device", `0x${digits("3")}`, `kms add-device 0x${digits("3")}`],
  ["app", "KMS is paused", "denied.paused", "", "kms unpause"],
  ["app", "App not registered", "denied.app-not-registered", appId, "app create"],
  ["app", "App is suspended", "denied.app-suspended", appId, `kms reinstate-app ${appId}`],
  ["app", "OS image is not allowed", "denied.os-image", `0x${digits("2")}`, `kms add-image 0x${digits("2")}`],
  ["app", "App not deployed or invalid address", "denied.app-not-deployed", appId, "app create"],
  ["app", "App contract failed", "denied.app-contract-failed", appId, null],
  ["app", "App contract answer is malformed", "denied.app-contract-answer", appId, null],
  [
    "app",
    "TCB advisory is not accepted",
    "denied.tcb-advisory",
    "INTEL-SA-00837",
    `app accept-advisory INTEL-SA-00837 --app ${appId}`,
  ],
  ["app", "TCB status is not up to date", "denied.tcb", "OutOfDate", null],
  [
    "app",
    "Compose hash not allowed",
    "denied.compose-hash",
    `0x${digits("5")}`,
    `app allow-compose 0x${digits("5")} --app ${appId}`,
  ],
  ["app", "Device not allowed", "denied.device", `0x${digits("3")}`, null],
  ["app", "authorization backend unavailable", "denied.other", "authorization backend unavailable", null],
] as const)("explains the %s denial: %s", (kind, reason, code, came, task) => {
  const { code: given, trace } = explain(kind, boot, { isAllowed: false, reason });
  expect(given).toBe(code);
  const failed = trace.filter(({ outcome }) => outcome === "failed");
  expect(failed).toEqual([{ gate: code.slice("denied.".length), expected: expect.any(String), came, outcome: "failed", task }]);
});

test("names no task for what the evidence leaves out", () => {
  const bare = { ...boot, osImageHash: "", composeHash: "0x" };
  for (const reason of ["OS image is not allowed", "Compose hash not allowed"]) {
    const { trace } = explain("app", bare, { isAllowed: false, reason });
    expect(trace.find(({ outcome }) => outcome === "failed")?.task).toBeNull();
  }
});

test.each([
  ["several advisories", ["INTEL-SA-00837", "INTEL-SA-00960"], "INTEL-SA-00837, INTEL-SA-00960"],
  ["an advisory that is no word", ["X; rm -rf /"], "X; rm -rf /"],
  ["no advisory", [], ""],
])("puts no advisory into the task for %s", (_name, advisoryIds, came) => {
  const { trace } = explain("kms", { ...boot, advisoryIds }, { isAllowed: false, reason: "TCB advisory is not accepted" });
  const failed = trace.find(({ outcome }) => outcome === "failed");
  expect(failed).toMatchObject({ came, task: "kms accept-advisory ADVISORY" });
});

test("asks the gates in the contracts' order", () => {
  const gatesOf = (kind: "app" | "kms") => explain(kind, boot, { isAllowed: true, reason: "" }).trace.map(({ gate }) => gate);
  expect(gatesOf("kms")).toEqual(["paused", "tcb", "tcb-advisory", "os-image", "aggregated-mr", "device"]);
  expect(gatesOf("app").slice(0, 7)).toEqual([
    "paused",
    "app-not-registered",
    "app-suspended",
    "os-image",
    "app-not-deployed",
    "app-contract-failed",
    "app-contract-answer",
  ]);
  expect(gatesOf("app").slice(7)).toEqual(["tcb", "tcb-advisory", "compose-hash", "device"]);
});

test("whatever a contract says, a denial has a denial's code and one failed gate after passed ones only", () => {
  fc.assert(
    fc.property(fc.constantFrom("app", "kms"), fc.string(), (kind, reason) => {
      const { code, trace } = explain(kind, boot, { isAllowed: false, reason });
      expect(denialCodes).toContain(code);
      expect(trace.map(({ outcome }) => outcome).join(" ")).toMatch(/^(passed )*failed( not-reached)*$/);
      expect(explain(kind, boot, { isAllowed: true, reason })).toMatchObject({ code: "allowed" });
    }),
  );
});
