/** What the webhook decides and which identities it takes, KmsAuth on a real chain behind it. */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bootInfoSchema } from "../../auth-eth/api.ts";
import { UnavailableError } from "../../auth-eth/unavailable.ts";
import { type Generation, generations, hashOf, oddApps, startChain, type TestChain, zero32 } from "./support/chain.ts";
import { invalid, startWebhook, unavailable, withoutAdded } from "./support/webhook.ts";

const mr = hashOf("1");
const image = hashOf("2");
const device = hashOf("3");
const compose = hashOf("c");
const chipId = "5a".repeat(64);
const gatewayAppId = "gateway-app";

let chain: TestChain;
let webhook: Awaited<ReturnType<typeof startWebhook>>;
let appId: string;
let strictAppId: string;

async function start(generation: Generation): Promise<void> {
  chain = await startChain(generation);
  const { write } = chain.kmsAuth;
  await write.addKmsAggregatedMr([mr]);
  await write.addOsImageHash([image]);
  await write.addKmsDevice([device]);
  await write.addKmsDevice([`0x${createHash("sha256").update(Buffer.from(chipId, "hex")).digest("hex")}`]);
  await write.setGatewayAppId([gatewayAppId]);
  appId = await chain.createApp({ composeHash: compose });
  strictAppId = await chain.createApp({ composeHash: compose, requireTcb: true, anyDevice: false, device });
  await chain.placeOddApps();
  // thirty questions at once, two of which loop until their gas ends, are much for the embedded chain of a busy machine
  const patient = { AUTH_DEADLINE_MS: "60000" };
  webhook = await startWebhook({ ETH_RPC_URL: chain.rpcUrl, KMS_CONTRACT_ADDR: chain.kmsAuth.address, PORT: "0", ...patient });
}
async function stop(): Promise<void> {
  await webhook.close();
  await chain.close();
}

const strip = (hex: string) => hex.replace(/^0x/, "");
/** What the KMS sends: lower-case hex without prefix. */
function boot(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    teeVariant: "dstack-tdx",
    mrAggregated: strip(mr),
    osImageHash: strip(image),
    mrSystem: "",
    appId: strip(appId).toLowerCase(),
    composeHash: strip(compose),
    instanceId: "",
    deviceId: strip(device),
    keyProviderInfo: "",
    tcbStatus: "UpToDate",
    advisoryIds: [],
    ...changes,
  };
}
const without = (name: string) => Object.fromEntries(Object.entries(boot()).filter(([key]) => key !== name));
const allowed = { isAllowed: true, reason: "", gatewayAppId };
const denied = (reason: string) => ({ isAllowed: false, reason, gatewayAppId });

