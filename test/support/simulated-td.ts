/** A simulated platform and VM for tests that need evidence made to measure. */
import { utf8 } from "../../kms/bytes.ts";
import { createLiteImage } from "../../scripts/devnet/lite-image.ts";
import { createPki, type SimulatedPki } from "../../scripts/devnet/pki.ts";
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

/** Signs as a part of the platform's hierarchy, which is made again: its keys come from the seed alone. */
export function signAs(signer: Parameters<SimulatedPki["sign"]>[0], text: string): Uint8Array {
  const zeros = new Uint8Array(16);
  const pki = createPki(platformSeed, {
    ppid: zeros,
    cpuSvn: zeros,
    pceSvn: 0,
    pceId: zeros.subarray(0, 2),
    fmspc: zeros.subarray(0, 6),
  });
  return pki.sign(signer, utf8(text));
}
