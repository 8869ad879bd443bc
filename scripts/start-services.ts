/** The components of the stack, each as its production counterpart is started: program, settings, environment. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { KmsError } from "../kms/errors.ts";
import { nodeArguments } from "./lib/package-scripts.ts";
import type { Component, Components, Line } from "./start-components.ts";
import type { StartOptions } from "./start-options.ts";
import type { State } from "./start-state.ts";

export interface Launch {
  readonly components: Components;
  readonly state: State;
  readonly ports: StartOptions["ports"];
}

const host = "127.0.0.1";
/** MRENCLAVE of a local key provider that does not exist; measured into the KMS's own VM. */
const keyProvider = JSON.stringify({ name: "local-sgx", id: "5e".repeat(32) });
const devnet = (file: string): string => join(import.meta.dirname, "devnet", file);
const listeningSchema = z.object({ url: z.string() });

/** app-compose of a KMS, members in the order of the reference's deployment tool. */
export const kmsCompose = {
  manifest_version: 2,
  name: "kms",
  runner: "docker-compose",
  docker_compose_file: "services:\n  kms:\n    image: keyward\n",
  kms_enabled: false,
  gateway_enabled: false,
  local_key_provider_enabled: true,
  key_provider_id: "",
  public_logs: true,
  public_sysinfo: true,
  allowed_envs: [],
  no_instance_id: true,
  secure_time: true,
};

export const appCompose = {
  manifest_version: 2,
  name: "hello",
  runner: "docker-compose",
  docker_compose_file: "services:\n  hello:\n    image: hello-world\n",
  kms_enabled: true,
  gateway_enabled: false,
  local_key_provider_enabled: false,
  key_provider_id: "",
  public_logs: true,
  public_sysinfo: true,
  allowed_envs: [],
  no_instance_id: false,
  secure_time: false,
};

export async function startChain({ components, ports }: Launch): Promise<string> {
  return urlOf(
    await components.start({ name: "chain", args: [devnet("chain-main.ts"), "--port", `${ports.chain}`] }).listening(),
  );
}

/** The machine with its collateral server, then the VM that the KMS runs in. */
export async function startPlatform({ components, state, ports }: Launch): Promise<{ pccsUrl: string }> {
  const files = ["--seed-file", state.seedFile, "--root-file", state.rootFile];
  const platform = components.start({
    name: "platform",
    args: [devnet("platform-main.ts"), ...files, "--port", `${ports.pccs}`],
  });
  const pccsUrl = urlOf(await platform.listening());
  await writeFile(state.kmsComposeFile, JSON.stringify(kmsCompose, undefined, 4));
  const size = ["--cpus", "8", "--memory-gib", "8", "--key-provider", keyProvider];
  const what = ["--seed-file", state.seedFile, "--compose", state.kmsComposeFile, "--socket", state.kmsSocket];
  await components
    .start({ name: "kms guest agent", args: [devnet("guest-main.ts"), "--name", "kms", ...what, ...size] })
    .listening();
  return { pccsUrl };
}

export async function startAuth({ components, ports }: Launch, chain: { rpcUrl: string; chainId: number; kmsAuth: string }) {
  const env = {
    HOST: host,
    PORT: `${ports.auth}`,
    ETH_RPC_URL: chain.rpcUrl,
    ETH_CHAIN_ID: `${chain.chainId}`,
    ETH_FINALITY_CONFIRMATIONS: "0",
    KMS_CONTRACT_ADDR: chain.kmsAuth,
  };
  const { flags, program } = nodeArguments("auth-eth");
  return urlOf(await components.start({ name: "auth-eth", args: [...flags, program], env }).listening());
}

export interface StartedKms {
  readonly component: Component;
  readonly onboardUrl: string;
}

export async function startKms({ components, state, ports }: Launch, urls: { pccs: string; auth: string }): Promise<StartedKms> {
  await writeFile(state.kmsConfigFile, kmsToml(state, ports.kms, urls));
  const { flags, program } = nodeArguments("kms");
  const component = components.start({
    name: "kms",
    args: [...flags, program, "-c", state.kmsConfigFile],
    env: { DSTACK_AGENT_ADDRESS: `unix:${state.kmsSocket}` },
  });
  return { component, onboardUrl: urlOf(await component.listening("onboard")) };
}

export interface StartedApp {
  readonly instanceId: string;
  readonly composeHash: string;
}

/** The VM of an app that was deployed under this app id. */
export async function startAppGuest({ components, state }: Launch, appId: string, instanceSeed: string): Promise<StartedApp> {
  const what = ["--seed-file", state.seedFile, "--compose", state.appComposeFile, "--socket", state.appSocket];
  const who = ["--name", "hello", "--app-id", appId, "--instance-seed", instanceSeed];
  const line = await components.start({ name: "app guest agent", args: [devnet("guest-main.ts"), ...what, ...who] }).listening();
  return z.object({ instanceId: z.string(), composeHash: z.string() }).parse(line);
}

/** JSON strings are TOML strings too. */
function kmsToml(state: State, port: number, urls: { pccs: string; auth: string }): string {
  const text = JSON.stringify;
  return `# written by ./run start: a simulation, its trust anchor is not Intel's
[rpc]
address = ${text(host)}
port = ${port}

[core]
cert_dir = ${text(state.certDir)}
site_name = "local simulation"

[core.onboard]
enabled = true
address = ${text(host)}
port = ${port}

[core.image]
verify = true
cache_dir = ${text(join(state.dir, "image-cache"))}

[core.auth_api]
type = "webhook"

[core.auth_api.webhook]
url = ${text(urls.auth)}

[core.attestation]
insecure_allow_external_trust_anchors = true

[core.attestation.urls]
pccs = ${text(urls.pccs)}

[core.attestation.root_ca]
tdx = ${text(state.rootFile)}
`;
}

export function urlOf(line: Line): string {
  const parsed = listeningSchema.safeParse(line);
  if (!parsed.success) throw new KmsError("unavailable.component", "a component listens but does not say where");
  return parsed.data.url.replace(/\/$/, "");
}
