/** The root keys that the contract names: a trust domain has one set, so no KMS makes a second one or takes over another. */
import type { Authority } from "../authorization/authority.ts";
import type { PolicyInfo, RegisteredKeys } from "../authorization/policy.ts";
import { toHex } from "../bytes.ts";
import { KmsError } from "../errors.ts";
import { caSpki, k256Pubkey, type RootKeys } from "../keys/root-keys.ts";

export interface RegisteredKeysSettings {
  readonly authority: Pick<Authority, "info">;
  /** For the log: what could not be compared. */
  readonly warn: (message: string) => void;
}

/** Before keys are made: fresh keys are other keys than any that are registered. */
export async function needNothingRegistered(settings: RegisteredKeysSettings): Promise<void> {
  const registered = registeredKeys(await settings.authority.info());
  if (registered === undefined) return warnUnknown(settings);
  if (registered === null) return;
  const remedy = "onboard from a KMS that has them, or restore them from a backup";
  throw new KmsError("denied.keys-registered", `KmsAuth has the root keys of a KMS, ${shown(registered)}: ${remedy}`);
}

/**
 * Before keys of another KMS are stored. Where the contract has none there is nothing to compare with, and a poisoned source
 * would look like the first one: its keys must be registered first.
 */
export async function needTheRegistered(settings: RegisteredKeysSettings, keys: RootKeys): Promise<void> {
  const registered = registeredKeys(await settings.authority.info());
  if (registered === undefined) return warnUnknown(settings);
  if (registered === null) {
    const remedy = "register those of the source first: ./run hardhat kms register --bootstrap-info FILE";
    throw new KmsError("denied.no-keys-registered", `KmsAuth has no root keys to compare with, ${remedy}`);
  }
  const came = { k256Pubkey: toHex(k256Pubkey(keys)), caPubkey: toHex(caSpki(keys)) };
  if (came.k256Pubkey === registered.k256Pubkey && came.caPubkey === registered.caPubkey) return;
  throw new KmsError("unproven.root-keys", `root keys are not those of KmsAuth: need ${shown(registered)}, have ${shown(came)}`);
}

/** A policy without a contract, such as a file's, has no place for keys: its null says as little as a member left out. */
function registeredKeys({ registeredKeys: keys, kmsContractAddress }: PolicyInfo): RegisteredKeys | null | undefined {
  const isContract = /^(?:0x)?(?!0{40}$)[0-9a-f]{40}$/i.test(kmsContractAddress ?? "");
  return keys === null && !isContract ? undefined : keys;
}

function warnUnknown({ warn }: RegisteredKeysSettings): void {
  warn("the webhook does not report the registered root keys: they are not compared");
}

function shown({ k256Pubkey, caPubkey }: RegisteredKeys): string {
  return `k256Pubkey ${k256Pubkey}, caPubkey ${caPubkey}`;
}
