/** The file's policy against a model of its rules, and what any file whatever can at most do. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { bootInfoSchema } from "../../auth-eth/api.ts";
import { decideByFile, filePolicySchema } from "../../auth-eth/file-policy.ts";

const digits = (digit: string, bytes = 32) => digit.repeat(2 * bytes);
const spellings = (hex: string) => [hex, hex.toUpperCase(), `0x${hex}`, `0x${hex.toUpperCase()}`];
/** Two values, their spellings, and what must match nothing. */
const hashes = fc.constantFrom(...["a", "b"].flatMap((digit) => spellings(digits(digit))));
const addresses = fc.constantFrom(...["d", "e"].flatMap((digit) => spellings(digits(digit, 20))));
const inFile = (entries: fc.Arbitrary<string>) =>
  fc.array(fc.oneof({ weight: 9, arbitrary: entries }, fc.constantFrom("", "0x", "0xabc", "any")), { maxLength: 4 });
const statuses = fc.constantFrom("UpToDate", "uptodate", "OutOfDate", "");
const advisories = fc.array(fc.constantFrom("INTEL-SA-1", "INTEL-SA-2"), { maxLength: 2 });

const policies = fc.record(
  {
    osImages: inFile(hashes),
    allowedTcbStatuses: fc.array(statuses, { maxLength: 2 }),
    allowedAdvisoryIds: advisories,
    gatewayAppId: fc.string(),
    kms: fc.record({ mrAggregated: inFile(hashes), devices: inFile(hashes), allowAnyDevice: fc.boolean() }, { requiredKeys: [] }),
    apps: fc.dictionary(
      fc.constantFrom(digits("d", 20), `0x${digits("e", 20)}`, "", "any"),
      fc.record({ composeHashes: inFile(hashes), devices: inFile(hashes), allowAnyDevice: fc.boolean() }, { requiredKeys: [] }),
    ),
  },
  { requiredKeys: [] },
);
const requests = fc.record({
  teeVariant: fc.constant("dstack-amd-sev-snp"), // the one that may leave its app id out
  mrAggregated: hashes,
  osImageHash: fc.oneof({ weight: 5, arbitrary: hashes }, fc.constant("")),
  appId: fc.oneof({ weight: 5, arbitrary: addresses }, fc.constantFrom("", "0x")),
  composeHash: fc.oneof({ weight: 5, arbitrary: hashes }, fc.constant("0x")),
  instanceId: fc.constant(""),
  deviceId: hashes,
  tcbStatus: fc.oneof({ weight: 5, arbitrary: fc.constant("UpToDate") }, statuses),
  advisoryIds: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, advisories),
});
const kinds = fc.constantFrom("app" as const, "kms" as const);

type Part = { devices?: string[]; allowAnyDevice?: boolean; mrAggregated?: string[]; composeHashes?: string[] };
interface Written {
  osImages?: string[];
  allowedTcbStatuses?: string[];
  allowedAdvisoryIds?: string[];
  kms?: Part;
  apps?: Record<string, Part>;
}
type Asked = Record<"mrAggregated" | "osImageHash" | "appId" | "composeHash" | "deviceId" | "tcbStatus", string> & {
  advisoryIds: string[];
};

/** The rules once more, as a list of sentences. */
function reasonOf(file: Written, kind: "app" | "kms", asked: Asked): string {
  const bare = (hex: string) => hex.toLowerCase().replace(/^0x/, "");
  const has = (list: string[] | undefined, hex: string) =>
    bare(hex) !== "" && (list ?? []).some((entry) => bare(entry) === bare(hex));
  if (!(file.allowedTcbStatuses ?? ["UpToDate"]).some((status) => status === asked.tcbStatus)) return "TCB status is not allowed";
  if (asked.advisoryIds.some((id) => !(file.allowedAdvisoryIds ?? []).includes(id))) return "advisory ID is not allowed";
  if (!has(file.osImages, asked.osImageHash)) return "OS image is not allowed";
  if (kind === "kms") {
    if (!has(file.kms?.mrAggregated, asked.mrAggregated)) return "aggregated MR not allowed";
    return file.kms?.allowAnyDevice || has(file.kms?.devices, asked.deviceId) ? "" : "KMS is not allowed to boot on this device";
  }
  const [, app] = Object.entries(file.apps ?? {}).find(([name]) => has([name], asked.appId)) ?? [];
  if (app === undefined) return "app not registered";
  if (!has(app.composeHashes, asked.composeHash)) return "compose hash not allowed";
  return app.allowAnyDevice || has(app.devices, asked.deviceId) ? "" : "app is not allowed to boot on this device";
}

test("decides as the model does, and explains what it decided", () => {
  const reasons = new Map<string, number>();
  fc.assert(
    fc.property(policies, kinds, requests, (file, kind, asked) => {
      const { trace, ...decision } = decideByFile(filePolicySchema.parse(file), kind, bootInfoSchema.parse(asked));
      const reason = reasonOf(file as Written, kind, asked as Asked);
      expect(decision).toMatchObject({ isAllowed: reason === "", reason, gatewayAppId: file.gatewayAppId ?? "" });
      expect(decision.code).toMatch(reason === "" ? /^allowed$/ : /^denied\./);
      const failed = trace?.filter(({ outcome }) => outcome === "failed").map(({ gate }) => `denied.${gate}`);
      expect(failed).toEqual(reason === "" ? [] : [decision.code]);
      reasons.set(`${kind} ${reason}`, 1 + (reasons.get(`${kind} ${reason}`) ?? 0));
    }),
    { numRuns: 3000, seed: 20_261_121 },
  );
  expect(reasons.size).toBe(6 + 7); // every gate of both questions failed and all of them passed
});

test("no file at all allows a request that it does not name", () => {
  const asked = bootInfoSchema.parse({
    mrAggregated: digits("1"),
    osImageHash: digits("2"),
    appId: digits("3", 20),
    composeHash: digits("4"),
    instanceId: "",
    deviceId: digits("5"),
    tcbStatus: "UpToDate",
  });
  const names = fc.constantFrom("osImages", "kms", "apps", "gatewayAppId", "allowedTcbStatuses", "__proto__", "constructor");
  const files = fc.oneof(fc.jsonValue(), fc.dictionary(names, fc.jsonValue()), policies);
  fc.assert(
    fc.property(files, kinds, (file, kind) => {
      const { data } = filePolicySchema.safeParse(JSON.parse(JSON.stringify(file)));
      if (data !== undefined) expect(decideByFile(data, kind, asked).isAllowed).toBe(false);
    }),
    { numRuns: 2000 },
  );
});

test("names of the language's own objects are no apps", () => {
  const policy = filePolicySchema.parse(JSON.parse('{"osImages":["22"],"apps":{"toString":{},"constructor":{}}}'));
  for (const name of ["__proto__", "hasOwnProperty", "valueOf"]) expect(policy.apps.has(name)).toBe(false);
});
