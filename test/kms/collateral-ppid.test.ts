/** Quotes that name their machine by an encrypted PPID: the chain is asked for once, proven to be the machine's own, and kept. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { collateralFolder } from "../../kms/attestation/tdx/collateral-disk.ts";
import { type CollateralStore, createCollateralStore } from "../../kms/attestation/tdx/collateral-store.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { verifyQuote } from "../../kms/attestation/tdx/verify.ts";
import { createPlatform } from "../../scripts/devnet/platform.ts";
import { platformSeed, simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";
import { body, hang, routes, type Spoil, type SpoiledPccs, startPccs, status } from "./support/spoiled-pccs.ts";

const start = new Date("2026-06-15T00:00:00Z");
const hour = 60 * 60 * 1000;
const platform = simulatedPlatform();
const anchor = loadTrustAnchor(platform.rootDer);
const { pckCertificate: machine } = platform;
const quoteOf = (certificationType: 2 | 3, from = platform) =>
  parseQuote(simulatedTd({ platform: from, quoteKnobs: { certificationType } }).quote(new Uint8Array(64)));
const refused = (code: string) => expect.objectContaining({ code });
const base = mkdtempSync(join(tmpdir(), "collateral-ppid-"));
const servers: SpoiledPccs[] = [];
const stores: CollateralStore[] = [];
let folders = 0;

afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.settled())); // a folder that is written to cannot be removed
  for (const server of servers.splice(0)) await server.stop();
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

async function world() {
  const pccs = await startPccs(start);
  servers.push(pccs);
  folders += 1;
  const dir = join(base, `${folders}`);
  let now = start;
  const open = () => {
    const opened = createCollateralStore({
      pccsUrl: pccs.url,
      anchor,
      now: () => now,
      folder: collateralFolder(dir, anchor),
      timeoutMs: 3_000,
    });
    stores.push(opened);
    return opened;
  };
  const store = open();
  const verify = async (quote: ReturnType<typeof quoteOf>, from = store) =>
    verifyQuote({ quote, collateral: await from.collateralFor(quote), anchor, now });
  const asked = () => pccs.requests.filter((path) => path.startsWith(routes.chain));
  const pass = (ms: number) => {
    now = new Date(now.getTime() + ms);
  };
  return { pccs, store, open, verify, asked, pass };
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
    const plain = parseQuote(simulatedTd({ platform }).quote(new Uint8Array(64)));
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
    const forged = {
      ...quote,
      qe: { ...quote.qe, signature: quote.qe.signature.map((byte, index) => (index === 5 ? byte ^ 1 : byte)) },
    };
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
});
