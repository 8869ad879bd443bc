/** KMS.GetAppEnvEncryptPubKey: the key to which anyone may encrypt an app's environment, signed by the root. */
import type { Authority } from "../authorization/authority.ts";
import { KmsError } from "../errors.ts";
import { signEnvPublicKey } from "../keys/app-keys.ts";
import type { RootKeys } from "../keys/root-keys.ts";

const APP_ID_BYTES = 20;

export interface GetAppEnvEncryptPubKeyServices {
  readonly authority: Authority;
  readonly rootKeys: RootKeys;
  readonly now: () => Date;
}

export async function getAppEnvEncryptPubKey(services: GetAppEnvEncryptPubKeyServices, input: { readonly appId: Uint8Array }) {
  await services.authority.authorizeSelf();
  // the signed layout has no separator behind the app id, so another length would be another statement
  if (input.appId.length !== APP_ID_BYTES) throw new KmsError("malformed.length", "app_id must be 20 bytes");
  const signed = signEnvPublicKey(services.rootKeys, input.appId, services.now());
  return {
    public_key: signed.publicKey,
    signature: signed.signature,
    timestamp: signed.timestamp,
    signature_v1: signed.signatureV1,
  };
}
