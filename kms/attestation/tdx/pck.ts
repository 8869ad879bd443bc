/** What the PCK certificate says about the platform: Intel's SGX extension and the kind of CA that issued it. */
import { needLength } from "../../bytes.ts";
import { DerReader, keyOf, TAG } from "../../der.ts";
import { KmsError } from "../../errors.ts";
import type { Certificate } from "./x509.ts";

const SGX_EXTENSION = "1.2.840.113741.1.13.1";
/** Names inside it, as the hex of their DER: every quote of a new machine has some twenty-five of them. */
const INSIDE = "2a864886f84d010d01";
const PPID = `${INSIDE}01`;
const TCB = `${INSIDE}02`;
const PCE_SVN = `${TCB}11`;
const CPU_SVN = `${TCB}12`;
const PCE_ID = `${INSIDE}03`;
const FMSPC = `${INSIDE}04`;
const SGX_TYPE = `${INSIDE}05`;

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

/** The DER of each value by its name. */
type Entries = ReadonlyMap<string, Uint8Array>;

/** SEQUENCE OF SEQUENCE { OID, value }. */
function readEntries(outer: DerReader, what: string): Entries {
  const list = outer.inside(TAG.sequence, what);
  outer.end(what);
  const entries = new Map<string, Uint8Array>();
  while (!list.done) {
    const entry = list.inside(TAG.sequence, what);
    const name = keyOf(entry.content(TAG.oid, what));
    const value = entry.any(what);
    entry.end(what);
    // the reference lets the first of two win; two values for one field are two readings of one platform
    if (entries.has(name)) throw list.refuse(`${what} ${name}: occurs twice`);
    if (entries.size === MAX_ENTRIES) throw list.refuse(`${what}: at most ${MAX_ENTRIES} entries`);
    entries.set(name, value);
  }
  return entries;
}

function entryOf(entries: Entries, name: string): DerReader {
  const value = entries.get(name);
  if (value === undefined) throw refuse(`${name}: missing`);
  return new DerReader(value, "malformed.certificate");
}

function octets(entries: Entries, name: string, length: number, field: string): Uint8Array {
  const content = entryOf(entries, name).content(TAG.octetString, `sgx extension.${field}`);
  return needLength(content, length, `sgx extension.${field}`, "malformed.certificate");
}

function refuse(detail: string): KmsError {
  return new KmsError("malformed.certificate", `sgx extension: ${detail}`);
}
