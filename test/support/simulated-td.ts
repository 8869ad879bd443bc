/** A simulated platform and VM for tests that need evidence made to measure. */
import { createLiteImage } from "../../scripts/devnet/lite-image.ts";
import { createPlatform, type PlatformKnobs, type SimulatedPlatform } from "../../scripts/devnet/platform.ts";
import { type SimulatedTd, startTd, type TdSettings } from "../../scripts/devnet/td.ts";

export const gib = 1024 ** 3;
export const platformSeed = new Uint8Array(32).fill(7);
export const simulatedImage = createLiteImage("simulated-for-tests");

export function simulatedPlatform(knobs: PlatformKnobs = {}): SimulatedPlatform {
  return createPlatform(platformSeed, knobs);
}

export function simulatedTd(settings: Partial<TdSettings> = {}): SimulatedTd {
  return startTd({
    platform: settings.platform ?? simulatedPlatform(),
    image: simulatedImage,
    shape: { cpuCount: 2, memorySize: 2 * gib },
    appCompose: '{"name":"app"}',
    ...settings,
  });
}
