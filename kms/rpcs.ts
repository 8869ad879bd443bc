/** Joins the methods with the messages of the wire: which RPCs each listener serves, and which fields they read. */
import { Admin, KMS, Onboard } from "./http/gen/kms_pb.ts";
import type { Log } from "./http/log.ts";
import type { PlainMessage } from "./http/plain.ts";
import { type Rpc, rpcsOf } from "./http/rpc.ts";
import { createImageCache } from "./image-cache.ts";
import { k256Pubkey } from "./keys/root-keys.ts";
import { readBootstrapInfo, type StoredKeySet } from "./keys/store.ts";
import { clearImageCache } from "./methods/admin-clear-image-cache.ts";
import { getAppEnvEncryptPubKey } from "./methods/get-app-env-encrypt-pubkey.ts";
import { getAppKey } from "./methods/get-app-key.ts";
import { getKmsKey } from "./methods/get-kms-key.ts";
import { getMeta } from "./methods/get-meta.ts";
import { getTempCaCert } from "./methods/get-temp-ca-cert.ts";
import { onboardBootstrap } from "./methods/onboard-bootstrap.ts";
import { getAttestationInfo } from "./methods/onboard-get-attestation-info.ts";
import { onboardOnboard } from "./methods/onboard-onboard.ts";
import { signCert } from "./methods/sign-cert.ts";
import { createBootstrap } from "./replication/bootstrap.ts";
import { createOnboard } from "./replication/onboard.ts";
import type { OneAtATime } from "./replication/one-at-a-time.ts";
import type { Services } from "./services.ts";

export function serviceRpcs(services: Services, keys: StoredKeySet, log: Log): Rpc[] {
  const { authority, verifier, settings, now } = services;
  const { rootKeys, rootCaCertPem, tempCaCertPem, tempCaKeyPem } = keys;
  const gates = settings;
  const recordRelease = (receiver: object) => log.warn({ receiver }, "root keys released to another KMS");
  const meta = {
    authority,
    rootCaCertPem,
    k256Pubkey: k256Pubkey(rootKeys),
    readBootstrapInfo: () => readBootstrapInfo(settings.certDir),
  };
  return rpcsOf(KMS, {
    GetAppKey: (input, call) => {
      const request = { apiVersion: number(input, "api_version"), vmConfig: text(input, "vm_config") };
      return getAppKey({ authority, rootKeys, rootCaCertPem, gates }, request, call.caller());
    },
    GetKmsKey: (input, call) =>
      getKmsKey(
        { authority, rootKeys, tempCaKeyPem, gates, recordRelease },
        { vmConfig: text(input, "vm_config") },
        call.caller(),
      ),
    GetAppEnvEncryptPubKey: (input) => getAppEnvEncryptPubKey({ authority, rootKeys, now }, { appId: bytes(input, "app_id") }),
    GetMeta: () => getMeta(meta),
    SignCert: (input) => {
      const request = { csr: bytes(input, "csr"), signature: bytes(input, "signature"), vmConfig: text(input, "vm_config") };
      const certifier = { authority, verifier, rootKeys, rootCaCertPem, gates, now };
      return signCert(certifier, { apiVersion: number(input, "api_version"), ...request });
    },
    GetTempCaCert: () => getTempCaCert({ authority, gates, tempCaCertPem, tempCaKeyPem, rootCaCertPem }),
  });
}

/** Finish belongs to the listener and is served by it. */
export function onboardRpcs(services: Services, log: Log, alone: OneAtATime): Rpc[] {
  const { agent, ownEvidence, authority, settings } = services;
  const warn = (message: string) => log.warn({}, message);
  const replication = { ...services, ...settings, alone, warn };
  const bootstrap = createBootstrap(replication);
  const onboard = createOnboard(replication);
  return rpcsOf(Onboard, {
    Bootstrap: (input) => onboardBootstrap({ bootstrap }, { domain: text(input, "domain") }),
    Onboard: (input) => onboardOnboard({ onboard }, { sourceUrl: text(input, "source_url"), domain: text(input, "domain") }),
    GetAttestationInfo: () => getAttestationInfo({ ownEvidence, agent, authority, siteName: settings.siteName }),
  });
}

export function adminRpcs({ settings }: Services): Rpc[] {
  const imageCache = createImageCache(settings.image.cacheDir);
  return rpcsOf(Admin, {
    ClearImageCache: (input) =>
      clearImageCache({ imageCache }, { imageHash: text(input, "image_hash"), configHash: text(input, "config_hash") }),
  });
}

// The codecs give every field its type; these say so to the compiler.

function text(input: PlainMessage, field: string): string {
  const value = input[field];
  if (typeof value !== "string") throw new TypeError(`${field}: need text, have ${typeof value}`);
  return value;
}

function number(input: PlainMessage, field: string): number {
  const value = input[field];
  if (typeof value !== "number") throw new TypeError(`${field}: need a number, have ${typeof value}`);
  return value;
}

function bytes(input: PlainMessage, field: string): Uint8Array {
  const value = input[field];
  if (!(value instanceof Uint8Array)) throw new TypeError(`${field}: need bytes, have ${typeof value}`);
  return value;
}
