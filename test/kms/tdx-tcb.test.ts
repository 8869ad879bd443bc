/** TCB levels, the TDX module, the QE's policy, attributes and merging: the judgement rules apart from the signatures. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { requireAttributes } from "../../kms/attestation/tdx/attributes.ts";
import type { PlatformIdentity } from "../../kms/attestation/tdx/pck.ts";
import { parseQeIdentity, verifyQeIdentity } from "../../kms/attestation/tdx/qe-identity.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { parseDate } from "../../kms/attestation/tdx/signed-json.ts";
import { parseTcbInfo, type TcbInfo } from "../../kms/attestation/tdx/tcb-info.ts";
import { matchTcbLevel, matchTdxModule, type TdReport } from "../../kms/attestation/tdx/tcb-match.ts";
import { mergeTcb, tcbStatuses } from "../../kms/attestation/tdx/tcb-status.ts";
import { expected, readCollateral, readQuote } from "../support/tdx-samples.ts";

const quote = parseQuote(readQuote("tdx-v4-b0c06f-a.bin"));
const collateral = readCollateral("collateral-b0c06f-2025-06.json");
const tcbInfo = parseTcbInfo(collateral.tcbInfo);
const qeIdentity = parseQeIdentity(collateral.qeIdentity);

function tdReport(changes: Partial<TdReport> = {}): TdReport {
  if (quote.body.kind !== "td10") throw new Error("the sample has a TD report 1.0");
  return { ...quote.body, ...changes, kind: "td10" };
}

function platform(cpuSvn: readonly number[], pceSvn: number): PlatformIdentity {
  const zeros = new Uint8Array(16);
  return { ppid: zeros, cpuSvn: Uint8Array.from(cpuSvn), pceSvn, pceId: new Uint8Array(2), fmspc: new Uint8Array(6) };
}

const SVNS = [2, 2, 2, 2, 3, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0];
const tcbLevelCode = expect.objectContaining({ code: "unproven.tcb-level" });
const moduleCode = expect.objectContaining({ code: "unproven.tdx-module" });
const qeCode = expect.objectContaining({ code: "unproven.qe-identity" });

/** TCB info with other levels, read as the signed text would be. */
function infoWith(text: string, members: Readonly<Record<string, unknown>>): TcbInfo {
  return parseTcbInfo(JSON.stringify({ ...JSON.parse(text), ...members }));
}

