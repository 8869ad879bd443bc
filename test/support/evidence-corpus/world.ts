/** A whole simulated verification as plain values that a case may change before everything is signed, always to the same bytes. */
import { createHash } from "node:crypto";
import { p256 } from "@noble/curves/nist.js";
import * as der from "../../../scripts/devnet/der.ts";
import { seededKey } from "../../../scripts/devnet/pki.ts";
import * as pki from "../tdx-pki.ts";
import { bytesOf, type Parts } from "./format.ts";

export type Members = Record<string, unknown>;
export type CertificateName = "root" | "pckCa" | "pck" | "tcb";
export type Certificates = Readonly<Record<CertificateName, Uint8Array>>;
type Draft<T> = { -readonly [K in keyof T]?: T[K] | undefined };

export interface SeededParty extends pki.Party {
  /** Raw r‖s. */
  readonly signRaw: (message: Uint8Array) => Uint8Array;
  /** x‖y. */
  readonly point: Uint8Array;
}

const seed = createHash("sha256").update("keyward evidence corpus").digest();
const signatures = new Map<string, Uint8Array>();

export function seededParty(label: string, commonName = label): SeededParty {
  const { scalar, point } = seededKey(seed, label);
  const algorithm = der.sequence(der.oid("1.2.840.10045.2.1"), der.oid("1.2.840.10045.3.1.7"));
  const signWith = (format: "der" | "compact") => (message: Uint8Array) => {
    const key = `${label} ${format} ${Buffer.from(message).toString("latin1")}`;
    const made = signatures.get(key) ?? p256.sign(message, scalar, { format });
    signatures.set(key, made);
    return made;
  };
  return {
    name: pki.nameOf(commonName),
    spki: der.sequence(algorithm, der.bitString(point)),
    point: point.subarray(1),
    sign: signWith("der"),
    signRaw: signWith("compact"),
  };
}

export const parties = {
  root: seededParty("root", "Corpus SGX Root CA"),
  pckCa: seededParty("pck ca", "Corpus SGX PCK Platform CA"),
  pck: seededParty("pck", "Corpus SGX PCK Certificate"),
  tcb: seededParty("tcb", "Corpus SGX TCB Signing"),
  attestation: seededParty("attestation key"),
  /** Nobody's: what it signs is signed by the wrong key. */
  stranger: seededParty("stranger"),
};

export const SGX = "1.2.840.113741.1.13.1";
export const sgxEntry = (suffix: string, value: der.Der): der.Der => der.sequence(der.oid(`${SGX}.${suffix}`), value);

export const now = new Date("2026-06-01T12:00:00Z");
/** A time so many seconds after the base's. */
export const second = (offset: number): Date => new Date(now.getTime() + offset * 1000);
export const isoSecond = (offset: number): string => second(offset).toISOString().replace(".000", "");

