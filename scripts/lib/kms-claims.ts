/** What a KMS in onboard mode says of itself: `Onboard.GetAttestationInfo`. Claims, to be compared with one's own build. */
import { z } from "zod";
import { KmsError } from "../../kms/errors.ts";
import { hinted, usageError } from "./cli.ts";

const timeoutMs = 30_000;
const maxResponseBytes = 64 * 1024;
const hash = z.string().regex(/^[0-9a-f]{64}$/);

/** Each member alone: an image hash may be missing where a measurement is asked for. */
const claimsSchema = z.object({ mr_aggregated: z.string(), device_id: z.string(), os_image_hash: z.string() });

export type ClaimName = keyof z.output<typeof claimsSchema>;

export async function fetchClaim(url: string, name: ClaimName): Promise<string> {
  const claims = claimsSchema.safeParse(await callKms(attestationInfoUrl(url)));
  const claim = claims.success ? hash.safeParse(claims.data[name]) : undefined;
  if (claim?.success) return claim.data;
  throw new KmsError("unavailable.kms", `the KMS names no 32-byte ${name}`);
}

function attestationInfoUrl(text: string): string {
  const url = URL.parse(text);
  if (url === null || !["http:", "https:"].includes(url.protocol)) {
    throw usageError("--from-kms: need an http or https URL", "the onboard listener, for example http://127.0.0.1:8000");
  }
  const base = `${url.origin}${url.pathname}`.replace(/\/+$/, "").replace(/\/prpc$/, "");
  return `${base}/prpc/Onboard.GetAttestationInfo?json`;
}

async function callKms(url: string): Promise<unknown> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const response = await fetch(url, { method: "POST", body: "{}", redirect: "error", signal });
    const text = await readAtMost(response);
    if (response.ok) return JSON.parse(text);
    throw hinted(
      "unavailable.kms",
      `the KMS answers ${response.status}: ${text.slice(0, 300)}`,
      "only a KMS in onboard mode answers",
    );
  } catch (cause) {
    if (cause instanceof KmsError) throw cause;
    const why = signal.aborted ? `no answer within ${timeoutMs} ms` : "no usable answer";
    throw hinted("unavailable.kms", `the KMS gives ${why}`, "is the KMS running, in onboard mode, at this URL?", { cause });
  }
}

async function readAtMost(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > maxResponseBytes) throw new KmsError("unavailable.kms", `the KMS answers more than ${maxResponseBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
