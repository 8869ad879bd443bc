/** What operators do with a collateral folder: take a bundle in, all of it or nothing, and look at what is there. */
import { asKmsError, type Code, KmsError } from "../../errors.ts";
import type { Bundle } from "./collateral-bundle.ts";
import type { CollateralFolder, StoredCollateral } from "./collateral-disk.ts";
import { withItem } from "./collateral-index.ts";
import { digestOf, type Facts, factsOf, type Item, itemKinds } from "./collateral-items.ts";
import { type VerifiedItem, verifyItem } from "./collateral-verify.ts";
import type { TrustAnchor } from "./trust-anchor.ts";

export interface FolderSettings {
  readonly folder: CollateralFolder;
  readonly anchor: TrustAnchor;
  readonly now: Date;
}

export interface Imported {
  readonly facts: Facts;
  /** The folder had this very part. */
  readonly isKnown: boolean;
}

export function anchorDigest({ certificate }: TrustAnchor): string {
  return digestOf(certificate.raw);
}

/** Verifies every part before any is kept; `dryRun` ends there. */
export async function importBundle(
  bundle: Bundle,
  { folder, anchor, now }: FolderSettings,
  dryRun = false,
): Promise<readonly Imported[]> {
  if (bundle.anchor !== undefined && bundle.anchor !== anchorDigest(anchor)) {
    throw new KmsError(
      "unproven.certificate-chain",
      `bundle: of the trust anchor ${bundle.anchor}, need ${anchorDigest(anchor)}`,
    );
  }
  const stored = await folder.read();
  const parts = verifyAll(bundle.items, stored, anchor, now);
  parts.reduce(withItem, stored.index); // refuses what is older, before the folder is touched
  if (!dryRun) await folder.add(parts.map(({ item }) => item));
  return parts.map((facts) => ({ facts, isKnown: stored.items.get(facts.name)?.digest === facts.digest }));
}

function verifyAll(items: readonly Item[], stored: StoredCollateral, anchor: TrustAnchor, now: Date): VerifiedItem[] {
  const root = items.find(({ kind }) => kind === "root-crl") ?? stored.items.get("root-crl")?.item;
  if (root?.kind !== "root-crl") {
    throw new KmsError(
      "unavailable.collateral",
      "root_ca_crl: neither the bundle nor the folder has one, so no signer can be judged",
    );
  }
  const settings = { anchor, now, rootCrl: root.crl };
  verifyItem(root, settings); // also where it is the folder's
  const ordered = itemKinds.flatMap((kind) => items.filter((item) => item.kind === kind));
  return ordered.map((item) => verifyItem(item, settings));
}

export interface PartReport {
  readonly facts: Facts;
  readonly item: Item;
  readonly digest: string;
  /** Why it is not served now; undefined where it is. */
  readonly problem: { readonly code: Code; readonly message: string } | undefined;
}

/** Every part of the folder as a KMS that started now would judge it. */
export function judgeFolder(stored: StoredCollateral, anchor: TrustAnchor, now: Date): readonly PartReport[] {
  const root = stored.items.get("root-crl")?.item;
  const rootCrl = root?.kind === "root-crl" ? root.crl : new Uint8Array();
  const at = Math.floor(now.getTime() / 1000);
  return [...stored.items.values()]
    .toSorted((a, b) => itemKinds.indexOf(a.item.kind) - itemKinds.indexOf(b.item.kind))
    .map(({ item, digest }) => {
      const facts = factsOf(item);
      return { facts, item, digest, problem: problemOf(facts, at, () => verifyItem(item, { anchor, now, rootCrl })) };
    });
}

function problemOf({ name, lastSecond }: Facts, at: number, verify: () => unknown): PartReport["problem"] {
  if (at > lastSecond) return { code: "unproven.collateral-expired", message: `${name} has ended` };
  try {
    verify();
    return undefined;
  } catch (thrown) {
    const { code, message } = asKmsError(thrown);
    return { code, message };
  }
}