describe("a TCB level", () => {
  test.each(Object.keys(expected.collateral))("has its place in %s whatever the order of the JSON", (file) => {
    const { tcbInfo: text } = readCollateral(file);
    const sorted = parseTcbInfo(text).tcbLevels;
    const levels: unknown[] = JSON.parse(text).tcbLevels;
    fc.assert(
      fc.property(fc.shuffledSubarray(levels, { minLength: levels.length }), (tcbLevels) => {
        expect(infoWith(text, { tcbLevels }).tcbLevels).toEqual(sorted);
      }),
      { numRuns: 20 },
    );
  });

  const zeros = new Array<number>(16).fill(0);
  const svnList = (svns: readonly number[]) => svns.map((svn) => ({ svn }));
  const levelOf = (name: string, sgx: readonly number[], pcesvn: number, tdx: readonly number[]) => ({
    tcb: { sgxtcbcomponents: svnList(sgx), pcesvn, tdxtcbcomponents: svnList(tdx) },
    tcbDate: name,
    tcbStatus: "UpToDate",
  });
  const a = (...first: readonly number[]) => [...first, ...zeros.slice(first.length)];

  test.each<[string, ReturnType<typeof levelOf>[], string]>([
    ["the first SGX component", [levelOf("low", a(1, 9), 9, a(9)), levelOf("high", a(2), 0, a())], "high,low"],
    ["the last SGX component", [levelOf("low", a(), 9, a(9)), levelOf("high", zeros.with(15, 1), 0, a())], "high,low"],
    ["the PCE, where the SGX components agree", [levelOf("low", a(), 1, a(9)), levelOf("high", a(), 2, a())], "high,low"],
    ["the TDX components, where both agree", [levelOf("low", a(), 1, a(1, 9)), levelOf("high", a(), 1, a(2))], "high,low"],
    ["the JSON, where all agree", [levelOf("first", a(), 1, a()), levelOf("second", a(), 1, a())], "first,second"],
    [
      "the longer list, where the shorter one ends",
      [levelOf("low", a().slice(1), 1, a()), levelOf("high", a(), 1, a())],
      "high,low",
    ],
    [
      "the shorter list, where it is higher before its end",
      [levelOf("low", a(), 9, a()), levelOf("high", [1], 1, a())],
      "high,low",
    ],
  ])("is ordered by %s", (_, tcbLevels, order) => {
    const names = (levels: readonly unknown[], id: string) =>
      infoWith(collateral.tcbInfo, { id, tcbLevels: levels })
        .tcbLevels.map(({ tcbDate }) => tcbDate)
        .join();
    expect(names(tcbLevels, "TDX")).toBe(order);
    if (!order.startsWith("first")) expect(names(tcbLevels.toReversed(), "TDX")).toBe(order);
  });

  test("is not ordered by TDX components for an SGX platform", () => {
    const tcbLevels = [levelOf("first", a(), 1, a(1)), levelOf("second", a(), 1, a(2))];
    const names = infoWith(collateral.tcbInfo, { id: "SGX", tcbLevels }).tcbLevels.map(({ tcbDate }) => tcbDate);
    expect(names).toEqual(["first", "second"]);
  });

  test("needs every component, the PCE and all sixteen TDX components", () => {
    const required = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
    const info = infoWith(collateral.tcbInfo, { tcbLevels: [levelOf("only", required, 11, required)] });
    const exact = Uint8Array.from(required);
    expect(matchTcbLevel(info, platform(required, 11), exact).tcbDate).toBe("only");
    expect(() => matchTcbLevel(info, platform(required, 10), exact)).toThrow(tcbLevelCode);
    required.forEach((svn, index) => {
      expect(() => matchTcbLevel(info, platform(required.with(index, svn - 1), 11), exact)).toThrow(tcbLevelCode);
      const below = exact.with(index, svn - 1);
      expect(() => matchTcbLevel(info, platform(required, 11), below)).toThrow(tcbLevelCode);
      expect(matchTcbLevel(info, platform(required.with(index, 255), 65535), exact.with(index, 255)).tcbDate).toBe("only");
    });
    expect(matchTcbLevel(info, platform(required, 11)).tcbDate).toBe("only");
  });

  test("is the highest that the platform reaches, not the last", () => {
    const levels = [levelOf("low", a(), 0, a()), levelOf("high", a(5), 0, a()), levelOf("middle", a(3), 0, a())];
    const info = infoWith(collateral.tcbInfo, { tcbLevels: levels });
    const found = [5, 4, 3, 2, 0].map((svn) => matchTcbLevel(info, platform(a(svn), 0), Uint8Array.from(zeros)).tcbDate);
    expect(found).toEqual(["high", "middle", "middle", "low", "low"]);
  });

  test.each<[string, ReturnType<typeof levelOf>]>([
    ["no SGX components", levelOf("", [], 0, a())],
    ["fifteen SGX components", levelOf("", a().slice(1), 0, a())],
    ["no TDX components", levelOf("", a(), 0, [])],
    ["fifteen TDX components", levelOf("", a(), 0, a().slice(1))],
  ])("is refused with %s when its turn comes", (_, level) => {
    const info = infoWith(collateral.tcbInfo, { tcbLevels: [level] });
    const mismatch = expect.objectContaining({ code: "unproven.tcb-level", message: expect.stringContaining("count mismatch") });
    expect(() => matchTcbLevel(info, platform(a(), 0), Uint8Array.from(zeros))).toThrow(mismatch);
    const higher = infoWith(collateral.tcbInfo, { tcbLevels: [level, levelOf("higher", a(1), 0, a())] });
    expect(matchTcbLevel(higher, platform(a(1), 0), Uint8Array.from(zeros)).tcbDate).toBe("higher");
  });

  test("refuses an empty list", () => {
    expect(() => matchTcbLevel({ ...tcbInfo, tcbLevels: [] }, platform(SVNS, 11), new Uint8Array(16))).toThrow(tcbLevelCode);
  });
});

