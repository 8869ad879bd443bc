/** Threat 18: the PCCS is stopped for a month of a real KMS's life. It releases keys until the first part ends, then no more, then again. */
import pino from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadConfig, type Settings } from "../../kms/config.ts";
import type { Listener } from "../../kms/http/listeners.ts";
import { createRaTlsClient, fetchTempCa, needKmsUsage, type RaTlsClient } from "../../kms/ra-tls/client.ts";
import { makeRaTlsIdentity } from "../../kms/ra-tls/identity.ts";
import { startKms } from "../../kms/run.ts";
import { createServices, type Services } from "../../kms/services.ts";
import { simulatedTd } from "../support/simulated-td.ts";
import { type Surroundings, surround } from "./support/kms-process.ts";
import { hang, routes, type SpoiledPccs, startPccs } from "./support/spoiled-pccs.ts";
import { infoBody } from "./support/webhook.ts";

const day = 24 * 60 * 60;
const start = new Date();
/** Of the lists that the simulator issues: thirty days after it is asked, to the second; its JSON ends one second later. */
const end = 30 * day;

let around: Surroundings;
let pccs: SpoiledPccs;
let settings: Settings;
let services: Services;
let listener: Listener;
let passed = 0;
const now = () => new Date(start.getTime() + passed * 1000);

async function startOn(changes: Partial<Settings> = {}): Promise<void> {
  services = await createServices({ ...settings, ...changes }, "0.0.0", now);
  const serving = (next: Listener) => {
    listener = next;
  };
  await startKms({ services, log: pino({ level: "silent" }), version: "0.0.0", revision: "unknown", serving });
}

/** A guest that nobody has seen before: its evidence is verified from the beginning. */
async function newGuest(): Promise<RaTlsClient> {
  const url = `${listener.url.replace("127.0.0.1", "localhost")}/prpc`;
  const tempCa = await fetchTempCa(url, { checkServer: needKmsUsage });
  const td = simulatedTd();
  const identity = await makeRaTlsIdentity({ attest: async (data: Uint8Array) => td.attest(data) }, tempCa, start);
  return createRaTlsClient({ baseUrl: url, rootCaPem: tempCa.caCertPem, identity, checkServer: needKmsUsage });
}

const release = (guest: RaTlsClient) => guest.call("GetAppKey", { api_version: 1, vm_config: simulatedTd().vmConfig });
const released = expect.objectContaining({ k256_key: expect.anything() });
const refusedAs = (code: string) => expect.objectContaining({ code });

beforeAll(async () => {
  around = await surround();
  pccs = await startPccs(start);
  around.webhook.respond = ({ method }) => (method === "GET" ? { status: 200, body: infoBody } : undefined);
  const env = { DSTACK_AGENT_ADDRESS: `unix:${around.dir}/agent.sock` };
  const loaded = loadConfig({ explicit: around.config(), cwd: around.dir, env }).settings;
  settings = {
    ...loaded,
    pccsUrl: `${pccs.url}/sgx/certification/v4`,
    onboard: { ...loaded.onboard, autoBootstrapDomain: "localhost" },
  };
  await startOn();
});

afterAll(async () => {
  await listener.close();
  await pccs.stop();
  await services.collateral.settled();
  await around.close();
});

describe("a KMS whose PCCS is stopped", () => {
  let known: RaTlsClient;

  test("releases keys to guests it knows and to new ones", async () => {
    known = await newGuest();
    expect(await release(known)).toEqual(released);
    await services.collateral.settled();
    await pccs.stop();
    for (const seconds of [60 * 60, day, 29 * day, end - 1]) {
      passed = seconds;
      expect(await release(known)).toEqual(released);
      expect(await release(await newGuest())).toEqual(released);
    }
  });

  test("does so after a restart too, from its folder, and one that is offline by choice", async () => {
    passed = 10 * day;
    for (const isOffline of [false, true]) {
      await listener.close();
      await startOn({ collateral: { ...settings.collateral, isOffline } });
      expect(await release(await newGuest())).toEqual(released);
    }
    await listener.close();
    await startOn();
    known = await newGuest();
    expect(await release(known)).toEqual(released);
  });

  test("stops at the end of the first part, with the code that says why", async () => {
    passed = end;
    const stranger = await newGuestBeforeTheEnd();
    for (const guest of [known, stranger]) await expect(release(guest)).rejects.toEqual(refusedAs("unproven.collateral-expired"));
  });

  test("is not confused by a PCCS that is there and says nothing", async () => {
    await pccs.start();
    for (const route of Object.values(routes)) pccs.spoil(route, hang);
    await expect(release(known)).rejects.toEqual(refusedAs("unproven.collateral-expired"));
    for (const route of Object.values(routes)) pccs.spoil(route, undefined);
    await pccs.stop();
  });

  test("resumes without a restart when the PCCS is back, and has written the news down", async () => {
    passed = end + 60;
    pccs.publish({}, now());
    await pccs.start();
    expect(await release(known)).toEqual(released);
    expect(await release(await newGuest())).toEqual(released);
    await services.collateral.settled();
    await pccs.stop();
    await listener.close();
    passed = end + 20 * day;
    await startOn();
    expect(await release(await newGuest())).toEqual(released);
  });
});

/** GetTempCaCert asks the policy about the KMS itself, which can prove nothing any more. */
async function newGuestBeforeTheEnd(): Promise<RaTlsClient> {
  const at = passed;
  passed = end - 1;
  const guest = await newGuest();
  passed = at;
  return guest;
}
