/** The identity of Intel's quoting enclave, and the policy that a QE report must meet. */
import { z } from "zod";
import { equal } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import type { EnclaveReport } from "./report.ts";
import { decodeSigned, hexBytes, levels, parseDate, u8, u16, u32 } from "./signed-json.ts";
import { type Tcb, tcbOf } from "./tcb-status.ts";

const qeIdentitySchema = z.object({
  id: z.string(),
  version: u8,
  issueDate: z.string(),
  nextUpdate: z.string(),
  tcbEvaluationDataNumber: u32,
  miscselect: hexBytes(4),
  miscselectMask: hexBytes(4),
  attributes: hexBytes(16),
  attributesMask: hexBytes(16),
  mrsigner: hexBytes(32),
  isvprodid: u16,
  tcbLevels: levels(z.object({ isvsvn: u16 })),
});

export interface QeIdentity extends Omit<z.infer<typeof qeIdentitySchema>, "issueDate" | "nextUpdate"> {
  /** Whole seconds since 1970, both ends inclusive. */
  readonly issueDate: number;
  readonly nextUpdate: number;
}

/** Bit 1 of byte 0 of ATTRIBUTES: memory of a debug enclave can be read from outside. */
const ENCLAVE_DEBUG = 0x02;

export function isDebugEnclave(report: EnclaveReport): boolean {
  return ((report.attributes[0] ?? ENCLAVE_DEBUG) & ENCLAVE_DEBUG) !== 0;
}

export function parseQeIdentity(text: string): QeIdentity {
  const identity = decodeSigned(text, qeIdentitySchema, "QeIdentity");
  const issueDate = parseDate(identity.issueDate, "Failed to parse QE Identity issue date");
  const nextUpdate = parseDate(identity.nextUpdate, "Failed to parse QE Identity next update");
  return { ...identity, issueDate, nextUpdate };
}

/** Refuses a QE that is not the one Intel describes; returns the status of its level. */
export function verifyQeIdentity(report: EnclaveReport, identity: QeIdentity): Tcb {
  if (!equal(report.mrSigner, identity.mrsigner)) throw refuse("QE MRSIGNER mismatch");
  if (isDebugEnclave(report)) throw refuse("QE debug mode is enabled");
  if (report.isvProdId !== identity.isvprodid) {
    throw refuse(`QE ISVPRODID mismatch, expected ${identity.isvprodid}, got ${report.isvProdId}`);
  }
  const mask = littleEndian(identity.miscselectMask);
  if (((report.miscSelect ^ littleEndian(identity.miscselect)) & mask) !== 0) throw refuse("QE MISCSELECT mismatch");
  const { attributes, attributesMask } = identity;
  const differs = (byte: number, index: number) => ((byte ^ (attributes[index] ?? 0)) & (attributesMask[index] ?? 0xff)) !== 0;
  if (report.attributes.some(differs)) throw refuse("QE ATTRIBUTES mismatch");
  return levelOf(report.isvSvn, identity);
}

/** The first level in JSON order that the QE reaches; the levels are not sorted. */
function levelOf(isvSvn: number, { tcbLevels }: QeIdentity): Tcb {
  if (tcbLevels.length === 0) throw refuse("No TCB levels found in QE Identity");
  const level = tcbLevels.find(({ tcb }) => tcb.isvsvn <= isvSvn);
  if (level === undefined) {
    const minimum = Math.min(...tcbLevels.map(({ tcb }) => tcb.isvsvn));
    throw refuse(`QE ISVSVN ${isvSvn} is below minimum required ${minimum} from QE Identity`);
  }
  return tcbOf(level);
}

function littleEndian(bytes: Uint8Array): number {
  return bytes.reduceRight((value, byte) => value * 256 + byte, 0);
}

function refuse(detail: string): KmsError {
  return new KmsError("unproven.qe-identity", detail);
}
