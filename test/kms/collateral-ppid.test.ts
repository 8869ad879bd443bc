/** Quotes that name their machine by an encrypted PPID: the chain is asked for once, proven to be the machine's own, and kept. */
import { describe, expect, test } from "vitest";
import { collateralFolder } from "../../kms/attestation/tdx/collateral-disk.ts";
import { MAX_CHAINS_OF_ONE } from "../../kms/attestation/tdx/collateral-index.ts";
import type { CollateralStore } from "../../kms/attestation/tdx/collateral-store.ts";
import { parseQuote, type Quote } from "../../kms/attestation/tdx/quote.ts";
import { verifyQuote } from "../../kms/attestation/tdx/verify.ts";
import { pem } from "../../scripts/devnet/der.ts";
import { createPki } from "../../scripts/devnet/pki.ts";
import { createPlatform } from "../../scripts/devnet/platform.ts";
import { platformSeed, simulatedTd } from "../support/simulated-td.ts";
import { anchor, collateralWorlds, hour, quote as plain, platform, refused } from "./support/collateral-world.ts";
import { body, hang, routes, type Spoil, status } from "./support/spoiled-pccs.ts";

const { pckCertificate: machine } = platform;
const quoteOf = (certificationType: 2 | 3, from = platform) =>
  parseQuote(simulatedTd({ platform: from, quoteKnobs: { certificationType } }).quote(new Uint8Array(64)));
const newWorld = collateralWorlds();

async function world() {
  const { pccs, dir, open: openWith, now, pass } = await newWorld();
  const open = () => openWith({ timeoutMs: 3_000 });
  const store = open();
  const verify = async (each: Quote, from = store) =>
    verifyQuote({ quote: each, collateral: await from.collateralFor(each), anchor, now: now() });
  const asked = () => pccs.requests.filter((path) => path.startsWith(routes.chain));
  return { pccs, dir, store, open, verify, asked, pass };
}

const chainHeaders = (changes: Record<string, string> = {}) => ({
  "SGX-PCK-Certificate-Issuer-Chain": encodeURIComponent(machine.issuerChain),
  "SGX-TCBm": Buffer.from(machine.tcbm).toString("hex").toUpperCase(),
  ...changes,
});

describe("the chain of a machine", () => {
  test.each([2, 3] as const)("of type %i is asked for with all that the quote says, once for all who wait", async (type) => {
    const { store, verify, asked } = await world();
    const quote = quoteOf(type);
    const all = await Promise.all(Array.from({ length: 20 }, () => store.collateralFor(quote)));
    expect(new Set(all).size).toBe(1);
    expect(all[0]?.pckCertificateChain).toBe(`${machine.leafPem}\n${machine.issuerChain}`);
    expect((await verify(quoteOf(type))).status).toBe("UpToDate");
    const [request = "", ...more] = asked();
    expect(more).toEqual([]);
    const query = new URL(request, "http://pccs").searchParams;
    expect([...query.keys()]).toEqual(["qeid", "encrypted_ppid", "cpusvn", "pcesvn", "pceid"]);
    expect(query.get("qeid")).toBe(Buffer.from(machine.qeId).toString("hex").toUpperCase());
    expect(query.get("encrypted_ppid")).toHaveLength(type === 2 ? 512 : 768);
    expect([query.get("pcesvn"), query.get("pceid")]).toEqual(["0D00", "0000"]);
  });

  test("is kept with the rest while the PCCS is away, also after a restart", async () => {
    const { pccs, store, open, verify, pass } = await world();
    await verify(quoteOf(3));
    await store.settled();
    await pccs.stop();
    pass(2 * hour);
    for (const each of [store, open()]) expect((await verify(quoteOf(3), each)).status).toBe("UpToDate");
  });

  test("is only its own: other machines of the platform get collateral without it", async () => {
    const { store, verify } = await world();
    await verify(quoteOf(2));
    expect((await store.collateralFor(plain)).pckCertificateChain).toBeUndefined();
  });

  test("that was revoked is refused by the list, like any other", async () => {
    const { pccs, verify, pass } = await world();
    await verify(quoteOf(2));
    pccs.publish({ revokePck: true });
    pass(hour);
    await expect(verify(quoteOf(2))).rejects.toEqual(refused("unproven.certificate-revoked"));
  });
});

const other = createPlatform(platformSeed.with(0, 8));

