/** The simulated platform's own P-256 hierarchy: root, PCK Platform CA, PCK leaf, TCB signing leaf, and the two revocation lists. */
import { createHash } from "node:crypto";
import { p256 } from "@noble/curves/nist.js";
import type { PlatformIdentity } from "../../kms/attestation/tdx/pck.ts";
import { concat, utf8 } from "../../kms/bytes.ts";
import * as der from "./der.ts";

export interface PkiKnobs {
  readonly revokePck?: boolean;
  readonly revokePckCa?: boolean;
  /** Of both revocation lists; 1 by default. */
  readonly crlNumber?: number;
  /** When the two revocation lists end; the collateral's own end by default. */
  readonly crlNextUpdate?: Date;
  /** When the PCK leaf ends. */
  readonly pckNotAfter?: Date;
}

export interface SimulatedPki {
  readonly root: Uint8Array;
  readonly pckCa: Uint8Array;
  readonly pck: Uint8Array;
  readonly tcbSigning: Uint8Array;
  readonly sign: (signer: "pck" | "tcb", message: Uint8Array) => Uint8Array;
  readonly crls: (thisUpdate: Date, nextUpdate: Date) => { readonly root: Uint8Array; readonly pck: Uint8Array };
}

interface Key {
  readonly scalar: Uint8Array;
  readonly point: Uint8Array;
}

const ecPublicKey = "1.2.840.10045.2.1";
const prime256v1 = "1.2.840.10045.3.1.7";
const ecdsaWithSha256 = "1.2.840.10045.4.3.2";
const sgxExtension = "1.2.840.113741.1.13.1";
const notBefore = new Date("2020-01-01T00:00:00Z");
const notAfter = new Date("2100-01-01T00:00:00Z");
const caUsage = 0b0000_0110; // keyCertSign, cRLSign
const leafUsage = 0b1100_0000; // digitalSignature, nonRepudiation

/** The reference's mock scheme, so that one seed gives both simulators the same keys (tdx-attestation 7.2). */
export function seededKey(seed: Uint8Array, label: string): Key {
  for (let counter = 0; ; counter++) {
    const suffix = new Uint8Array(4);
    new DataView(suffix.buffer).setUint32(0, counter);
    const scalar = sha256(concat(utf8("dstack-mock-p256-v1"), seed, utf8(label), suffix));
    if (p256.utils.isValidSecretKey(scalar)) return { scalar, point: p256.getPublicKey(scalar, false) };
  }
}

export function createPki(seed: Uint8Array, identity: PlatformIdentity, knobs: PkiKnobs = {}): SimulatedPki {
  const keys = {
    root: seededKey(seed, "tdx-root"),
    pckCa: seededKey(seed, "tdx-pck-ca"),
    pck: seededKey(seed, "tdx-pck"),
    tcb: seededKey(seed, "tdx-tcb"),
  };
  const names = {
    root: name("Simulated SGX Root CA"),
    pckCa: name("Simulated SGX PCK Platform CA"), // "Platform" selects the revocation list
    pck: name("Simulated SGX PCK Certificate"),
    tcb: name("Simulated SGX TCB Signing"),
  };
  const byRoot = { key: keys.root, name: names.root };
  const byPckCa = { key: keys.pckCa, name: names.pckCa };
  const pckSerial = serialOf(keys.pck);
  const pckCaSerial = serialOf(keys.pckCa);
  return {
    root: certificate({ subject: names.root, key: keys.root, issuer: byRoot, pathLength: 1 }),
    pckCa: certificate({ subject: names.pckCa, key: keys.pckCa, issuer: byRoot, pathLength: 0 }),
    pck: certificate({
      subject: names.pck,
      key: keys.pck,
      issuer: byPckCa,
      extra: [extension(sgxExtension, false, sgxValue(identity))],
      ...(knobs.pckNotAfter === undefined ? {} : { ends: knobs.pckNotAfter }),
    }),
    tcbSigning: certificate({ subject: names.tcb, key: keys.tcb, issuer: byRoot }),
    sign: (signer, message) => p256.sign(message, keys[signer].scalar),
    crls: (thisUpdate, nextUpdate) => {
      const window = [thisUpdate, knobs.crlNextUpdate ?? nextUpdate] as const;
      return {
        root: revocationList(byRoot, window, knobs.revokePckCa === true ? [pckCaSerial] : [], knobs.crlNumber),
        pck: revocationList(byPckCa, window, knobs.revokePck === true ? [pckSerial] : [], knobs.crlNumber),
      };
    },
  };
}

