/** A PCCS that fails or deceives: each way has its code, nothing of it is kept, and what was kept before stays in force. */
import { describe, expect, test } from "vitest";
import { pckChainOf } from "../../kms/attestation/tdx/verify.ts";
import { createPlatform } from "../../scripts/devnet/platform.ts";
import { signAs, simulatedPlatform } from "../support/simulated-td.ts";
import { collateralWorlds, hour, platform, quote, refused, start } from "./support/collateral-world.ts";
import { body, drip, hang, routes, type Spoil, status } from "./support/spoiled-pccs.ts";

const honest = platform.collateral(start);
const stranger = createPlatform(new Uint8Array(32).fill(9)).collateral(start);
const chainOf = (pem: string) => ({
  "TCB-Info-Issuer-Chain": encodeURIComponent(pem),
  "SGX-Enclave-Identity-Issuer-Chain": encodeURIComponent(pem),
});
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const tcbBody = ({ tcbInfo, tcbInfoSignature }: typeof honest) => `{"tcbInfo":${tcbInfo},"signature":"${hex(tcbInfoSignature)}"}`;
const qeBody = ({ qeIdentity, qeIdentitySignature }: typeof honest) =>
  `{"enclaveIdentity":${qeIdentity},"signature":"${hex(qeIdentitySignature)}"}`;
const own = chainOf(honest.tcbSigningChain);
const flipped = (bytes: Uint8Array) => bytes.with(-1, (bytes.at(-1) ?? 0) ^ 1);

const newWorld = collateralWorlds();

async function world(settings: { timeoutMs?: number; maxResponseBytes?: number; patienceMs?: number; waitMs?: number } = {}) {
  const { pccs, forgetful, pass } = await newWorld();
  return { pccs, store: forgetful({ timeoutMs: 2_000, ...settings }), pass };
}

interface Case {
  readonly name: string;
  readonly route: string;
  readonly spoil: Spoil;
  readonly code: string;
}

const cases: readonly Case[] = [
  { name: "answers 404", route: routes.tcb, spoil: status(404), code: "unavailable.collateral" },
  { name: "answers 429", route: routes.qe, spoil: status(429), code: "unavailable.collateral" },
  { name: "answers 500", route: routes.pck, spoil: status(500), code: "unavailable.collateral" },
  { name: "answers HTML", route: routes.tcb, spoil: body("<html></html>", own), code: "unavailable.collateral" },
  { name: "answers HTML in place of a list", route: routes.root, spoil: body("<html></html>"), code: "unavailable.collateral" },
  { name: "answers nothing", route: routes.qe, spoil: body("", own), code: "unavailable.collateral" },
  { name: "redirects", route: routes.tcb, spoil: status(302, { location: "/elsewhere" }), code: "unavailable.collateral" },
  { name: "hangs", route: routes.tcb, spoil: hang, code: "unavailable.collateral" },
  { name: "drips", route: routes.qe, spoil: drip, code: "unavailable.collateral" },
  { name: "answers too much", route: routes.pck, spoil: body(new Uint8Array(90_000)), code: "unavailable.collateral" },
  {
    name: "repeats a member",
    route: routes.tcb,
    spoil: body(tcbBody({ ...honest, tcbInfo: honest.tcbInfo.replace('"id"', '"id":"TDX","id"') }), own),
    code: "unavailable.collateral",
  },
  {
    name: "serves TCB info of another platform",
    route: routes.tcb,
    spoil: body(tcbBody(simulatedPlatform({ fmspcInTcbInfo: "00906ED50000" }).collateral(start)), own),
    code: "unproven.platform",
  },
  {
    name: "serves a QE identity as TCB info",
    route: routes.tcb,
    spoil: body(qeBody(honest), own),
    code: "unavailable.collateral",
  },
  {
    name: "serves the root's list as the PCK CA's",
    route: routes.pck,
    spoil: body(honest.rootCaCrl, pckChain(honest.pckCrlIssuerChain)),
    code: "unproven.crl",
  },
  { name: "serves the PCK CA's list as the root's", route: routes.root, spoil: body(hex(honest.pckCrl)), code: "unproven.crl" },
  {
    name: "serves TCB info under another root",
    route: routes.tcb,
    spoil: body(tcbBody(stranger), chainOf(stranger.tcbSigningChain)),
    code: "unproven.certificate-chain",
  },
  {
    name: "serves a QE identity under another root",
    route: routes.qe,
    spoil: body(qeBody(stranger), chainOf(stranger.tcbSigningChain)),
    code: "unproven.certificate-chain",
  },
  {
    name: "serves a PCK list under another root",
    route: routes.pck,
    spoil: body(stranger.pckCrl, pckChain(stranger.pckCrlIssuerChain)),
    code: "unproven.certificate-chain",
  },
  { name: "serves a root list of another root", route: routes.root, spoil: body(hex(stranger.rootCaCrl)), code: "unproven.crl" },
  {
    name: "serves TCB info that a platform signed",
    route: routes.tcb,
    spoil: body(
      tcbBody({ ...honest, tcbInfoSignature: signAs("pck", honest.tcbInfo) }),
      chainOf(pckChainOf(quote).replace("\0", "")),
    ),
    code: "unproven.crl", // the root's list says nothing of what a PCK CA issued, so this signer is not judged good
  },
  {
    name: "changes TCB info",
    route: routes.tcb,
    spoil: body(tcbBody({ ...honest, tcbInfo: honest.tcbInfo.replace("OutOfDate", "UpToDate") }), own),
    code: "unproven.collateral-signature",
  },
  {
    name: "adds a space to TCB info",
    route: routes.tcb,
    spoil: body(tcbBody({ ...honest, tcbInfo: honest.tcbInfo.replace(":", ": ") }), own),
    code: "unproven.collateral-signature",
  },
  {
    name: "changes the QE identity",
    route: routes.qe,
    spoil: body(qeBody({ ...honest, qeIdentity: honest.qeIdentity.replace('"isvprodid":2', '"isvprodid":1') }), own),
    code: "unproven.collateral-signature",
  },
  {
    name: "changes the PCK list",
    route: routes.pck,
    spoil: body(flipped(honest.pckCrl), pckChain(honest.pckCrlIssuerChain)),
    code: "unproven.crl",
  },
  { name: "changes the root list", route: routes.root, spoil: body(hex(flipped(honest.rootCaCrl))), code: "unproven.crl" },
];