describe("a TDX module", () => {
  const svns = (isvSvn: number, version: number) => Uint8Array.from([isvSvn, version, ...new Array(14).fill(0)]);

  test("is judged by the first level of its identity that it reaches", () => {
    expect(matchTdxModule(tcbInfo, tdReport(), svns(4, 1))).toMatchObject({ id: "TDX_01", status: "UpToDate" });
    expect(matchTdxModule(tcbInfo, tdReport(), svns(3, 1))).toMatchObject({ id: "TDX_01", status: "OutOfDate" });
    expect(matchTdxModule(tcbInfo, tdReport(), svns(3, 3))).toMatchObject({ id: "TDX_03", status: "UpToDate" });
    expect(() => matchTdxModule(tcbInfo, tdReport(), svns(1, 1))).toThrow(moduleCode);
  });

  test("takes its levels in the order of the JSON, with their advisories", () => {
    const level = (isvsvn: number, tcbStatus: "UpToDate" | "OutOfDate") => ({
      tcb: { isvsvn },
      tcbDate: "",
      tcbStatus,
      advisoryIDs: [tcbStatus],
    });
    const tdxModuleIdentities = tcbInfo.tdxModuleIdentities.map((identity) => ({
      ...identity,
      tcbLevels: [level(2, "OutOfDate"), level(6, "UpToDate")],
    }));
    const judged = matchTdxModule({ ...tcbInfo, tdxModuleIdentities }, tdReport(), svns(6, 1));
    expect(judged).toEqual({ id: "TDX_01", status: "OutOfDate", advisoryIds: ["OutOfDate"] });
  });

  test("needs an identity of its version, and none in version 0 or where the TCB info has none", () => {
    expect(() => matchTdxModule(tcbInfo, tdReport(), svns(9, 2))).toThrow(moduleCode);
    expect(matchTdxModule(tcbInfo, tdReport(), svns(0, 0))).toBeUndefined();
    expect(matchTdxModule({ ...tcbInfo, tdxModuleIdentities: [] }, tdReport(), svns(0, 2))).toBeUndefined();
  });

  test("compares identity ids without regard to case, with two hex digits", () => {
    const tdxModuleIdentities = tcbInfo.tdxModuleIdentities.map((identity) => ({ ...identity, id: "tdx_0a" }));
    expect(matchTdxModule({ ...tcbInfo, tdxModuleIdentities }, tdReport(), svns(9, 10))?.id).toBe("TDX_0A");
  });

  test("needs the signer, with and without an identity, and the base expectation", () => {
    const mrSignerSeam = new Uint8Array(48).with(47, 1);
    for (const version of [0, 1]) {
      expect(() => matchTdxModule(tcbInfo, tdReport({ mrSignerSeam }), svns(6, version))).toThrow(moduleCode);
    }
    expect(() => matchTdxModule({ ...tcbInfo, tdxModule: undefined }, tdReport(), svns(6, 1))).toThrow(moduleCode);
  });

  test("is held to its identity and not to the base where it has one", () => {
    const mrSignerSeam = new Uint8Array(48).fill(7);
    const base = { ...tcbInfo, tdxModule: tcbInfo.tdxModule && { ...tcbInfo.tdxModule, mrsigner: mrSignerSeam } };
    expect(matchTdxModule(base, tdReport(), svns(6, 1))?.status).toBe("UpToDate");
    expect(() => matchTdxModule(base, tdReport(), svns(6, 0))).toThrow(moduleCode);
    expect(matchTdxModule(base, tdReport({ mrSignerSeam }), svns(6, 0))).toBeUndefined();
  });

  test.each([0, 3, 7])("needs the attributes of byte %i under the mask and no bit outside it", (index) => {
    const attributed = (actual: number, wanted: number, mask: number) => () => {
      const tdxModule = {
        mrsigner: new Uint8Array(48),
        attributes: new Uint8Array(8).with(index, wanted),
        attributesMask: new Uint8Array(8).with(index, mask),
      };
      const td = tdReport({ seamAttributes: new Uint8Array(8).with(index, actual) });
      matchTdxModule({ ...tcbInfo, tdxModule, tdxModuleIdentities: [] }, td, svns(1, 1));
    };
    expect(attributed(0x10, 0x10, 0xff)).not.toThrow();
    expect(attributed(0x10, 0x11, 0xf0)).not.toThrow();
    expect(attributed(0x10, 0x00, 0xff)).toThrow(moduleCode);
    expect(attributed(0x00, 0x10, 0xff)).toThrow(moduleCode);
    expect(attributed(0x11, 0x10, 0xf0)).toThrow(moduleCode);
  });
});

