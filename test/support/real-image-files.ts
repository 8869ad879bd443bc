/** The files that image tests start a guest from: Debian's where they were fetched, and small ones in the same formats always. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { foundImageFiles } from "../../scripts/dev/image-files.ts";
import type { ImageSources } from "../../scripts/devnet/disk-image.ts";
import { firmwareOf, kernelOf, noise } from "./launch-files.ts";

/** Undefined where nobody ran `node scripts/dev/image-files.ts`: the tests say so and skip. */
export const realImageFiles: ImageSources | undefined = foundImageFiles();
export const withRealFiles =
  realImageFiles === undefined ? "real files (none here: node scripts/dev/image-files.ts fetches them)" : "real files";

export interface MadeUpFiles extends ImageSources {
  remove(): void;
}

export function madeUpImageFiles(): MadeUpFiles {
  const dir = mkdtempSync(join(tmpdir(), "image-files-"));
  const files = { firmware: join(dir, "ovmf.fd"), kernel: join(dir, "bzImage"), initrd: join(dir, "initrd") };
  writeFileSync(files.firmware, firmwareOf());
  writeFileSync(files.kernel, kernelOf({ size: 0x40000 }));
  writeFileSync(files.initrd, noise(0x280000, 5)); // more than is read at a time
  return { ...files, remove: () => rmSync(dir, { recursive: true, force: true }) };
}
