/** The bench of the KMS, part by part; words on stderr while it runs. */
import { arch, availableParallelism, cpus, platform } from "node:os";
import { measureKmsMemory } from "./kms-memory.ts";
import { type KmsReport, kmsReportOf } from "./kms-report.ts";
import { certificatesNeeded, type KmsRoundSettings, runKmsRounds, startTlsLoad } from "./kms-rounds.ts";
import { startWorld } from "./kms-world.ts";

export interface KmsBenchSettings extends KmsRoundSettings {
  readonly releases: number;
  readonly starts: number;
}

export async function benchKms(settings: KmsBenchSettings, note: (sentence: string) => void): Promise<KmsReport> {
  note("starting the KMS and making client certificates");
  const world = await startWorld({ certificates: certificatesNeeded(settings), starts: settings.starts });
  const load = await startTlsLoad();
  try {
    const series = await runKmsRounds(world, load, settings, note);
    note(`memory: ${settings.releases} releases`);
    const memory = settings.releases > 0 ? await measureKmsMemory(world, load, settings.releases) : undefined;
    return kmsReportOf({ series, memory, readyMs: world.readyMs }, machine());
  } finally {
    await load.close();
    await world.close();
  }
}

function machine(): string {
  const model = cpus()[0]?.model.trim() ?? "unknown processor";
  return `node ${process.version}, ${platform()} ${arch()}, ${availableParallelism()} × ${model}, ${new Date().toISOString()}`;
}