describe("a PCCS that", () => {
  test.each<{ name: string; spoil: Spoil; code: string }>([
    { name: "does not know the machine", spoil: status(404), code: "unavailable.collateral" },
    { name: "hangs", spoil: hang, code: "unavailable.collateral" },
    { name: "answers HTML", spoil: body("<html></html>", chainHeaders()), code: "unproven.certificate-chain" },
    { name: "leaves the issuer chain out", spoil: body(machine.leafPem), code: "unavailable.collateral" },
    {
      name: "has the certificate of another state of the machine",
      spoil: body(machine.leafPem, chainHeaders({ "SGX-TCBm": `${"00".repeat(16)}0D00` })),
      code: "unproven.platform",
    },
    {
      name: "answers with a machine of another root",
      spoil: body(
        other.pckCertificate.leafPem,
        chainHeaders({ "SGX-PCK-Certificate-Issuer-Chain": encodeURIComponent(other.pckCertificate.issuerChain) }),
      ),
      code: "unproven.certificate-chain",
    },
    { name: "answers with the CA alone", spoil: body("", chainHeaders()), code: "unproven.certificate-chain" },
  ])("$name: $code, and nothing is kept", async ({ spoil, code }) => {
    const { pccs, verify } = await world();
    pccs.spoil(routes.chain, spoil);
    await expect(verify(quoteOf(2))).rejects.toEqual(refused(code));
    pccs.spoil(routes.chain, undefined);
    expect((await verify(quoteOf(2))).status).toBe("UpToDate");
  });

  test("does not say for which state the certificate is: the signature does", async () => {
    const { pccs, verify } = await world();
    pccs.spoil(routes.chain, (response) => {
      response.setHeader("SGX-PCK-Certificate-Issuer-Chain", encodeURIComponent(machine.issuerChain));
      response.end(machine.leafPem);
    });
    expect((await verify(quoteOf(2))).status).toBe("UpToDate");
  });
});

describe("strangers", () => {
  test("who change the report get no chain kept under the machine's name", async () => {
    const { store } = await world();
    const quote = quoteOf(2);
    const forged = forgedOf(quote);
    await expect(store.collateralFor(forged)).rejects.toEqual(refused("unproven.qe-report"));
    expect(store.status().some(({ kind }) => kind === "pck-chain")).toBe(false);
  });

  test("cause few requests, however many machines they make up", async () => {
    const { pccs, store, asked } = await world();
    await store.collateralFor(quoteOf(2));
    pccs.spoil(routes.chain, status(404));
    const invented = Array.from({ length: 200 }, (_, index) => {
      const quote = quoteOf(2);
      const userData = quote.userData.with(0, (quote.userData[0] ?? 0) ^ (index + 1));
      return store.collateralFor({ ...quote, userData });
    });
    const outcomes = await Promise.allSettled(invented);
    expect(outcomes.every(({ status }) => status === "rejected")).toBe(true);
    expect(asked().length).toBeLessThanOrEqual(61);
    expect((await store.collateralFor(quoteOf(2))).pckCertificateChain).toContain("BEGIN");
  });

  test("who forge quotes in a machine's name cost one request a minute, and the machine none", async () => {
    const { store, verify, asked, pass } = await world();
    const forged = forgedOf(quoteOf(2));
    for (let round = 0; round < 20; round += 1)
      await expect(store.collateralFor(forged)).rejects.toEqual(refused("unproven.qe-report"));
    expect(asked()).toHaveLength(1);
    expect((await verify(quoteOf(2))).status).toBe("UpToDate");
    expect(asked()).toHaveLength(1);
    pass(61_000);
    for (let round = 0; round < 20; round += 1)
      await expect(store.collateralFor(forged)).rejects.toEqual(refused("unproven.qe-report"));
    expect(asked()).toHaveLength(2);
    expect((await verify(quoteOf(2))).status).toBe("UpToDate");
    expect(asked()).toHaveLength(2);
  });

  test("who name one machine that the service does not know are told so without asking it each time", async () => {
    const { pccs, store, asked, pass } = await world();
    pccs.spoil(routes.chain, status(404));
    for (let round = 0; round < 20; round += 1) {
      await expect(store.collateralFor(quoteOf(2))).rejects.toEqual(refused("unavailable.collateral"));
    }
    expect(asked()).toHaveLength(6);
    pccs.spoil(routes.chain, undefined);
    pass(60_000);
    expect((await store.collateralFor(quoteOf(2))).pckCertificateChain).toContain("BEGIN");
  });

  test("do not keep others out for longer than they go on", async () => {
    const { pccs, store, pass } = await world();
    await store.collateralFor(plain);
    pccs.spoil(routes.chain, status(404));
    for (let index = 0; index < 60; index += 1) {
      await expect(store.collateralFor(renamed(quoteOf(2), index))).rejects.toThrow("status 404");
    }
    pccs.spoil(routes.chain, undefined);
    await expect(store.collateralFor(quoteOf(2))).rejects.toThrow("too many machines are unknown at once");
    pass(1_000);
    expect((await store.collateralFor(quoteOf(2))).pckCertificateChain).toContain("BEGIN");
  });
});

