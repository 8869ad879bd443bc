/** The report bodies inside a quote, fields in Intel's order: SGX enclave report, TD report 1.0 and 1.5. */
import type { ByteReader } from "../../bytes.ts";

/** 384 bytes; the body of an SGX quote, and the QE report of every quote. */
export interface EnclaveReport {
  readonly kind: "sgx";
  readonly cpuSvn: Uint8Array;
  readonly miscSelect: number;
  /** Flags 8, XFRM 8. */
  readonly attributes: Uint8Array;
  readonly mrEnclave: Uint8Array;
  readonly mrSigner: Uint8Array;
  readonly isvProdId: number;
  readonly isvSvn: number;
  readonly reportData: Uint8Array;
}

interface TdReportFields {
  /** [0] module ISV SVN, [1] module major version, [2] SEAM loader SVN. */
  readonly teeTcbSvn: Uint8Array;
  readonly mrSeam: Uint8Array;
  /** All zero for modules that Intel signed. */
  readonly mrSignerSeam: Uint8Array;
  readonly seamAttributes: Uint8Array;
  readonly tdAttributes: Uint8Array;
  readonly xfam: Uint8Array;
  readonly mrTd: Uint8Array;
  readonly mrConfigId: Uint8Array;
  readonly mrOwner: Uint8Array;
  readonly mrOwnerConfig: Uint8Array;
  readonly rtmr0: Uint8Array;
  readonly rtmr1: Uint8Array;
  readonly rtmr2: Uint8Array;
  readonly rtmr3: Uint8Array;
  readonly reportData: Uint8Array;
}

/** 584 bytes. */
export interface TdReport10 extends TdReportFields {
  readonly kind: "td10";
}

/** 648 bytes. */
export interface TdReport15 extends TdReportFields {
  readonly kind: "td15";
  readonly teeTcbSvn2: Uint8Array;
  readonly mrServiceTd: Uint8Array;
}

export function parseEnclaveReport(reader: ByteReader): EnclaveReport {
  const cpuSvn = reader.take(16, "report.cpuSvn");
  const miscSelect = reader.u32("report.miscSelect");
  reader.take(28, "report.reserved1");
  const attributes = reader.take(16, "report.attributes");
  const mrEnclave = reader.take(32, "report.mrEnclave");
  reader.take(32, "report.reserved2");
  const mrSigner = reader.take(32, "report.mrSigner");
  reader.take(96, "report.reserved3");
  const isvProdId = reader.u16("report.isvProdId");
  const isvSvn = reader.u16("report.isvSvn");
  reader.take(60, "report.reserved4");
  const reportData = reader.take(64, "report.reportData");
  return { kind: "sgx", cpuSvn, miscSelect, attributes, mrEnclave, mrSigner, isvProdId, isvSvn, reportData };
}

export function parseTdReport10(reader: ByteReader): TdReport10 {
  return { kind: "td10", ...readTdFields(reader) };
}

export function parseTdReport15(reader: ByteReader): TdReport15 {
  const fields = readTdFields(reader);
  const teeTcbSvn2 = reader.take(16, "report.teeTcbSvn2");
  const mrServiceTd = reader.take(48, "report.mrServiceTd");
  return { kind: "td15", ...fields, teeTcbSvn2, mrServiceTd };
}

function readTdFields(reader: ByteReader): TdReportFields {
  // members of an object literal are evaluated in order, so this list is the layout
  return {
    teeTcbSvn: reader.take(16, "report.teeTcbSvn"),
    mrSeam: reader.take(48, "report.mrSeam"),
    mrSignerSeam: reader.take(48, "report.mrSignerSeam"),
    seamAttributes: reader.take(8, "report.seamAttributes"),
    tdAttributes: reader.take(8, "report.tdAttributes"),
    xfam: reader.take(8, "report.xfam"),
    mrTd: reader.take(48, "report.mrTd"),
    mrConfigId: reader.take(48, "report.mrConfigId"),
    mrOwner: reader.take(48, "report.mrOwner"),
    mrOwnerConfig: reader.take(48, "report.mrOwnerConfig"),
    rtmr0: reader.take(48, "report.rtmr0"),
    rtmr1: reader.take(48, "report.rtmr1"),
    rtmr2: reader.take(48, "report.rtmr2"),
    rtmr3: reader.take(48, "report.rtmr3"),
    reportData: reader.take(64, "report.reportData"),
  };
}
