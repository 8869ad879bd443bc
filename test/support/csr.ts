/** Certificate requests as an app's VM makes them: a fresh key, the SCALE bytes in either version, and the signature over them. */
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { scaleBytes, scaleText, scaleVec } from "../../kms/attestation/scale.ts";
import { concat } from "../../kms/bytes.ts";

export interface WantedCertificate {
  readonly organization?: string;
  readonly subject: string;
  readonly altNames: readonly string[];
  readonly serverAuth: boolean;
  readonly clientAuth: boolean;
  readonly withEvidence: boolean;
  readonly withAppInfo: boolean;
  readonly notBefore?: bigint;
  readonly notAfter?: bigint;
}

export const confirmWord = "please sign cert:";

export const wanted: WantedCertificate = {
  subject: "app.example.com",
  altNames: [],
  serverAuth: true,
  clientAuth: false,
  withEvidence: false,
  withAppInfo: false,
};

export interface TestKey {
  readonly spki: Uint8Array;
  readonly privateKey: KeyObject;
}

export function freshTestKey(namedCurve = "P-256"): TestKey {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve });
  return { spki: new Uint8Array(publicKey.export({ format: "der", type: "spki" })), privateKey };
}

export function signDer(bytes: Uint8Array, { privateKey }: TestKey): Uint8Array {
  return new Uint8Array(sign("sha256", bytes, { key: privateKey, dsaEncoding: "der" }));
}

export interface CsrParts {
  readonly confirm?: string;
  readonly spki: Uint8Array;
  readonly want?: WantedCertificate;
}

export function csrVersion1({ confirm = confirmWord, spki, want = wanted }: CsrParts, quote: Uint8Array, eventLog: Uint8Array) {
  return concat(scaleText(confirm), scaleBytes(spki), commonFields(want), scaleBytes(quote), scaleBytes(eventLog));
}

export function csrVersion2({ confirm = confirmWord, spki, want = wanted }: CsrParts, envelope: Uint8Array): Uint8Array {
  const dates = concat(scaleBool(want.withAppInfo), scaleTime(want.notBefore), scaleTime(want.notAfter));
  return concat(scaleText(confirm), scaleBytes(spki), commonFields(want), dates, envelope);
}

function commonFields(want: WantedCertificate): Uint8Array {
  return concat(
    want.organization === undefined ? Uint8Array.of(0) : concat(Uint8Array.of(1), scaleText(want.organization)),
    scaleText(want.subject),
    scaleVec(want.altNames, scaleText),
    scaleBool(want.serverAuth),
    scaleBool(want.clientAuth),
    scaleBool(want.withEvidence),
  );
}

function scaleBool(value: boolean): Uint8Array {
  return Uint8Array.of(value ? 1 : 0);
}

function scaleTime(seconds: bigint | undefined): Uint8Array {
  if (seconds === undefined) return Uint8Array.of(0);
  const bytes = new Uint8Array(9);
  bytes[0] = 1;
  new DataView(bytes.buffer).setBigUint64(1, seconds, true);
  return bytes;
}