describe("the quoting enclave", () => {
  const { report } = quote.qe;

  test("of the sample has a level", () => {
    expect(verifyQeIdentity(report, qeIdentity)).toEqual({ status: "UpToDate", advisoryIds: [] });
  });

  test.each([
    { name: "another signer", change: { mrSigner: new Uint8Array(32) } },
    { name: "the debug bit", change: { attributes: report.attributes.with(0, (report.attributes[0] ?? 0) | 2) } },
    { name: "another product id", change: { isvProdId: 1 } },
    { name: "a MISCSELECT bit", change: { miscSelect: 1 } },
    { name: "the highest MISCSELECT bit", change: { miscSelect: 0x80000000 } },
    { name: "an attribute under the mask", change: { attributes: report.attributes.with(7, 1) } },
    { name: "an SVN below every level", change: { isvSvn: 3 } },
  ])("is refused with $name", ({ change }) => {
    expect(() => verifyQeIdentity({ ...report, ...change }, qeIdentity)).toThrow(qeCode);
  });

  test("refuses the debug bit even where the mask leaves it free", () => {
    const identity = { ...qeIdentity, attributesMask: new Uint8Array(16) };
    const attributes = report.attributes.with(0, 0x17);
    expect(() => verifyQeIdentity({ ...report, attributes }, identity)).toThrow(qeCode);
  });

  test("may differ where the masks are zero", () => {
    expect(verifyQeIdentity({ ...report, attributes: report.attributes.with(15, 0xff) }, qeIdentity).status).toBe("UpToDate");
    const free = { ...qeIdentity, miscselectMask: new Uint8Array(4) };
    expect(verifyQeIdentity({ ...report, miscSelect: 0xffffffff }, free).status).toBe("UpToDate");
  });

  test("reads MISCSELECT as little endian", () => {
    const identity = { ...qeIdentity, miscselect: Uint8Array.of(1, 0, 0, 0) };
    expect(verifyQeIdentity({ ...report, miscSelect: 1 }, identity).status).toBe("UpToDate");
  });

  test("takes the first level in the order of the JSON, and needs one", () => {
    const level = (isvsvn: number, tcbStatus: "UpToDate" | "OutOfDate") => ({
      tcb: { isvsvn },
      tcbDate: "",
      tcbStatus,
      advisoryIDs: [],
    });
    const unsorted = { ...qeIdentity, tcbLevels: [level(2, "OutOfDate"), level(6, "UpToDate")] };
    expect(verifyQeIdentity(report, unsorted).status).toBe("OutOfDate");
    expect(() => verifyQeIdentity(report, { ...qeIdentity, tcbLevels: [] })).toThrow(qeCode);
  });
});

