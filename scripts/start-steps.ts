/** The twelve steps from an empty chain to a released app key, in order. */
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Deployment, deployContracts } from "./start-deploy.ts";
import {
  type AppKeys,
  appClient,
  attestationInfo,
  type BootstrapInfo,
  bootstrap,
  callOnboard,
  checkMeta,
  expectRefusal,
  finish,
  getAppKey,
  type Refusal,
} from "./start-kms-calls.ts";
import { checkSignatureChain, createApp, createOperator, type Operator, registeredK256Key } from "./start-operator.ts";
import type { Step } from "./start-report.ts";
import {
  appCompose,
  type Launch,
  startAppGuest,
  startAuth,
  startChain,
  startKms,
  startPlatform,
  urlOf,
} from "./start-services.ts";

export interface Outcome {
  readonly deployment: Deployment;
  readonly rpcUrl: string;
  readonly pccsUrl: string;
  readonly authUrl: string;
  readonly kmsUrl: string;
  readonly caCertFile: string;
  readonly bootstrapInfo: BootstrapInfo;
  readonly kms: { readonly mrAggregated: string; readonly deviceId: string; readonly osImageHash: string };
  readonly app: ReleasedApp;
  readonly refusals: readonly Refusal[];
}

export interface ReleasedApp {
  readonly appId: string;
  readonly instanceId: string;
  readonly composeHash: string;
  readonly keys: AppKeys;
}

export const kmsDomain = "127.0.0.1";
const composeRefused = { code: "denied.policy", text: "Compose hash not allowed" } as const;
const bootstrapRefused = { code: "denied.self", text: "KMS is not allowed to bootstrap: boot denied: " } as const;

export async function runSteps(launch: Launch, step: Step): Promise<Outcome> {
  const { components, state } = launch;
  const rpcUrl = await step(1, "chain", "chain started", () => startChain(launch));
  const deployment = await step(2, "deploy", "contracts deployed by Ignition", () => deployContracts(rpcUrl, state.dir));
  const { pccsUrl } = await step(3, "platform", "simulated TDX platform started", () => startPlatform(launch));
  const authUrl = await step(4, "auth-eth", "auth-eth started", () => startAuth(launch, { rpcUrl, ...deployment }));
  const kms = await step(5, "kms", "KMS started in onboard mode", () => startKms(launch, { pccs: pccsUrl, auth: authUrl }));
  const { component, onboardUrl } = kms;
  const early = await step(6, "bootstrap-refused", "bootstrap refused before the owner allows it", () =>
    expectRefusal(6, bootstrapRefused, callOnboard(onboardUrl, "Bootstrap", { domain: kmsDomain })),
  );
  const operator = createOperator(components, rpcUrl, deployment.kmsAuth);
  const identity = await step(7, "allow-kms", "OS image, measurement and device of the KMS allowed", () =>
    allowKms(operator, onboardUrl),
  );
  const bootstrapInfo = await step(8, "bootstrap", "bootstrapped, bootstrap-info.json kept", () =>
    bootstrap(onboardUrl, kmsDomain, state.bootstrapInfoFile),
  );
  await step(9, "register", "root keys verified and registered", () =>
    operator("kms", "register", "--bootstrap-info", state.bootstrapInfoFile, "--root", state.rootFile, "--pccs", pccsUrl),
  );
  const caCertFile = join(state.certDir, "root-ca.crt");
  const kmsUrl = await step(10, "finish", "onboarding finished, GetMeta answers over TLS", async () => {
    await finish(onboardUrl);
    const url = urlOf(await component.listening("main"));
    await checkMeta(url, caCertFile, bootstrapInfo);
    return url;
  });
  const published = { rpcUrl, deployment, kmsUrl, bootstrapInfo };
  const { app, refusal } = await step(11, "release", "app created; keys refused, then allowed, released, verified", () =>
    releaseKeys(launch, operator, published),
  );
  const late = await step(12, "revoke", "compose hash removed, keys refused again", async () => {
    await operator("app", "revoke-compose", app.composeHash, "--app", `0x${app.appId}`);
    return expectRefusal(12, composeRefused, getAppKey(await appClient(kmsUrl, state, bootstrapInfo)));
  });
  const refusals = [early, refusal, late];
  return { deployment, rpcUrl, pccsUrl, authUrl, kmsUrl, caCertFile, bootstrapInfo, kms: identity, app, refusals };
}

/** The same values that an owner would compare with his own build before he signs. */
async function allowKms(operator: Operator, onboardUrl: string): Promise<Outcome["kms"]> {
  const info = await attestationInfo(onboardUrl);
  await Promise.all([
    operator("kms", "add-image", info.os_image_hash),
    operator("kms", "add-mr", info.mr_aggregated),
    operator("kms", "add-device", "--from-kms", onboardUrl),
  ]);
  return { mrAggregated: info.mr_aggregated, deviceId: info.device_id, osImageHash: info.os_image_hash };
}

async function releaseKeys(
  launch: Launch,
  operator: Operator,
  kms: { rpcUrl: string; deployment: Deployment; kmsUrl: string; bootstrapInfo: BootstrapInfo },
): Promise<{ app: ReleasedApp; refusal: Refusal }> {
  const { state } = launch;
  const address = await createApp(operator);
  const appId = address.slice(2);
  await writeFile(state.appComposeFile, JSON.stringify(appCompose, undefined, 4));
  const guest = await startAppGuest(launch, appId, randomBytes(20).toString("hex"));
  const client = await appClient(kms.kmsUrl, state, kms.bootstrapInfo);
  const refusal = await expectRefusal(11, composeRefused, getAppKey(client));
  await operator("app", "allow-compose", guest.composeHash, "--app", address);
  const keys = await getAppKey(client);
  checkSignatureChain(keys, appId, await registeredK256Key(kms.rpcUrl, kms.deployment));
  return { app: { appId, ...guest, keys }, refusal };
}
