/** Takes the keys of a KMS that runs already: its evidence, this side's policy, its keys, the contract's word on them, then all on disk or nothing. */
import type { Authority } from "../authorization/authority.ts";
import { inContext, KmsError } from "../errors.ts";
import { k256Pubkey, type Random } from "../keys/root-keys.ts";
import { createKeySet, inspectKeyStore } from "../keys/store.ts";
import type { Disk } from "../keys/store-disk.ts";
import { exists } from "../keys/store-files.ts";
import { type KeySetSettings, makeKeySet, wipeKeys } from "./key-set.ts";
import type { OneAtATime } from "./one-at-a-time.ts";
import { parseReceivedKeys } from "./received-keys.ts";
import { needTheRegistered, type RegisteredKeysSettings } from "./registered-keys.ts";
import { attestSource, fetchKmsKey, type SourceSettings } from "./source.ts";
import { parseSourceUrl } from "./source-url.ts";

export interface OnboardSettings extends SourceSettings, KeySetSettings, RegisteredKeysSettings {
  readonly certDir: string;
  readonly authority: Authority;
  readonly random: Random;
  readonly disk?: Disk | undefined;
  /** Shared with bootstrap. */
  readonly alone: OneAtATime;
}

export interface Onboard {
  /** The compressed k256 root key that this KMS now shares with the source. */
  from(sourceUrl: string, domain: string): Promise<Uint8Array>;
}

export function createOnboard(settings: OnboardSettings): Onboard {
  return {
    from: (sourceUrl, domain) =>
      settings.alone(async () => {
        await needNoRootKeys(settings.certDir);
        try {
          return await replicate(settings, parseSourceUrl(sourceUrl), domain);
        } catch (thrown) {
          throw inContext("Failed to onboard", thrown);
        }
      }),
  };
}

/** A bootstrap-info.json alone is no hindrance: it speaks of keys that are lost. */
async function needNoRootKeys(certDir: string): Promise<void> {
  const present = await Promise.all(["root-ca.key", "root-k256.key"].map((name) => exists(certDir, name)));
  if (present.includes(true)) throw new KmsError("denied.already-bootstrapped", "KMS has already been onboarded");
  await inspectKeyStore(certDir); // refuses a folder that holds only other files of a KMS
}

async function replicate(settings: OnboardSettings, baseUrl: string, domain: string): Promise<Uint8Array> {
  const { authority, certDir, random, disk } = settings;
  const source = await attestSource(settings, baseUrl);
  await authority.authorizeSource(source.info);
  const keys = parseReceivedKeys(await fetchKmsKey(settings, source), source.tempCa, random);
  try {
    await needTheRegistered(settings, keys.rootKeys);
    const keySet = await makeKeySet(settings, domain, keys);
    await authority.authorizeSource(source.info); // again: evidence and the source's answer took their time
    await createKeySet(certDir, keySet, domain, undefined, disk);
    return k256Pubkey(keys.rootKeys);
  } finally {
    wipeKeys(keys);
  }
}