describe("the attributes of a TD", () => {
  const attempt = (bits: bigint) => () => {
    const tdAttributes = new Uint8Array(8);
    new DataView(tdAttributes.buffer).setBigUint64(0, bits, true);
    requireAttributes(tdReport({ tdAttributes }));
  };
  const septVeDisable = 1n << 28n;
  const free = new Set([28, 30, 31]);

  test.each(Array.from({ length: 64 }, (_, bit) => ({ bit })))("with bit $bit set besides SEPT_VE_DISABLE", ({ bit }) => {
    const code = bit === 0 ? "unproven.debug" : "unproven.td-attributes";
    const run = attempt(septVeDisable | (1n << BigInt(bit)));
    if (free.has(bit)) expect(run).not.toThrow();
    else expect(run).toThrow(expect.objectContaining({ code }));
  });

  test("need SEPT_VE_DISABLE", () => {
    expect(attempt(0n)).toThrow(expect.objectContaining({ code: "unproven.td-attributes" }));
  });

  test("name a service TD first, then reserved low bits, then debug", () => {
    const td15 = { ...tdReport(), kind: "td15", teeTcbSvn2: new Uint8Array(16), mrServiceTd: new Uint8Array(48) } as const;
    expect(() => requireAttributes(td15)).not.toThrow();
    const bound = { ...td15, mrServiceTd: new Uint8Array(48).with(47, 1), tdAttributes: new Uint8Array(8).with(0, 1) };
    expect(() => requireAttributes(bound)).toThrow(expect.objectContaining({ code: "unproven.service-td" }));
    expect(attempt(3n)).toThrow(expect.objectContaining({ code: "unproven.td-attributes" }));
    expect(attempt(1n)).toThrow(expect.objectContaining({ code: "unproven.debug" }));
  });

  test("of an enclave are its debug bit alone", () => {
    const { report } = quote.qe;
    expect(() => requireAttributes(report)).not.toThrow();
    const debug = { ...report, attributes: report.attributes.with(0, 0x17) };
    expect(() => requireAttributes(debug)).toThrow(expect.objectContaining({ code: "unproven.debug" }));
  });
});

describe("merging", () => {
  test("keeps the worse status for every pair", () => {
    tcbStatuses.forEach((first, a) => {
      tcbStatuses.forEach((second, b) => {
        const merged = mergeTcb({ status: first, advisoryIds: [] }, { status: second, advisoryIds: [] });
        expect(merged.status).toBe(tcbStatuses[Math.max(a, b)]);
      });
    });
  });

  test("appends only advisories that are not there yet, in order", () => {
    const merged = mergeTcb({ status: "UpToDate", advisoryIds: ["B", "A"] }, { status: "OutOfDate", advisoryIds: ["C", "A"] });
    expect(merged.advisoryIds).toEqual(["B", "A", "C"]);
  });
});

describe("a date of signed JSON", () => {
  test.each([
    ["2025-06-19T10:16:03Z", 1750328163],
    ["2025-06-19T10:16:03.999Z", 1750328163],
    ["2025-06-19T12:16:03+02:00", 1750328163],
    ["2025-06-19T02:16:03-08:00", 1750328163],
  ])("%s is read", (text, seconds) => {
    expect(parseDate(text, "date")).toBe(seconds);
  });

  test.each([
    "",
    "2025-06-19",
    "2025-06-19T10:16:03",
    "2025-02-29T00:00:00Z",
    "2025-06-19T24:00:00Z",
    "2025-06-19T10:16:60Z",
    "soon",
  ])("%j is refused", (text) => {
    expect(() => parseDate(text, "date")).toThrow(expect.objectContaining({ code: "malformed.collateral" }));
  });
});
