/** The keys of an app, as a guest gets them: temp CA, a leaf with evidence, GetAppKey, and every check that a client can make. */

import type { Verifier } from "../kms/attestation/verifier.ts";
import { equal, toHex } from "../kms/bytes.ts";
import { parseCertificate } from "../kms/ca/profile.ts";
import { KmsError } from "../kms/errors.ts";
import { createRaTlsClient, fetchTempCa, type ServerCheck } from "../kms/ra-tls/client.ts";
import { readCertificate } from "../kms/ra-tls/extensions.ts";
import type { GuestAgent } from "../kms/ra-tls/guest-agent.ts";
import { makeRaTlsIdentity, type RaTlsIdentity } from "../kms/ra-tls/identity.ts";
import type { Tunnel } from "../kms/ra-tls/tunnel.ts";
import { type AppKeys, issuerOf, readAppKeys } from "./lib/app-keys.ts";
import { certificateKey, kmsServerCheck, requireRootKey } from "./lib/kms-server.ts";

export interface KeyRequest {
  readonly kmsUrl: string;
  /** The root of the trust domain, known before: the first contact is checked too. */
  readonly rootCaPem: string;
  readonly appId: Uint8Array;
  /** The registered k256 root key, compressed. */
  readonly k256Root: Uint8Array | undefined;
}

export interface KeyCollaborators {
  readonly agent: Pick<GuestAgent, "attest">;
  /** Of the evidence in the server's leaf; undefined leaves it unverified. */
  readonly verifier: Pick<Verifier, "verify"> | undefined;
  readonly tunnel: Tunnel | undefined;
  readonly now: () => Date;
}

export interface KeyRelease {
  readonly keys: AppKeys;
  /** The root key that signed the app's key. */
  readonly issuer: Uint8Array;
  /** The server proved that it is a KMS in a confidential VM. */
  readonly isServerAttested: boolean;
}

export async function requestKeys(request: KeyRequest, { agent, verifier, tunnel, now }: KeyCollaborators): Promise<KeyRelease> {
  const { kmsUrl, rootCaPem, appId } = request;
  const rootKey = certificateKey(rootCaPem, "root CA");
  let isServerAttested = false;
  const check = kmsServerCheck(verifier);
  const checkServer: ServerCheck = async (leaf) => {
    await check(leaf);
    isServerAttested = verifier !== undefined && leaf.evidence !== undefined;
  };
  const server = { rootCaPem, checkServer, tunnel };
  const tempCa = await fetchTempCa(kmsUrl, server);
  requireRootKey(tempCa.caCertPem, rootKey, "GetTempCaCert");
  const identity = await makeRaTlsIdentity(agent, tempCa, now());
  requireOwnAppId(identity, appId);
  const client = createRaTlsClient({ baseUrl: kmsUrl, identity, ...server });
  const keys = readAppKeys(await client.call("GetAppKey", { api_version: 1, vm_config: "" }));
  requireRootKey(keys.ca_cert, rootKey, "GetAppKey");
  return { keys, issuer: requireIssuer(keys, request), isServerAttested };
}

/** The KMS goes by the evidence alone, so keys of another app than the one meant would come without a word. */
function requireOwnAppId({ certificatePem }: RaTlsIdentity, expected: Uint8Array): void {
  const leaf = readCertificate(new Uint8Array(parseCertificate(certificatePem).rawData));
  const measured = leaf.evidence?.stack.runtimeEvents.find(({ event }) => event === "app-id")?.payload;
  if (measured === undefined || equal(measured, expected)) return; // without events the signature over the app id decides
  throw new KmsError("unproven.app-id", `app id: need 0x${toHex(expected)}, the guest agent's evidence has 0x${toHex(measured)}`);
}

/** A signature over another app id recovers to a key that nobody has registered. */
function requireIssuer(keys: AppKeys, { appId, k256Root }: KeyRequest): Uint8Array {
  const issuer = issuerOf(keys, appId);
  if (k256Root === undefined || equal(issuer, k256Root)) return issuer;
  throw new KmsError("unproven.server-identity", `k256_key: signed by ${toHex(issuer)}, need ${toHex(k256Root)}`);
}
