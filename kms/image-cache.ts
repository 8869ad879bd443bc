/** What image checks keep on disk: unpacked images and computed measurements, by hash. Anything here can be made again. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { KmsError } from "./errors.ts";

export interface ImageCache {
  /** Each is the name of an entry, `all`, or empty for nothing. */
  clear(imageHash: string, configHash: string): Promise<void>;
}

export function createImageCache(cacheDir: string): ImageCache {
  return {
    async clear(imageHash, configHash) {
      const paths = [
        ...pathsOf(join(cacheDir, "images"), imageHash, "failed to clear image cache"),
        ...pathsOf(join(cacheDir, "measurements"), configHash, "failed to clear measurement cache"),
      ];
      for (const path of paths) await remove(path);
    },
  };
}

/** A name of hex digits, of any hash there is, cannot lead out of the folder. */
function pathsOf(folder: string, name: string, failure: string): string[] {
  if (name === "") return [];
  if (name === "all") return [folder];
  if (!/^[0-9a-fA-F]{1,128}$/.test(name)) throw new KmsError("malformed.request", `${failure}: invalid cache key`);
  return [join(folder, name)];
}

async function remove(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (cause) {
    throw new KmsError("fault.internal", "failed to clear the cache", { cause });
  }
}
