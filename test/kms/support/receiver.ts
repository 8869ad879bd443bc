/** A KMS without keys in this process, on a simulated platform, that takes them from whatever source a test sets up. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { loadConfig } from "../../../kms/config.ts";
import { createOnboard, type Onboard, type OnboardSettings } from "../../../kms/replication/onboard.ts";
import { oneAtATime } from "../../../kms/replication/one-at-a-time.ts";
import { createServices, type Services } from "../../../kms/services.ts";
import { simulatedTd } from "../../support/simulated-td.ts";
import { type Surroundings, surround } from "./kms-process.ts";
import { refusal } from "./refusals.ts";
import { publicKeys, type SourceKms, type SourceOptions, startSource } from "./source-kms.ts";
import { denyBody, infoBody, type WebhookAnswer, type WebhookCall } from "./webhook.ts";

export const replicaDomain = "replica.example";
export const sourceTd = simulatedTd({ appCompose: '{"name":"source"}' });

export interface Receiver {
  readonly around: Surroundings;
  readonly services: Services;
  certDir: string;
  warnings: string[];
  source: SourceKms | undefined;
  /** The members of the webhook's answer to GET, on top of the usual ones; undefined takes one away. */
  description: Record<string, unknown>;
  /** The reason with which a boot is denied. */
  deny: ((call: WebhookCall) => string | undefined) | undefined;
  /** A new folder, a webhook that allows everything and has the source's keys registered. */
  reset(): void;
  onboard(changes?: Partial<OnboardSettings>): Onboard;
  /** Starts a source with these faults and onboards from it. */
  from(options?: Partial<SourceOptions>, changes?: Partial<OnboardSettings>): Promise<Uint8Array>;
  stored(): string[];
  /** Expects this refusal, and that nothing was stored. */
  refused(work: Promise<unknown>, code: string, message: unknown): Promise<void>;
  close(): Promise<void>;
}

export async function createReceiver(): Promise<Receiver> {
  const around = await surround();
  const env = { DSTACK_AGENT_ADDRESS: `unix:${join(around.dir, "agent.sock")}` };
  const { settings } = loadConfig({ explicit: around.config(), cwd: around.dir, env });
  const services = await createServices(settings, "0.0.0");
  let count = 0;
  const receiver: Receiver = {
    around,
    services,
    certDir: "",
    warnings: [],
    source: undefined,
    description: {},
    deny: undefined,
    reset() {
      count += 1;
      receiver.certDir = join(around.dir, `certs-${count}`);
      receiver.warnings = [];
      receiver.description = { kmsInfo: publicKeys };
      receiver.deny = undefined;
      around.webhook.calls.length = 0;
      around.webhook.respond = (call) => answer(receiver, call);
    },
    onboard(changes = {}) {
      const warn = (message: string) => receiver.warnings.push(message);
      const { certDir } = receiver;
      return createOnboard({ ...services, ...settings, certDir, alone: oneAtATime(), warn, ...changes });
    },
    async from(options = {}, changes = {}) {
      receiver.source = await startSource({ td: sourceTd, ...options });
      return receiver.onboard(changes).from(receiver.source.url, replicaDomain);
    },
    stored: () => (existsSync(receiver.certDir) ? readdirSync(receiver.certDir) : []),
    async refused(work, code, message) {
      const text = typeof message === "string" ? `Failed to onboard: ${message}` : message;
      expect(await refusal(work)).toEqual({ code, message: text });
      expect(receiver.stored()).toEqual([]);
    },
    close: () => around.close(),
  };
  receiver.reset();
  return receiver;
}

function answer({ description, deny }: Receiver, call: WebhookCall): WebhookAnswer | undefined {
  if (call.method === "GET") return { status: 200, body: JSON.stringify({ ...JSON.parse(infoBody), ...description }) };
  const reason = deny?.(call);
  return reason === undefined ? undefined : { status: 200, body: denyBody(reason) };
}