export const fmspc = Uint8Array.of(0x51, 0xa0, 0x6f, 0, 0, 0);
export const cpuSvn = Uint8Array.of(3, 3, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0);
export const teeTcbSvn = Uint8Array.of(7, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
export const pceSvn = 13;
export const ppid = digest("sha256", "corpus ppid").subarray(0, 16);

export function digest(hash: "sha256" | "sha384" | "sha512", ...parts: readonly (string | Uint8Array)[]): Uint8Array {
  const state = createHash(hash);
  for (const part of parts) state.update(part);
  return new Uint8Array(state.digest());
}

export interface World {
  readonly kind: "v4" | "v5" | "v5-td10" | "sgx";
  readonly certificates: Record<CertificateName, Draft<pki.CertificatePlan>>;
  sgx: ReturnType<typeof sgxParts>;
  /** When it is given, in place of the SGX extension that `sgx` describes. */
  pckExtensions?: readonly der.Der[];
  readonly lists: { root: Draft<pki.CrlPlan>; pck: Draft<pki.CrlPlan> };
  pckChain: (made: Certificates) => readonly Uint8Array[];
  tcbChain: (made: Certificates) => readonly Uint8Array[];
  qeChain: (made: Certificates) => readonly Uint8Array[];
  /** In the collateral, not in the quote. */
  collateralChain?: (made: Certificates) => readonly Uint8Array[];
  readonly tcbInfo: Members;
  readonly qeIdentity: Members;
  /** Rewrites the texts before they are signed, for what JSON.stringify would never write. */
  tcbInfoText: (json: string) => string;
  qeIdentityText: (json: string) => string;
  tcbSigner: SeededParty;
  qeSigner: SeededParty;
  readonly quote: QuoteDraft;
  time: string;
}

export interface QuoteDraft {
  header: Uint8Array;
  /** Type and size in a version 5 quote. */
  descriptor: Uint8Array;
  body: Uint8Array;
  qeReport: Uint8Array;
  authData: Uint8Array;
  /** What the QE report says of the attestation key, when it does not say the truth. */
  keyHash?: Uint8Array;
  attestationKey: SeededParty;
  outerType: number;
  innerType: number;
  pckChainEnd: string;
  /** In place of the PCK chain. */
  innerData?: Uint8Array;
  qeSigner: SeededParty;
  signer: SeededParty;
  trailing: Uint8Array;
  authPadding: Uint8Array;
  blockPadding: Uint8Array;
}

export function sgxParts() {
  return {
    ppid: [sgxEntry("1", der.octetString(ppid))],
    components: [...cpuSvn].map((svn, index) => sgxEntry(`2.${index + 1}`, der.integer(svn))),
    pceSvn: [sgxEntry("2.17", der.integer(pceSvn))],
    cpuSvn: [sgxEntry("2.18", der.octetString(cpuSvn))],
    pceId: [sgxEntry("3", der.octetString(Uint8Array.of(0, 0)))],
    fmspc: [sgxEntry("4", der.octetString(fmspc))],
    sgxType: [sgxEntry("5", der.enumerated(1))],
    rest: [sgxEntry("6", der.octetString(new Uint8Array(16).fill(6)))],
  };
}

export function sgxExtensionOf({
  ppid: id,
  components,
  pceSvn: pce,
  cpuSvn: cpu,
  pceId,
  fmspc: family,
  sgxType,
  rest,
}: World["sgx"]) {
  const tcb =
    components.length + pce.length + cpu.length === 0 ? [] : [sgxEntry("2", der.sequence(...components, ...pce, ...cpu))];
  return pki.extension(SGX, der.sequence(...id, ...tcb, ...pceId, ...family, ...sgxType, ...rest));
}

function certificatesOf(world: World): Certificates {
  const { root, pckCa, pck, tcb } = parties;
  const ends = { notBefore: der.time(new Date("2020-01-01T00:00:00Z")), notAfter: der.time(new Date("2049-12-31T23:59:59Z")) };
  const authority = (serial: number, length: number) => ({
    serial: der.integer(serial),
    extensions: [pki.keyUsage(0b0000_0110, 1), pki.ca(length)],
    ...ends,
  });
  const leaf = (serial: number, ...extensions: readonly der.Der[]) => ({
    serial: der.integer(serial),
    extensions: [pki.keyUsage(0b1100_0000, 6), pki.notCa, ...extensions],
    ...ends,
  });
  const plans = world.certificates;
  const make = (plan: pki.CertificatePlan, draft: Draft<pki.CertificatePlan>) =>
    pki.certificate({ ...plan, ...draft } as pki.CertificatePlan);
  const sgx = world.pckExtensions ?? [sgxExtensionOf(world.sgx)];
  return {
    root: make({ subject: root, issuer: root, ...authority(1, 1) }, plans.root),
    pckCa: make({ subject: pckCa, issuer: root, ...authority(2, 0) }, plans.pckCa),
    pck: make({ subject: pck, issuer: pckCa, ...leaf(3, ...sgx) }, plans.pck),
    tcb: make({ subject: tcb, issuer: root, ...leaf(4) }, plans.tcb),
  };
}

/** Everything signed and put together. */
export function build(world: World): Parts {
  const made = certificatesOf(world);
  const { root, pckCa } = parties;
  const window = { thisUpdate: second(-86_400), nextUpdate: second(30 * 86_400) };
  const list = (issuer: SeededParty, draft: Draft<pki.CrlPlan>) => pki.crl({ issuer, ...window, ...draft } as pki.CrlPlan);
  const tcbInfo = bytesOf(world.tcbInfoText(JSON.stringify(world.tcbInfo)));
  const qeIdentity = bytesOf(world.qeIdentityText(JSON.stringify(world.qeIdentity)));
  const chain = (pick: (made: Certificates) => readonly Uint8Array[]) => bytesOf(pki.pem(...pick(made)));
  return {
    quote: quoteOf(world, chain(world.pckChain)),
    root: made.root,
    time: bytesOf(world.time),
    root_ca_crl: list(root, world.lists.root),
    pck_crl: list(pckCa, world.lists.pck),
    tcb_info_issuer_chain: chain(world.tcbChain),
    tcb_info: tcbInfo,
    tcb_info_signature: world.tcbSigner.signRaw(tcbInfo),
    qe_identity_issuer_chain: chain(world.qeChain),
    qe_identity: qeIdentity,
    qe_identity_signature: world.qeSigner.signRaw(qeIdentity),
    ...(world.collateralChain === undefined ? {} : { pck_certificate_chain: chain(world.collateralChain) }),
  };
}

const u16 = (value: number) => Uint8Array.of(value & 0xff, value >> 8);
const u32 = (value: number) => Uint8Array.of(value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24);
const join = (...parts: readonly Uint8Array[]) => new Uint8Array(Buffer.concat(parts));

function quoteOf({ kind, quote }: World, pckChain: Uint8Array): Uint8Array {
  const { attestationKey, authData } = quote;
  const signed = join(quote.header, quote.descriptor, quote.body);
  const keyHash = quote.keyHash ?? digest("sha256", attestationKey.point, authData);
  const report = set(quote.qeReport, 320, ...keyHash);
  const pem = quote.innerData ?? join(pckChain, bytesOf(quote.pckChainEnd));
  const certified = join(u16(quote.innerType), u32(pem.length), pem, quote.blockPadding);
  const block = join(report, quote.qeSigner.signRaw(report), u16(authData.length), authData, certified);
  const nested = kind === "sgx" ? block : join(u16(quote.outerType), u32(block.length), block);
  const auth = join(quote.signer.signRaw(signed), attestationKey.point, nested, quote.authPadding);
  return join(signed, u32(auth.length), auth, quote.trailing);
}

/** The same bytes with others from `offset` on. */
export function set(bytes: Uint8Array, offset: number, ...values: readonly number[]): Uint8Array {
  const copy = bytes.slice();
  copy.set(values, offset);
  return copy;
}

/** The same bytes with one bit of one byte turned; a negative offset counts from the end. */
export function flip(bytes: Uint8Array, offset: number, bit = 0): Uint8Array {
  return bytes.with(offset, (bytes.at(offset) ?? 0) ^ (1 << bit));
}