describe.each(generations)("before the contracts %s", (generation) => {
  beforeAll(() => start(generation));
  afterAll(stop);

  describe("decisions", () => {
    const upper = (hex: string) => strip(hex).toUpperCase();
    const rows: [name: string, kind: "app" | "kms", changes: () => Record<string, unknown>, answer: object][] = [
      ["an app that its owner allows", "app", () => ({}), allowed],
      ["a KMS that its owner allows", "kms", () => ({}), allowed],
      ["a KMS without app identity", "kms", () => ({ composeHash: "" }), allowed],
      ["the 0x prefix", "app", () => ({ mrAggregated: mr, osImageHash: image, appId: appId.toLowerCase() }), allowed],
      ["upper-case hashes", "app", () => ({ composeHash: upper(compose) }), allowed],
      ["an upper-case appId", "app", () => ({ appId: upper(appId) }), allowed],
      ["a mixed-case appId with a wrong checksum", "app", () => ({ appId: flipCase(appId) }), allowed],
      ["a mixed-case instanceId with a wrong checksum", "app", () => ({ instanceId: `0x${"aB".repeat(20)}` }), allowed],
      ["an unregistered app", "app", () => ({ appId: "11".repeat(20) }), denied("App not registered")],
      ["an unlisted image", "app", () => ({ osImageHash: "99".repeat(32) }), denied("OS image is not allowed")],
      ["an unlisted compose hash", "app", () => ({ composeHash: "99".repeat(32) }), denied("Compose hash not allowed")],
      [
        "an out-of-date platform of a strict app",
        "app",
        () => ({ appId: strictAppId, tcbStatus: "OutOfDate" }),
        denied("TCB status is not up to date"),
      ],
      [
        "another device of a strict app",
        "app",
        () => ({ appId: strictAppId, deviceId: "99".repeat(32) }),
        denied("Device not allowed"),
      ],
      ["an out-of-date KMS", "kms", () => ({ tcbStatus: "OutOfDate" }), denied("TCB status is not up to date")],
      ["a KMS without TCB status", "kms", () => ({ tcbStatus: "" }), denied("TCB status is not up to date")],
      ["an unlisted measurement", "kms", () => ({ mrAggregated: "99".repeat(32) }), denied("Aggregated MR not allowed")],
      ["an unlisted device", "kms", () => ({ deviceId: "99".repeat(32) }), denied("KMS is not allowed to boot on this device")],
      ["a raw 64-byte chip id as its SHA-256", "kms", () => ({ deviceId: chipId }), allowed],
      ["another chip id", "kms", () => ({ deviceId: "5b".repeat(64) }), denied("KMS is not allowed to boot on this device")],
      ["no appId on SEV-SNP", "app", () => ({ appId: "", teeVariant: "dstack-amd-sev-snp" }), denied("App not registered")],
      [
        "an app id without code",
        "app",
        () => ({ appId: oddApps.withoutCode.address }),
        denied("App not deployed or invalid address"),
      ],
      ["an app contract that allows all", "app", () => ({ appId: oddApps.allowsAll.address }), allowed],
      ["an app contract that reverts", "app", () => ({ appId: oddApps.reverts.address }), unavailable],
      ["an app contract that loops", "app", () => ({ appId: oddApps.loops.address }), unavailable],
      ["an app contract that answers too little", "app", () => ({ appId: oddApps.answersTooLittle.address }), unavailable],
      ["128 code points of TCB status", "kms", () => ({ tcbStatus: "😀".repeat(128) }), denied("TCB status is not up to date")],
      ["128 advisories of 256 code points", "app", () => ({ advisoryIds: Array(128).fill("😀".repeat(256)) }), allowed],
      ["unknown members", "app", () => ({ surprise: { a: [1] }, keyProviderInfo: 5 }), allowed],
    ];
    test.each(rows)("answers for %s", async (_name, kind, changes, answer) => {
      expect(await webhook.post(kind, boot(changes()))).toEqual({ status: 200, json: answer });
    });

    test("answers for each of them the same when all begin together and share their requests", async () => {
      const together = rows.map(([, kind, changes]) =>
        webhook.authority.decide(kind, bootInfoSchema.parse(boot(changes()))).then(
          (decision) => withoutAdded(decision),
          (error: unknown) => (error instanceof UnavailableError ? unavailable : error),
        ),
      );
      expect(await Promise.all(together)).toEqual(rows.map(([, , , answer]) => answer));
    });

    test.each([
      ["kms", {}, "allowed"],
      ["kms", { tcbStatus: "OutOfDate" }, "denied.tcb"],
      ["kms", { mrAggregated: "99".repeat(32) }, "denied.aggregated-mr"],
      ["app", { osImageHash: "99".repeat(32) }, "denied.os-image"],
      ["app", { composeHash: "" }, "denied.compose-hash"],
      ["app", { appId: oddApps.withoutCode.address }, "denied.app-not-deployed"],
      ["app", { appId: oddApps.longReason.address }, "denied.other"],
      ["app", { appId: oddApps.reverts.address }, "unavailable.rpc-reverted"],
      ["app", { appId: "1" }, "invalid"],
    ] as const)("codes the %s answer to %o as %s", async (kind, changes, code) => {
      expect((await webhook.ask(kind, boot(changes))).code).toBe(code);
    });

    test("bounds a reason that an app contract made long and unprintable", async () => {
      const { status, json } = await webhook.post("app", boot({ appId: oddApps.longReason.address }));
      expect({ status, json }).toEqual({ status: 200, json: denied("?".repeat(256)) });
    });

    test("fills in members that may be missing", async () => {
      for (const name of ["mrSystem", "advisoryIds", "teeVariant", "keyProviderInfo"]) {
        expect(await webhook.post("app", without(name))).toEqual({ status: 200, json: allowed });
      }
      expect(await webhook.post("app", without("tcbStatus"))).toEqual({ status: 200, json: allowed });
    });

    test("sees a revocation in the very next block", async () => {
      const changing = await chain.createApp({ composeHash: compose });
      const contract = await chain.viem.getContractAt("AppAuth", changing as `0x${string}`);
      for (let round = 0; round < 3; round++) {
        expect((await webhook.post("app", boot({ appId: changing }))).json).toEqual(allowed);
        await contract.write.removeComposeHash([compose]);
        expect((await webhook.post("app", boot({ appId: changing }))).json).toEqual(denied("Compose hash not allowed"));
        await contract.write.addComposeHash([compose]);
      }
    });
  });

  describe("absent identities", () => {
    test("are never helped by a listed zero", async () => {
      const { write } = chain.kmsAuth;
      const zeroApp = await chain.createApp({ composeHash: compose });
      const contract = await chain.viem.getContractAt("AppAuth", zeroApp);
      await write.addOsImageHash([zero32]);
      await contract.write.addComposeHash([zero32]);
      const base = { appId: zeroApp };
      const cases = [
        ["app", { ...base, composeHash: "" }, "Compose hash not allowed"],
        ["app", { ...base, composeHash: "0x" }, "Compose hash not allowed"],
        ["app", { ...base, osImageHash: "" }, "OS image is not allowed"],
        ["app", { ...base, osImageHash: "", composeHash: "" }, "OS image is not allowed"],
        ["kms", { osImageHash: "" }, "OS image is not allowed"],
      ] as const;
      for (const [kind, changes, reason] of cases) {
        expect((await webhook.post(kind, boot(changes))).json).toEqual(denied(reason));
      }
      await write.removeOsImageHash([zero32]);
    });
  });

  describe("invalid requests", () => {
    const fields = ["mrAggregated", "osImageHash", "mrSystem", "composeHash", "deviceId", "appId", "instanceId"];
    const values: [string, (length: number) => unknown][] = [
      ["one digit short", (length) => "1".repeat(length - 1)],
      ["one byte short", (length) => "1".repeat(length - 2)],
      ["one byte long", (length) => "1".repeat(length + 2)],
      ["not hex", (length) => "g".repeat(length)],
      ["an upper-case prefix", (length) => `0X${"1".repeat(length)}`],
      ["a line end", (length) => `${"1".repeat(length)}\n`],
      ["a number", () => 1234],
      ["null", () => null],
      ["a boolean", () => true],
      ["an array", (length) => ["1".repeat(length)]],
      ["an object", () => ({})],
    ];
    test.each(fields)("refuses every wrong form of %s", async (field) => {
      const length = field === "appId" || field === "instanceId" ? 40 : 64;
      for (const [name, make] of values) {
        const answer = await webhook.post("app", boot({ [field]: make(length) }));
        expect([name, answer]).toEqual([name, { status: 400, json: invalid }]);
      }
    });

    test.each(["mrAggregated", "osImageHash", "composeHash", "deviceId", "appId", "instanceId"])(
      "refuses a request without %s",
      async (field) => {
        expect(await webhook.post("kms", without(field))).toEqual({ status: 400, json: invalid });
      },
    );

    test.each([
      ["an empty mrAggregated", { mrAggregated: "" }],
      ["an empty deviceId", { deviceId: "" }],
      ["an empty appId outside SEV-SNP", { appId: "" }],
      ["an appId of only a prefix outside SEV-SNP", { appId: "0x" }],
      ["129 code points of TCB status", { tcbStatus: "x".repeat(129) }],
      ["129 advisories", { advisoryIds: Array(129).fill("x") }],
      ["257 code points of an advisory", { advisoryIds: ["😀".repeat(257)] }],
      ["advisories that are one text", { advisoryIds: "INTEL-SA-1" }],
      ["an advisory that is no text", { advisoryIds: [1] }],
      ["no TCB status but null", { tcbStatus: null }],
    ])("refuses %s", async (_name, changes) => {
      expect(await webhook.post("kms", boot(changes))).toEqual({ status: 400, json: invalid });
    });
  });
});

function flipCase(address: string): string {
  return `0x${strip(address).replace(/[a-f]/gi, (digit) => (digit === digit.toLowerCase() ? digit.toUpperCase() : digit.toLowerCase()))}`;
}
