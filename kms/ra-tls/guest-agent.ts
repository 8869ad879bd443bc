/** Client of the guest agent, the service of the confidential VM that makes evidence, over its unix socket or over HTTP. */
import type { RequestOptions } from "node:http";
import { z } from "zod";
import { fromHex, fromUtf8, toHex, utf8 } from "../bytes.ts";
import { KmsError } from "../errors.ts";
import { type CallLimits, postJson } from "./json-call.ts";

export interface GuestAgent {
  /** Evidence over up to 64 bytes: the whole envelope, not stripped. */
  attest(reportData: Uint8Array): Promise<Uint8Array>;
  info(): Promise<{ readonly vmConfig: string }>;
}

/** Making a quote takes the platform a second or two; envelopes have at most 10 MiB, which hex doubles only in theory. */
export const guestAgentLimits: CallLimits = { timeoutMs: 30_000, maxReplyBytes: 16 * 1024 * 1024 };

const maxReportData = 64;
const attestSchema = z.object({ attestation: z.string().min(1) });
const infoSchema = z.object({ vm_config: z.string().default("") });
const unusable = "unavailable.guest-agent";

/** `unix:/path` or `http://host[:port][/prefix]`. Each call is a new connection. */
export function createGuestAgent(address: string, limits: CallLimits = guestAgentLimits): GuestAgent {
  const target = targetOf(address);
  async function call<T>(method: string, input: unknown, schema: z.ZodType<T>): Promise<T> {
    const path = `${method}?json`;
    const options: RequestOptions = { ...target.options, agent: false, path: `${target.prefix}/${path}` };
    const reply = await postJson(options, input, limits).catch((cause: unknown) => {
      const detail = cause instanceof Error ? cause.message : "failed";
      throw new KmsError(unusable, `guest agent ${address}, ${method}: ${detail}`, { cause });
    });
    if (reply.status !== 200) {
      const cause = new Error(Buffer.from(reply.body.subarray(0, 512)).toString());
      throw new KmsError(unusable, `Invalid status code: ${reply.status}, path=${path}`, { cause });
    }
    return parseReply(reply.body, `guest agent, ${method}`, schema);
  }
  return {
    async attest(reportData) {
      if (reportData.length > maxReportData) {
        throw new KmsError("malformed.length", `report data: need at most ${maxReportData} bytes, have ${reportData.length}`);
      }
      const { attestation } = await call("Attest", { report_data: toHex(reportData) }, attestSchema);
      return fromHex(attestation, "guest agent, Attest: attestation", undefined, unusable);
    },
    async info() {
      const { vm_config } = await call("Info", null, infoSchema);
      return { vmConfig: vm_config };
    },
  };
}

function parseReply<T>(body: Uint8Array, what: string, schema: z.ZodType<T>): T {
  try {
    return schema.parse(JSON.parse(fromUtf8(body, what, unusable)));
  } catch (cause) {
    throw new KmsError(unusable, `${what}: the answer cannot be decoded, ${body.length} bytes`, { cause });
  }
}

/** Over a unix socket existing clients send the hex of its path as host; agents do not look at it. */
function targetOf(address: string): { readonly options: RequestOptions; readonly prefix: string } {
  const unixPath = /^unix:(?:\/\/)?(\/.+)$/.exec(address)?.[1];
  if (unixPath !== undefined) {
    return { options: { socketPath: unixPath, headers: { host: `${toHex(utf8(unixPath))}:0` } }, prefix: "" };
  }
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url?.protocol !== "http:") {
    throw new KmsError("malformed.config", `guest agent address: need unix:/path or http://host, have ${address}`);
  }
  return { options: { host: bareHost(url), port: url.port || 80 }, prefix: url.pathname.replace(/\/+$/, "") };
}

function bareHost(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, "$1");
}