function pckChain(pem: string): Record<string, string> {
  return { "SGX-PCK-CRL-Issuer-Chain": encodeURIComponent(pem) };
}

describe("a PCCS that", () => {
  test.each(cases)("$name is $code, and is believed again when it mends its ways", async ({ route, spoil, code }) => {
    const { pccs, store, pass } = await world({ timeoutMs: 1_500, maxResponseBytes: 80_000 });
    pccs.spoil(route, spoil);
    await expect(store.collateralFor(quote)).rejects.toEqual(refused(code));
    pccs.spoil(route, undefined);
    pass(11_000); // the pause after 429
    expect((await store.collateralFor(quote)).tcbInfo).toBe(honest.tcbInfo);
  });

  test.each(cases)("$name changes nothing about what is kept", async ({ route, spoil }) => {
    const { pccs, store, pass } = await world({ timeoutMs: 1_500, maxResponseBytes: 80_000 });
    const kept = await store.collateralFor(quote);
    pccs.spoil(route, spoil);
    pass(hour);
    expect(await store.collateralFor(quote)).toBe(kept);
    expect([...store.failures().values()].reduce((sum, count) => sum + count)).toBe(1);
    expect(store.takeProblems()).toHaveLength(1);
  });

  test("asks for a pause is left alone for as long", async () => {
    const { pccs, store, pass } = await world();
    pccs.spoil(routes.tcb, status(429, { "retry-after": "30" }));
    await expect(store.collateralFor(quote)).rejects.toEqual(refused("unavailable.collateral"));
    pccs.spoil(routes.tcb, undefined);
    const asked = pccs.requests.length;
    pass(29_000);
    await expect(store.collateralFor(quote)).rejects.toEqual(refused("unavailable.collateral"));
    expect(pccs.requests).toHaveLength(asked);
    pass(1_000);
    expect((await store.collateralFor(quote)).tcbInfo).toBe(honest.tcbInfo);
  });
});

describe("requests", () => {
  test("are one for all who wait for the same part, and for a second platform only what it has of its own", async () => {
    const { pccs, store } = await world();
    const all = await Promise.all(Array.from({ length: 50 }, () => store.collateralFor(quote)));
    expect(new Set(all).size).toBe(1);
    expect(pccs.requests).toHaveLength(4);
  });

  test("in the background keep all others from waiting, and the same answer keeps the same value", async () => {
    const { pccs, store, pass } = await world();
    const kept = await store.collateralFor(quote);
    for (let halfHour = 0; halfHour < 6; halfHour += 1) {
      pass(hour / 2);
      await store.refresh();
      const asked = pccs.requests.length;
      expect(store.isCurrent(kept)).toBe(true);
      expect(await store.collateralFor(quote)).toBe(kept);
      expect(pccs.requests).toHaveLength(asked);
    }
    expect(pccs.requests).toHaveLength(4 + 6 * 4);
  });

  test("to one that hangs hold a caller up for a moment only while what is kept is good, and nobody after that", async () => {
    const { pccs, store, pass } = await world({ timeoutMs: 4_000, patienceMs: 1_000 });
    const kept = await store.collateralFor(quote);
    for (const route of Object.values(routes)) pccs.spoil(route, hang);
    pass(hour);
    const first = performance.now();
    expect(await store.collateralFor(quote)).toBe(kept);
    expect(performance.now() - first).toBeLessThan(3_900);
    await store.refresh();
    pass(61_000);
    const second = performance.now();
    expect(await store.collateralFor(quote)).toBe(kept);
    expect(performance.now() - second).toBeLessThan(1_000);
  });

  test("are due in the background before an end that is near", async () => {
    const { pccs, store } = await world();
    pccs.publish({ crlNextUpdate: new Date(start.getTime() + 60_000) });
    await store.collateralFor(quote);
    expect(store.nextRefresh()).toBeLessThanOrEqual(start.getTime() / 1000 + 30);
  });
});

test("one that takes its time for one part after the other is waited for as long as for all, and heard out", async () => {
  const { pccs, store } = await world({ timeoutMs: 60_000, waitMs: 100 });
  const held: (() => void)[] = [];
  const slow: Spoil = (response, honestServer) => held.push(() => honestServer.emit("request", response.req, response));
  for (const route of [routes.root, routes.tcb]) pccs.spoil(route, slow);
  await expect(store.collateralFor(quote)).rejects.toThrow("not all of it within 100 ms");
  await expect(store.collateralFor(quote)).rejects.toEqual(refused("unavailable.collateral"));
  await expect.poll(() => held.length).toBe(2);
  for (const answer of held) answer();
  await expect.poll(() => store.status().length).toBe(4);
  await store.collateralFor(quote);
  expect(pccs.requests).toHaveLength(4);
});
