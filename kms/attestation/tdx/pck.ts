/** What the PCK certificate says about the platform: Intel's SGX extension and the kind of CA that issued it. */
import { needLength } from "../../bytes.ts";
import { DerReader, TAG } from "../../der.ts";
import { KmsError } from "../../errors.ts";
import type { Certificate } from "./x509.ts";

const SGX_EXTENSION = "1.2.840.113741.1.13.1";
const PPID = `${SGX_EXTENSION}.1`;
const TCB = `${SGX_EXTENSION}.2`;
const PCE_SVN = `${TCB}.17`;
const CPU_SVN = `${TCB}.18`;
const PCE_ID = `${SGX_EXTENSION}.3`;
const FMSPC = `${SGX_EXTENSION}.4`;
const SGX_TYPE = `${SGX_EXTENSION}.5`;

const MAX_ENTRIES = 32;

export interface PlatformIdentity {
  readonly ppid: Uint8Array;
  /** These bytes, not the component integers beside them, are compared with the SGX components of a TCB level. */
  readonly cpuSvn: Uint8Array;
  readonly pceSvn: number;
  readonly pceId: Uint8Array;
  readonly fmspc: Uint8Array;
}

export type PckCa = "platform" | "processor";

/** Whether a certificate is a platform's own, by the extension that every one of them has. */
export function isPckCertificate(certificate: Certificate): boolean {
  return certificate.extensions.has(SGX_EXTENSION);
}

export function parsePlatformIdentity(pck: Certificate): PlatformIdentity {
  const extension = pck.extensions.get(SGX_EXTENSION);
  if (extension === undefined) throw refuse("missing");
  const entries = readEntries(new DerReader(extension.value, "malformed.certificate"), "sgx extension");
  const tcb = readEntries(entryOf(entries, TCB), "sgx extension.tcb");
  const sgxType = entryOf(entries, SGX_TYPE).content(TAG.enumerated, "sgx extension.sgxType");
  if (sgxType.length !== 1 || (sgxType[0] ?? 3) > 2) throw refuse("sgxType: need 0, 1 or 2");
  const pceSvn = entryOf(tcb, PCE_SVN).smallInteger("sgx extension.pceSvn");
  if (pceSvn > 0xffff) throw refuse(`pceSvn: at most 65535, have ${pceSvn}`);
  return {
    ppid: octets(entries, PPID, 16, "ppid"),
    cpuSvn: octets(tcb, CPU_SVN, 16, "cpuSvn"),
    pceSvn,
    pceId: octets(entries, PCE_ID, 2, "pceId"),
    fmspc: octets(entries, FMSPC, 6, "fmspc"),
  };
}

/** Which list to ask for. The names are `Intel SGX PCK Processor CA` and `Intel SGX PCK Platform CA`. */
export function pckCaOf(issued: Pick<Certificate, "issuer">): PckCa {
  const issuer = Buffer.from(issued.issuer).toString("latin1");
  return !issuer.includes("Processor") && issuer.includes("Platform") ? "platform" : "processor";
}

/** SEQUENCE OF SEQUENCE { OID, value } as a map from OID to the DER of the value. */
function readEntries(outer: DerReader, what: string): ReadonlyMap<string, DerReader> {
  const list = outer.inside(TAG.sequence, what);
  outer.end(what);
  const entries = new Map<string, DerReader>();
  while (!list.done) {
    const entry = list.inside(TAG.sequence, what);
    const oid = entry.oid(what);
    const value = entry.next(`${what} ${oid}`);
    entry.end(`${what} ${oid}`);
    // the reference lets the first of two win; two values for one field are two readings of one platform
    if (entries.has(oid)) throw list.refuse(`${what} ${oid}: occurs twice`);
    if (entries.size === MAX_ENTRIES) throw list.refuse(`${what}: at most ${MAX_ENTRIES} entries`);
    entries.set(oid, list.over(value.raw));
  }
  return entries;
}

function entryOf(entries: ReadonlyMap<string, DerReader>, oid: string): DerReader {
  const value = entries.get(oid);
  if (value === undefined) throw refuse(`${oid}: missing`);
  return value;
}

function octets(entries: ReadonlyMap<string, DerReader>, oid: string, length: number, field: string): Uint8Array {
  const content = entryOf(entries, oid).content(TAG.octetString, `sgx extension.${field}`);
  return needLength(content, length, `sgx extension.${field}`, "malformed.certificate");
}

function refuse(detail: string): KmsError {
  return new KmsError("malformed.certificate", `sgx extension: ${detail}`);
}
