/** What the operator and the app ask of the KMS: the onboard service over plain HTTP, the main service over RA-TLS. */
import { readFile, writeFile } from "node:fs/promises";
import { z } from "zod";
import { fromHex } from "../kms/bytes.ts";
import { type Code, codes, KmsError } from "../kms/errors.ts";
import { createRaTlsClient, fetchTempCa, needKmsUsage, type RaTlsClient } from "../kms/ra-tls/client.ts";
import { createGuestAgent } from "../kms/ra-tls/guest-agent.ts";
import { makeRaTlsIdentity } from "../kms/ra-tls/identity.ts";
import { appKeysSchema } from "./lib/app-keys.ts";
import { requireRootKey } from "./lib/kms-server.ts";
import type { State } from "./start-state.ts";

const timeoutMs = 30_000;
const hex = z.string().regex(/^(?:[0-9a-f]{2})*$/);
const hash = z.string().regex(/^[0-9a-f]{64}$/);
const refusalSchema = z.object({ error: z.string() });
const attestationInfoSchema = z.object({ mr_aggregated: hash, device_id: hash, os_image_hash: hash });
const bootstrapSchema = z.object({ ca_pubkey: hex, k256_pubkey: hex, attestation: hex });
const metaSchema = z.object({ ca_cert: z.string(), k256_pubkey: hex, bootstrap_info: bootstrapSchema, is_dev: z.literal(false) });

const releasedSchema = appKeysSchema.omit({ ca_cert: true, gateway_app_id: true });

export type BootstrapInfo = z.output<typeof bootstrapSchema>;
export type AppKeys = z.output<typeof releasedSchema>;

export interface Refusal {
  readonly step: number;
  readonly code: Code;
  readonly reason: string;
}

/** The refusal that has to come. That nobody answers is no refusal, and that it is granted is a failure. */
export async function expectRefusal(
  step: number,
  expected: { code: Code; text: string },
  call: Promise<unknown>,
): Promise<Refusal> {
  const thrown = await call.then(
    () => new KmsError("fault.internal", `granted, but should have been refused with ${expected.code}`),
    (error: unknown) => error,
  );
  if (!(thrown instanceof KmsError)) throw thrown;
  if (thrown.code !== expected.code || !thrown.message.includes(expected.text)) throw thrown;
  return { step, code: thrown.code, reason: thrown.message };
}

export async function callOnboard(onboardUrl: string, method: string, input: object): Promise<unknown> {
  const url = `${onboardUrl}/prpc/Onboard.${method}?json`;
  const response = await ask(url, { method: "POST", body: JSON.stringify(input) });
  const answer: unknown = await response.json();
  if (response.ok) return answer;
  throw new KmsError(codeOf(response.headers.get("x-error-code")), refusalSchema.parse(answer).error);
}

export async function attestationInfo(onboardUrl: string) {
  return attestationInfoSchema.parse(await callOnboard(onboardUrl, "GetAttestationInfo", {}));
}

/** The answer is the evidence of the root keys: it is kept, since the KMS gives it out but the chain does not hold it yet. */
export async function bootstrap(onboardUrl: string, domain: string, file: string): Promise<BootstrapInfo> {
  const answer = bootstrapSchema.parse(await callOnboard(onboardUrl, "Bootstrap", { domain }));
  await writeFile(file, `${JSON.stringify(answer, undefined, 2)}\n`);
  return answer;
}

export async function finish(onboardUrl: string): Promise<void> {
  const response = await ask(`${onboardUrl}/finish`, { method: "GET" });
  if (!response.ok) throw new KmsError("unavailable.kms", `finish: status ${response.status}`);
}

/** GetMeta over TLS under the root that was registered, with everything in it that the bootstrap promised. */
export async function checkMeta(kmsUrl: string, caCertFile: string, promised: BootstrapInfo): Promise<void> {
  const caCert = await readFile(caCertFile, "utf8");
  requireRootKey(caCert, registeredKey(promised), "the certificate folder");
  const client = createRaTlsClient({ baseUrl: kmsUrl, rootCaPem: caCert, checkServer: needKmsUsage });
  const meta = metaSchema.parse(await client.call("GetMeta", null));
  if (meta.ca_cert !== caCert) throw mismatch("GetMeta: ca_cert is not the root certificate of the certificate folder");
  if (meta.k256_pubkey !== promised.k256_pubkey) throw mismatch("GetMeta: k256_pubkey is not the bootstrapped key");
  if (meta.bootstrap_info.attestation !== promised.attestation) throw mismatch("GetMeta: bootstrap_info is not what was kept");
}

/** What a guest does at boot: the temp CA, a leaf with evidence, and a client that trusts exactly the registered root. */
export async function appClient(kmsUrl: string, state: State, promised: BootstrapInfo): Promise<RaTlsClient> {
  const tempCa = await fetchTempCa(kmsUrl, { checkServer: needKmsUsage });
  requireRootKey(tempCa.caCertPem, registeredKey(promised), "GetTempCaCert");
  const identity = await makeRaTlsIdentity(createGuestAgent(`unix:${state.appSocket}`), tempCa, new Date());
  return createRaTlsClient({ baseUrl: kmsUrl, rootCaPem: tempCa.caCertPem, identity, checkServer: needKmsUsage });
}

export async function getAppKey(client: RaTlsClient): Promise<AppKeys> {
  return releasedSchema.parse(await client.call("GetAppKey", { api_version: 1, vm_config: "" }));
}

async function ask(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, { ...init, redirect: "error", signal: AbortSignal.timeout(timeoutMs) });
  } catch (cause) {
    throw new KmsError("unavailable.kms", `the KMS does not answer at ${url}`, { cause });
  }
}

function codeOf(text: string | null): Code {
  const known = Object.keys(codes).find((code): code is Code => code === text);
  return known ?? "unavailable.kms";
}

function registeredKey({ ca_pubkey }: BootstrapInfo): Uint8Array {
  return fromHex(ca_pubkey, "ca_pubkey");
}

function mismatch(message: string): KmsError {
  return new KmsError("unproven.server-identity", message);
}
