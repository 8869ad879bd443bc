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

describe("a TCB level", () => {
  test.each(Object.keys(expected.collateral))("is matched in %s whatever the order of the JSON", (file) => {
    const info = parseTcbInfo(readCollateral(file).tcbInfo);
    const td = info.id === "TDX" ? tdReport({ teeTcbSvn: new Uint8Array(16).fill(0xff) }) : undefined;
    const best = matchTcbLevel(info, platform(new Array(16).fill(255), 0xffff), td);
    fc.assert(
      fc.property(fc.shuffledSubarray(info.tcbLevels, { minLength: info.tcbLevels.length }), (tcbLevels) => {
        expect(matchTcbLevel({ ...info, tcbLevels }, platform(new Array(16).fill(255), 0xffff), td)).toBe(best);
      }),
      { numRuns: 20 },
    );
  });

  test("needs every component, the PCE and all sixteen TDX components", () => {
    const levels = { ...tcbInfo, tcbLevels: tcbInfo.tcbLevels.slice(0, 1) };
    const teeTcbSvn = Uint8Array.from([5, 0, 2, ...new Array(13).fill(0)]);
    const match = (cpuSvn: readonly number[], pceSvn: number, svns = teeTcbSvn) =>
      matchTcbLevel(levels, platform(cpuSvn, pceSvn), tdReport({ teeTcbSvn: svns })).tcbStatus;
    expect(match(SVNS, 11)).toBe("UpToDate");
    expect(() => match(SVNS, 10)).toThrow(tcbLevelCode);
    SVNS.forEach((svn, index) => {
      if (svn > 0) expect(() => match(SVNS.with(index, svn - 1), 11)).toThrow(tcbLevelCode);
    });
    expect(() => match(SVNS, 11, teeTcbSvn.with(0, 4))).toThrow(tcbLevelCode);
    expect(() => match(SVNS, 11, teeTcbSvn.with(2, 1))).toThrow(tcbLevelCode);
  });

  test("refuses lists that have not sixteen entries", () => {
    const [level] = tcbInfo.tcbLevels;
    if (level === undefined) throw new Error("the sample has levels");
    for (const tcb of [
      { ...level.tcb, sgxtcbcomponents: [] },
      { ...level.tcb, tdxtcbcomponents: [] },
      { ...level.tcb, tdxtcbcomponents: level.tcb.tdxtcbcomponents.slice(1) },
    ]) {
      const info: TcbInfo = { ...tcbInfo, tcbLevels: [{ ...level, tcb }] };
      expect(() => matchTcbLevel(info, platform(SVNS, 11), tdReport())).toThrow(tcbLevelCode);
    }
  });

  test("refuses an empty list", () => {
    expect(() => matchTcbLevel({ ...tcbInfo, tcbLevels: [] }, platform(SVNS, 11), tdReport())).toThrow(tcbLevelCode);
  });
});

describe("a TDX module", () => {
  const svns = (isvSvn: number, version: number) => Uint8Array.from([isvSvn, version, ...new Array(14).fill(0)]);

  test("is judged by the first level of its identity that it reaches", () => {
    expect(matchTdxModule(tcbInfo, tdReport({ teeTcbSvn: svns(4, 1) }))).toMatchObject({ id: "TDX_01", status: "UpToDate" });
    expect(matchTdxModule(tcbInfo, tdReport({ teeTcbSvn: svns(3, 1) }))).toMatchObject({ id: "TDX_01", status: "OutOfDate" });
    expect(matchTdxModule(tcbInfo, tdReport({ teeTcbSvn: svns(3, 3) }))).toMatchObject({ id: "TDX_03", status: "UpToDate" });
    expect(() => matchTdxModule(tcbInfo, tdReport({ teeTcbSvn: svns(1, 1) }))).toThrow(moduleCode);
  });

  test("needs an identity of its version, and none in version 0 or where the TCB info has none", () => {
    expect(() => matchTdxModule(tcbInfo, tdReport({ teeTcbSvn: svns(9, 2) }))).toThrow(moduleCode);
    expect(matchTdxModule(tcbInfo, tdReport({ teeTcbSvn: svns(0, 0) }))).toBeUndefined();
    expect(matchTdxModule({ ...tcbInfo, tdxModuleIdentities: [] }, tdReport({ teeTcbSvn: svns(0, 2) }))).toBeUndefined();
  });

  test("compares identity ids without regard to case, with two hex digits", () => {
    const identities = tcbInfo.tdxModuleIdentities.map((identity) => ({ ...identity, id: "tdx_0a" }));
    const match = matchTdxModule({ ...tcbInfo, tdxModuleIdentities: identities }, tdReport({ teeTcbSvn: svns(9, 10) }));
    expect(match?.id).toBe("TDX_0A");
  });

  test("needs the signer, with and without an identity, and the base expectation", () => {
    const mrSignerSeam = new Uint8Array(48).with(47, 1);
    for (const version of [0, 1]) {
      const td = tdReport({ teeTcbSvn: svns(6, version), mrSignerSeam });
      expect(() => matchTdxModule(tcbInfo, td)).toThrow(moduleCode);
    }
    expect(() => matchTdxModule({ ...tcbInfo, tdxModule: undefined }, tdReport())).toThrow(moduleCode);
  });

  test("needs the attributes under the mask and no bit outside it", () => {
    const attributed = (actual: number, wanted: number, mask: number) => () => {
      const expectation = { mrsigner: new Uint8Array(48), attributes: new Uint8Array(8), attributesMask: new Uint8Array(8) };
      const tdxModule = {
        ...expectation,
        attributes: expectation.attributes.with(7, wanted),
        attributesMask: expectation.attributesMask.with(7, mask),
      };
      const td = tdReport({ seamAttributes: new Uint8Array(8).with(7, actual) });
      matchTdxModule({ ...tcbInfo, tdxModule, tdxModuleIdentities: [] }, td);
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
  const free = new Set([28, 30, 31, 39]);

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
