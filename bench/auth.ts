/** The bench of the webhook, part by part; words on stderr while it runs. */
import { arch, availableParallelism, cpus, platform } from "node:os";
import { measureMemory } from "./auth-memory.ts";
import { type Report, reportOf } from "./auth-report.ts";
import { measureRevocation } from "./auth-revocation.ts";
import { type RoundSettings, runRounds } from "./auth-rounds.ts";

export interface AuthBenchSettings extends RoundSettings {
  readonly memoryRequests: number;
  readonly revocations: number;
}

export async function benchAuth(settings: AuthBenchSettings, note: (sentence: string) => void): Promise<Report> {
  note(`revocation: ${settings.revocations} rounds`);
  const revocation = settings.revocations > 0 ? await measureRevocation(settings.revocations) : undefined;
  note(`memory: ${settings.memoryRequests} requests`);
  const memory = settings.memoryRequests > 0 ? await measureMemory(settings.memoryRequests) : undefined;
  const series = await runRounds(settings, note);
  return reportOf({ series, memory, revocation }, machine());
}

function machine(): string {
  const model = cpus()[0]?.model.trim() ?? "unknown processor";
  return `node ${process.version}, ${platform()} ${arch()}, ${availableParallelism()} × ${model}, ${new Date().toISOString()}`;
}
