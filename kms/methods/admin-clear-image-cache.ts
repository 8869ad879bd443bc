/** Admin.ClearImageCache: removes cached images and measurements, which the next check fetches and computes again. */

interface Clearable {
  clear(imageHash: string, configHash: string): Promise<void>;
}

export interface ClearImageCacheInput {
  readonly imageHash: string;
  readonly configHash: string;
}

export async function clearImageCache(services: { readonly imageCache: Clearable }, input: ClearImageCacheInput): Promise<null> {
  await services.imageCache.clear(input.imageHash, input.configHash);
  return null;
}