function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(bytes).digest());
}

function name(commonName: string): der.Der {
  const attribute = (type: string, text: string) => der.set(der.sequence(der.oid(type), der.utf8String(text)));
  return der.sequence(attribute("2.5.4.3", commonName), attribute("2.5.4.10", "Keyward simulation"), attribute("2.5.4.6", "XX"));
}

function spki(key: Key): der.Der {
  return der.sequence(der.sequence(der.oid(ecPublicKey), der.oid(prime256v1)), der.bitString(key.point));
}

/** Twenty positive bytes that depend on the key alone. */
function serialOf(key: Key): Uint8Array {
  const serial = sha256(key.point).subarray(0, 20);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  return serial;
}

function keyId(key: Key): Uint8Array {
  return new Uint8Array(createHash("sha1").update(key.point).digest());
}

function extension(id: string, critical: boolean, value: der.Der): der.Der {
  return der.sequence(der.oid(id), ...(critical ? [der.boolean(true)] : []), der.octetString(value));
}

const authorityKeyId = (issuer: Key): der.Der => extension("2.5.29.35", false, der.sequence(der.implicit(0, keyId(issuer))));

function signed(body: der.Der, signer: Key): Uint8Array {
  const signature = p256.sign(body, signer.scalar, { format: "der" });
  return der.sequence(body, der.sequence(der.oid(ecdsaWithSha256)), der.bitString(signature));
}

function certificate(input: {
  subject: der.Der;
  key: Key;
  issuer: { key: Key; name: der.Der };
  /** Present on certificate authorities only. */
  pathLength?: number;
  extra?: readonly der.Der[];
  ends?: Date;
}): Uint8Array {
  const ca = input.pathLength;
  const usage = ca === undefined ? der.bitString(Uint8Array.of(leafUsage), 6) : der.bitString(Uint8Array.of(caUsage), 1);
  const constraints = ca === undefined ? der.sequence() : der.sequence(der.boolean(true), der.integer(ca));
  const extensions = [
    authorityKeyId(input.issuer.key),
    extension("2.5.29.14", false, der.octetString(keyId(input.key))),
    extension("2.5.29.15", true, usage),
    extension("2.5.29.19", true, constraints),
    ...(input.extra ?? []),
  ];
  const body = der.sequence(
    der.explicit(0, der.integer(2)),
    der.unsigned(serialOf(input.key)),
    der.sequence(der.oid(ecdsaWithSha256)),
    input.issuer.name,
    der.sequence(der.time(notBefore), der.time(input.ends ?? notAfter)),
    input.subject,
    spki(input.key),
    der.explicit(3, der.sequence(...extensions)),
  );
  return signed(body, input.issuer.key);
}

function sgxValue(identity: PlatformIdentity): der.Der {
  const entry = (suffix: string, value: der.Der) => der.sequence(der.oid(`${sgxExtension}.${suffix}`), value);
  const components = [...identity.cpuSvn].map((svn, index) => entry(`2.${index + 1}`, der.integer(svn)));
  return der.sequence(
    entry("1", der.octetString(identity.ppid)),
    entry(
      "2",
      der.sequence(...components, entry("2.17", der.integer(identity.pceSvn)), entry("2.18", der.octetString(identity.cpuSvn))),
    ),
    entry("3", der.octetString(identity.pceId)),
    entry("4", der.octetString(identity.fmspc)),
    entry("5", der.enumerated(1)),
    entry("6", der.octetString(sha256(identity.ppid).subarray(0, 16))),
    entry("7", der.sequence(entry("7.1", der.boolean(true)), entry("7.2", der.boolean(false)), entry("7.3", der.boolean(true)))),
  );
}

function revocationList(
  issuer: { key: Key; name: der.Der },
  window: readonly [Date, Date],
  revoked: readonly Uint8Array[],
  number = 1,
): Uint8Array {
  const entries = revoked.map((serial) => der.sequence(der.unsigned(serial), der.time(window[0])));
  const body = der.sequence(
    der.integer(1),
    der.sequence(der.oid(ecdsaWithSha256)),
    issuer.name,
    der.time(window[0]),
    der.time(window[1]),
    ...(entries.length === 0 ? [] : [der.sequence(...entries)]),
    der.explicit(0, der.sequence(authorityKeyId(issuer.key), extension("2.5.29.20", false, der.integer(number)))),
  );
  return signed(body, issuer.key);
}
