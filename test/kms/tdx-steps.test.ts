/** Steps that only a signer can break: collateral signed with other contents, quotes with other parts, SGX extensions of other shapes. */
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { type Collateral, parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { parsePlatformIdentity } from "../../kms/attestation/tdx/pck.ts";
import { parseQuote, type Quote } from "../../kms/attestation/tdx/quote.ts";
import { loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { verifyQuote } from "../../kms/attestation/tdx/verify.ts";
import { parseCertificate } from "../../kms/attestation/tdx/x509.ts";
import type { Code } from "../../kms/errors.ts";
import * as der from "../../scripts/devnet/der.ts";
import { collateralJson } from "../../scripts/devnet/platform.ts";
import { signAs, simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";
import * as pki from "../support/tdx-pki.ts";
import { readQuote } from "../support/tdx-samples.ts";

const now = new Date("2026-06-01T12:00:00Z");
const platform = simulatedPlatform();
const anchor = loadTrustAnchor(platform.rootDer);
const quote = parseQuote(simulatedTd({ platform }).quote(new Uint8Array(64).fill(5)));
const collateral = parseCollateral(collateralJson(platform.collateral(now)));

function verify(changes: { quote?: Partial<Quote>; collateral?: Partial<Collateral> }) {
  return verifyQuote({
    quote: { ...quote, ...changes.quote },
    collateral: { ...collateral, ...changes.collateral },
    anchor,
    now,
  });
}

type Members = Readonly<Record<string, unknown>>;

function tcbInfo(members: Members): Partial<Collateral> {
  const text = JSON.stringify({ ...JSON.parse(collateral.tcbInfo), ...members });
  return { tcbInfo: text, tcbInfoSignature: signAs("tcb", text) };
}

function qeIdentity(members: Members): Partial<Collateral> {
  const text = JSON.stringify({ ...JSON.parse(collateral.qeIdentity), ...members });
  return { qeIdentity: text, qeIdentitySignature: signAs("tcb", text) };
}

const level = { tcb: { isvsvn: 1 }, tcbDate: "2025-01-01T00:00:00Z" };
const info = JSON.parse(collateral.tcbInfo);
const levelsWith = (change: Members) => info.tcbLevels.map((each: Members) => ({ ...each, ...change }));
const [svn = 0, major = 0] = quote.body.kind === "sgx" ? [] : quote.body.teeTcbSvn;
/** The module's own identity, with one level for every SVN. */
const identitiesWith = (tcbStatus: string) => [
  {
    ...info.tdxModule,
    id: `TDX_${String(major).padStart(2, "0")}`,
    tcbLevels: [{ tcb: { isvsvn: svn }, tcbDate: "2025-01-01T00:00:00Z", tcbStatus, advisoryIDs: ["MODULE-1"] }],
  },
];
const second = (offset: number) => new Date(now.getTime() + offset * 1000).toISOString();

const collateralCases: readonly (readonly [string, Partial<Collateral>, Code | "accepted"])[] = [
  ["the same contents", tcbInfo({}), "accepted"],
  ["an unknown member", tcbInfo({ later: { nested: [1.5] } }), "accepted"],
  ["another PCE id", tcbInfo({ pceId: "0001" }), "unproven.platform"],
  ["another FMSPC", tcbInfo({ fmspc: "00A06D080000" }), "unproven.platform"],
  ["an FMSPC that is no hex", tcbInfo({ fmspc: "00A06D08000G" }), "malformed.collateral"],
  ["a short FMSPC", tcbInfo({ fmspc: "00A06D08" }), "malformed.collateral"],
  ["TCB info for SGX", tcbInfo({ id: "SGX" }), "unproven.platform"],
  ["TCB info of version 2", tcbInfo({ version: 2 }), "unproven.platform"],
  ["TCB info of version 4", tcbInfo({ version: 4 }), "accepted"],
  ["TCB info of version 256", tcbInfo({ version: 256 }), "malformed.collateral"],
  ["no TDX module", tcbInfo({ tdxModule: undefined }), "unproven.tdx-module"],
  ["no TDX module identities", tcbInfo({ tdxModuleIdentities: undefined }), "accepted"],
  ["no TCB levels", tcbInfo({ tcbLevels: [] }), "unproven.tcb-level"],
  ["TCB info issued this second", tcbInfo({ issueDate: second(0) }), "accepted"],
  ["TCB info issued in the next second", tcbInfo({ issueDate: second(1) }), "unproven.collateral-expired"],
  ["TCB info in its last second", tcbInfo({ nextUpdate: second(0) }), "accepted"],
  ["TCB info after its last second", tcbInfo({ nextUpdate: second(-1) }), "unproven.collateral-expired"],
  ["a QE identity of version 3", qeIdentity({ version: 3 }), "accepted"],
  ["a QE identity of version 4", qeIdentity({ version: 4 }), "unproven.qe-identity"],
  ["a QE identity of version 1", qeIdentity({ version: 1 }), "unproven.qe-identity"],
  ["the identity of the SGX QE", qeIdentity({ id: "QE" }), "unproven.qe-identity"],
  ["the identity of the QvE", qeIdentity({ id: "QVE" }), "unproven.qe-identity"],
  ["another QE signer", qeIdentity({ mrsigner: "00".repeat(32) }), "unproven.qe-identity"],
  ["a QE identity that fits no QE", qeIdentity({ tcbLevels: [] }), "unproven.qe-identity"],
  [
    "a QE identity above this QE",
    qeIdentity({ tcbLevels: [{ ...level, tcb: { isvsvn: 65535 }, tcbStatus: "UpToDate" }] }),
    "unproven.qe-identity",
  ],
  ["TCB info of version 3", tcbInfo({ version: 3 }), "accepted"],
  ["an FMSPC in small letters", tcbInfo({ fmspc: JSON.parse(collateral.tcbInfo).fmspc.toLowerCase() }), "accepted"],
  ["an FMSPC of white space", tcbInfo({ fmspc: " ".repeat(12) }), "malformed.collateral"],
  ["a revoked platform", tcbInfo({ tcbLevels: levelsWith({ tcbStatus: "Revoked" }) }), "unproven.tcb-revoked"],
  ["a revoked module", tcbInfo({ tdxModuleIdentities: identitiesWith("Revoked") }), "unproven.tcb-revoked"],
  ["a module out of date", tcbInfo({ tdxModuleIdentities: identitiesWith("OutOfDate") }), "accepted"],
  ["a revoked QE", qeIdentity({ tcbLevels: [{ ...level, tcbStatus: "Revoked" }] }), "unproven.tcb-revoked"],
  ["a QE that is out of date", qeIdentity({ tcbLevels: [{ ...level, tcbStatus: "OutOfDate" }] }), "accepted"],
  ["a QE identity in its last second", qeIdentity({ nextUpdate: second(0) }), "accepted"],
  ["a QE identity after its last second", qeIdentity({ nextUpdate: second(-1) }), "unproven.collateral-expired"],
  ["a QE identity issued in the next second", qeIdentity({ issueDate: second(1) }), "unproven.collateral-expired"],
];

describe("signed collateral", () => {
  test.each(collateralCases)("with %s", (_, changed, code) => {
    if (code === "accepted") expect(() => verify({ collateral: changed })).not.toThrow();
    else expect(() => verify({ collateral: changed })).toThrow(expect.objectContaining({ code }));
  });

  test("merges the QE's status last", () => {
    const levels = [{ ...level, tcbStatus: "OutOfDate", advisoryIDs: ["QE-1"] }];
    const verified = verify({ collateral: qeIdentity({ tcbLevels: levels }) });
    expect([verified.status, verified.platformStatus.status, verified.qeStatus.status]).toEqual([
      "OutOfDate",
      "UpToDate",
      "OutOfDate",
    ]);
    expect(verified.advisoryIds).toEqual(["QE-1"]);
  });
});

const tampered = quote.qe.report.reportData.with(0, (quote.qe.report.reportData[0] ?? 0) ^ 1);
const quoteCases: readonly (readonly [string, Partial<Quote>, Code])[] = [
  ["an unknown TEE type", { version: 5, teeType: 7 }, "unproven.tee-type"],
  ["the TDX type in version 3", { version: 3 }, "unproven.tee-type"],
  ["the SGX type in version 4", { teeType: 0 }, "unproven.tee-type"],
  ["the SGX type in version 5", { version: 5, teeType: 0 }, "unproven.tee-type"],
  ["an enclave report under the TDX type", { body: quote.qe.report }, "unproven.tcb-level"],
  ["QE auth data of 31 bytes", { qe: { ...quote.qe, authData: quote.qe.authData.subarray(1) } }, "unproven.qe-report"],
  ["no QE auth data", { qe: { ...quote.qe, authData: new Uint8Array() } }, "unproven.qe-report"],
  [
    "a QE that names another key",
    { qe: { ...quote.qe, report: { ...quote.qe.report, reportData: tampered } } },
    "unproven.qe-report",
  ],
  ["bytes left over in the auth data", { authPadding: Uint8Array.of(0, 1) }, "malformed.quote"],
];

describe("an enclave's quote", () => {
  const enclave: Partial<Quote> = { version: 3, teeType: 0, body: quote.qe.report };
  const forSgx = (version: number, id = "SGX") => ({ ...tcbInfo({ id, version }), ...qeIdentity({ id: "QE", version: 2 }) });

  test.each<[string, Partial<Collateral>, Code | "accepted"]>([
    ["TCB info of version 2", forSgx(2), "accepted"],
    ["TCB info of version 1", forSgx(1), "unproven.platform"],
    ["TCB info of TDX", forSgx(3, "TDX"), "unproven.platform"],
    ["a QE identity of version 3", { ...forSgx(3), ...qeIdentity({ id: "QE", version: 3 }) }, "unproven.qe-identity"],
    ["the identity of the TD QE", { ...forSgx(3), ...qeIdentity({ id: "TD_QE", version: 2 }) }, "unproven.qe-identity"],
  ])("with %s", (_, changed, code) => {
    const attempt = () => verify({ quote: enclave, collateral: changed });
    if (code === "accepted") expect(attempt()).toMatchObject({ status: "UpToDate", tdxModule: undefined });
    else expect(attempt).toThrow(expect.objectContaining({ code }));
  });

  test("holds no TD's report, whatever its type says", () => {
    const attempt = () => verify({ quote: { version: 3, teeType: 0 }, collateral: forSgx(3) });
    expect(attempt).toThrow(expect.objectContaining({ code: "unproven.tcb-level" }));
  });
});

describe("a TD whose module was replaced while it ran", () => {
  const bodyWith = (teeTcbSvn2: readonly number[]): Quote["body"] => {
    if (quote.body.kind === "sgx") throw new Error("the simulated guest is a TD");
    const svns = Uint8Array.from({ length: 16 }, (_, index) => teeTcbSvn2[index] ?? 0);
    return { ...quote.body, kind: "td15", teeTcbSvn2: svns, mrServiceTd: new Uint8Array(48) };
  };
  const identities = [
    { ...identitiesWith("UpToDate")[0], id: "TDX_04" },
    { ...identitiesWith("OutOfDate")[0], id: "TDX_05" },
  ];
  const collateralWith = tcbInfo({
    tcbLevels: levelsWith({ tcb: { ...info.tcbLevels[0].tcb, tdxtcbcomponents: new Array(16).fill({ svn: 1 }) } }),
    tdxModuleIdentities: identities,
  });
  const svns = (first: number, version: number) => [first, version, ...new Array<number>(14).fill(9)];
  const judge = (started: readonly number[], now2: readonly number[]) =>
    verify({
      quote: { version: 5, body: { ...bodyWith(now2), teeTcbSvn: Uint8Array.from(started) } as Quote["body"] },
      collateral: collateralWith,
    });

  test("is as good as the worse of the two modules", () => {
    expect(judge(svns(9, 4), svns(9, 4)).status).toBe("UpToDate");
    expect(judge(svns(9, 4), svns(9, 5)).status).toBe("OutOfDate");
    expect(judge(svns(9, 5), svns(9, 4))).toMatchObject({ status: "OutOfDate", tdxModule: { id: "TDX_05" } });
  });

  test("is refused where no level covers the new one", () => {
    expect(() => judge(svns(9, 4), [])).toThrow(expect.objectContaining({ code: "unproven.tcb-level" }));
  });
});

describe("a quote", () => {
  test.each(quoteCases)("with %s", (_, changed, code) => {
    expect(() => verify({ quote: changed })).toThrow(expect.objectContaining({ code }));
  });

  test("may say anything in the upper half of the QE report's data", () => {
    const { report } = quote.qe;
    const said = report.reportData.with(63, 1).with(32, 1);
    expect(verify({ quote: { qe: { ...quote.qe, report: { ...report, reportData: said } } } }).status).toBe("UpToDate");
    const bound = report.reportData.with(31, (report.reportData[31] ?? 0) ^ 1);
    const attempt = () => verify({ quote: { qe: { ...quote.qe, report: { ...report, reportData: bound } } } });
    expect(attempt).toThrow(expect.objectContaining({ code: "unproven.qe-report" }));
  });

  test.each([
    { length: 31, code: "unproven.qe-report" },
    { length: 32, code: "accepted" },
    { length: 33, code: "unproven.qe-report" },
  ])("of a QE that vouches for its key with $length bytes of its own: $code", ({ length, code }) => {
    const authData = new Uint8Array(length).fill(7);
    const bound = createHash("sha256").update(quote.attestationKey).update(authData).digest();
    const report = { ...quote.qe.report, reportData: Uint8Array.from([...bound, ...new Uint8Array(32)]) };
    const attempt = () => verify({ quote: { qe: { ...quote.qe, report, authData } } });
    if (code === "accepted") expect(attempt().status).toBe("UpToDate");
    else expect(attempt).toThrow(expect.objectContaining({ code }));
  });

  test("may end its auth data with zeros", () => {
    expect(verify({ quote: { authPadding: new Uint8Array(3) } }).status).toBe("UpToDate");
  });

  const v5 = readQuote("tdx-v5-90c06f-td15.bin");
  test.each([
    ["type 0", v5.with(48, 0)],
    ["type 4", v5.with(48, 4)],
    ["another size", v5.with(50, (v5[50] ?? 0) + 1)],
  ])("of version 5 cannot be read with a body of %s", (_, bytes) => {
    expect(() => parseQuote(bytes)).toThrow(expect.objectContaining({ code: "malformed.quote" }));
  });
});

const SGX = "1.2.840.113741.1.13.1";
const item = (suffix: string, value: der.Der) => der.sequence(der.oid(`${SGX}.${suffix}`), value);
const octets = (length: number) => der.octetString(new Uint8Array(length).fill(7));
const pceSvn = item("2.17", der.integer(11));
const cpuSvn = item("2.18", octets(16));
const parts = {
  ppid: item("1", octets(16)),
  tcb: item("2", der.sequence(pceSvn, cpuSvn)),
  pceId: item("3", octets(2)),
  fmspc: item("4", octets(6)),
  sgxType: item("5", der.enumerated(0)),
};
const nothing = new Uint8Array();

function platformOf(changes: Partial<typeof parts>, extra: readonly der.Der[] = []) {
  const value = der.sequence(...Object.values({ ...parts, ...changes }), ...extra);
  const leaf = pki.party("PCK");
  return parsePlatformIdentity(
    parseCertificate(pki.certificate({ subject: leaf, issuer: leaf, extensions: [pki.extension(SGX, value)] })),
  );
}

describe("the SGX extension of a PCK certificate", () => {
  test("gives the platform, with and without what nobody needs", () => {
    expect(platformOf({}).pceSvn).toBe(11);
    for (const type of [0, 1, 2]) expect(platformOf({ sgxType: item("5", der.enumerated(type)) }).pceSvn).toBe(11);
    expect(platformOf({}, [item("6", octets(16)), item("9", der.integer(1))]).fmspc).toEqual(new Uint8Array(6).fill(7));
    expect(platformOf({ tcb: item("2", der.sequence(item("2.17", der.integer(0xffff)), cpuSvn)) }).pceSvn).toBe(0xffff);
  });

  test.each([
    ["no PPID", { ppid: nothing }],
    ["a short PPID", { ppid: item("1", octets(15)) }],
    ["no TCB", { tcb: nothing }],
    ["no PCE SVN", { tcb: item("2", der.sequence(cpuSvn)) }],
    ["a PCE SVN of three bytes", { tcb: item("2", der.sequence(item("2.17", der.integer(0x10000)), cpuSvn)) }],
    ["no CPU SVN", { tcb: item("2", der.sequence(pceSvn)) }],
    ["a CPU SVN of 17 bytes", { tcb: item("2", der.sequence(pceSvn, item("2.18", octets(17)))) }],
    ["two CPU SVNs", { tcb: item("2", der.sequence(pceSvn, cpuSvn, cpuSvn)) }],
    ["no PCE id", { pceId: nothing }],
    ["a PCE id of one byte", { pceId: item("3", octets(1)) }],
    ["no FMSPC", { fmspc: nothing }],
    ["a long FMSPC", { fmspc: item("4", octets(7)) }],
    ["an FMSPC that is an integer", { fmspc: item("4", der.unsigned(new Uint8Array(6).fill(7))) }],
    ["no SGX type", { sgxType: nothing }],
    ["an SGX type of two bytes", { sgxType: item("5", der.tlv(0x0a, Uint8Array.of(0, 1))) }],
    ["an SGX type of no byte", { sgxType: item("5", der.tlv(0x0a, Uint8Array.of())) }],
    ["an unknown SGX type", { sgxType: item("5", der.enumerated(3)) }],
  ] as const)("is refused with %s", (_, changes) => {
    expect(() => platformOf(changes)).toThrow(expect.objectContaining({ code: "malformed.certificate" }));
  });

  test("is refused with a second FMSPC, though the first would win elsewhere", () => {
    expect(() => platformOf({}, [item("4", octets(6))])).toThrow(expect.objectContaining({ code: "malformed.certificate" }));
  });

  test("has 32 entries at most", () => {
    const more = (count: number) => Array.from({ length: count }, (_, index) => item(`${index + 20}`, der.integer(1)));
    expect(platformOf({}, more(27)).pceSvn).toBe(11);
    expect(() => platformOf({}, more(28))).toThrow(expect.objectContaining({ code: "malformed.certificate" }));
  });

  test("is needed", () => {
    const leaf = pki.party("PCK");
    const plain = parseCertificate(pki.certificate({ subject: leaf, issuer: leaf }));
    expect(() => parsePlatformIdentity(plain)).toThrow(expect.objectContaining({ code: "malformed.certificate" }));
  });
});