/** The same machine: nothing signs how its PPID is encrypted. */
function renamed(quote: ReturnType<typeof quoteOf>, index: number): ReturnType<typeof quoteOf> {
  const { certification } = quote.qe;
  if (certification.kind !== "encrypted-ppid") throw new Error("not such a quote");
  const encryptedPpid = certification.encryptedPpid.with(0, index).with(1, index >> 8);
  return { ...quote, qe: { ...quote.qe, certification: { ...certification, encryptedPpid } } };
}

function forgedOf(quote: ReturnType<typeof quoteOf>): ReturnType<typeof quoteOf> {
  return { ...quote, qe: { ...quote.qe, signature: quote.qe.signature.map((byte, index) => (index === 5 ? byte ^ 1 : byte)) } };
}

/** A PCCS that has a chain for whatever name it is asked, of a machine with this PPID. */
function ofMachine(ppid: Uint8Array): Spoil {
  const identity = { ppid, cpuSvn: machine.tcbm.subarray(0, 16), pceSvn: 13, pceId: new Uint8Array(2), fmspc: platform.fmspc };
  return body(pem("CERTIFICATE", createPki(platformSeed, identity, {}).pck), chainHeaders());
}

describe("the owner of one machine with many names", () => {
  test("pushes out its own chains only, in memory and on disk", async () => {
    const { pccs, dir, store, open, asked } = await world();
    const chains = (from: CollateralStore) => from.status().filter(({ kind }) => kind === "pck-chain");
    pccs.spoil(routes.chain, ofMachine(new Uint8Array(16).fill(1)));
    await store.collateralFor(quoteOf(2));
    pccs.spoil(routes.chain, ofMachine(new Uint8Array(16).fill(2)));
    for (let index = 0; index < 3 * MAX_CHAINS_OF_ONE; index += 1) await store.collateralFor(renamed(quoteOf(2), index));
    await store.settled();
    await store.refresh();
    expect(chains(store)).toHaveLength(1 + MAX_CHAINS_OF_ONE);
    const { items } = await collateralFolder(dir, anchor).read();
    expect([...items.keys()].filter((name) => name.startsWith("pck-chain"))).toHaveLength(1 + MAX_CHAINS_OF_ONE);
    const next = open();
    await next.refresh();
    expect(chains(next)).toHaveLength(1 + MAX_CHAINS_OF_ONE);
    const before = asked().length;
    for (const each of [store, next]) {
      await each.collateralFor(quoteOf(2));
      await each.collateralFor(renamed(quoteOf(2), 3 * MAX_CHAINS_OF_ONE - 1));
    }
    expect(asked()).toHaveLength(before);
  });

  test("is given no more requests than strangers are, but for those names", async () => {
    const { pccs, store, asked } = await world();
    pccs.spoil(routes.chain, ofMachine(new Uint8Array(16).fill(2)));
    let served = 0;
    for (let index = 0; index < 100; index += 1) {
      const isServed = await store.collateralFor(renamed(quoteOf(2), index)).then(
        () => true,
        () => false,
      );
      if (isServed) served += 1;
    }
    expect([served, asked().length]).toEqual([60 + MAX_CHAINS_OF_ONE, 60 + MAX_CHAINS_OF_ONE]);
  });

  test("leaves a fleet of others its way in", async () => {
    const { pccs, store } = await world();
    for (let index = 0; index < 80; index += 1) {
      pccs.spoil(routes.chain, ofMachine(new Uint8Array(16).fill(index)));
      await store.collateralFor(renamed(quoteOf(2), index));
    }
    expect(store.status().filter(({ kind }) => kind === "pck-chain")).toHaveLength(80);
  });
});
