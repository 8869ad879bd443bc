/** What the bench of the KMS asks, and what every right answer contains. */
import { generateKeyPairSync, sign } from "node:crypto";
import { encodeEvidence, stripEvidence } from "../kms/attestation/evidence.ts";
import { reportData } from "../kms/attestation/report-data.ts";
import { scaleBytes, scaleText, scaleU8, scaleVec } from "../kms/attestation/scale.ts";
import { concat, toHex } from "../kms/bytes.ts";
import type { SimulatedTd } from "../scripts/devnet/td.ts";

/** Of the floor's answer, which has about the size of an app's keys. */
export const answerBytes = 1_500;
export const constantText = '{"constant":true}';

export interface Call {
  readonly path: string;
  readonly body: string;
  readonly expected: string;
}

export const callNames = ["GetAppKey", "GetAppEnvEncryptPubKey", "SignCert", "GetMeta"] as const;
export type CallName = (typeof callNames)[number];

export function callsOf(app: SimulatedTd): Record<CallName, Call> {
  const call = (name: CallName, input: unknown, expected: string): Call => ({
    path: `/prpc/${name}?json`,
    body: JSON.stringify(input),
    expected,
  });
  return {
    GetAppKey: call("GetAppKey", { api_version: 1, vm_config: app.vmConfig }, '"disk_crypt_key"'),
    GetAppEnvEncryptPubKey: call("GetAppEnvEncryptPubKey", { app_id: toHex(app.appId) }, '"signature_v1"'),
    SignCert: call("SignCert", certificateRequest(app), '"certificate_chain"'),
    GetMeta: call("GetMeta", null, '"k256_pubkey"'),
  };
}

/** A version 2 request, as a guest agent makes it for a TLS server of its app. */
function certificateRequest(app: SimulatedTd) {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = new Uint8Array(publicKey.export({ format: "der", type: "spki" }));
  const csr = concat(
    scaleText("please sign cert:"),
    scaleBytes(spki),
    flag(false), // no organization
    scaleText("bench"),
    scaleVec(["localhost"], scaleText),
    concat(flag(true), flag(false), flag(true), flag(false)), // for servers, not for clients; with evidence, without app info
    concat(flag(false), flag(false)), // no dates
    encodeEvidence(stripEvidence(app.evidence(reportData("ratls-cert", spki)))),
  );
  const signature = toHex(new Uint8Array(sign("sha256", csr, privateKey)));
  return { api_version: 2, csr: toHex(csr), signature, vm_config: app.vmConfig };
}

const flag = (value: boolean): Uint8Array => scaleU8(value ? 1 : 0);
