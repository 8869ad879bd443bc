/** The collateral store against a PCCS that serves real collateral, in every way a PCCS can fail. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { createCollateralStore } from "../../kms/attestation/tdx/collateral-store.ts";
import { DEFAULT_PCCS_URL, pccsBase } from "../../kms/attestation/tdx/pccs.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { intelSgxRootCa, loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { verifyQuote } from "../../kms/attestation/tdx/verify.ts";
import { toHex } from "../../kms/bytes.ts";
import * as pki from "../support/tdx-pki.ts";
import { readCollateral, readFixture, readQuote } from "../support/tdx-samples.ts";

const quote = parseQuote(readQuote("tdx-v4-b0c06f-a.bin"));
const sgxQuote = parseQuote(readQuote("sgx-v3-00a067110000.bin"));
const good = readCollateral("collateral-b0c06f-2025-06.json");
const sgx = readCollateral("collateral-sgx-00a067110000-2025-06.json");
const AT = new Date("2025-07-01T00:00:00Z");

interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly hang?: boolean;
}

type Routes = Readonly<Record<string, Reply>>;

function pckCrlChain(file: string): string {
  return JSON.parse(new TextDecoder().decode(readFixture(file))).pck_crl_issuer_chain;
}

const platformCa = pckCrlChain("collateral-b0c06f-2025-06.json");
const processorCa = pckCrlChain("collateral-sgx-00a067110000-2025-06.json");

function repliesOf(tee: "tdx" | "sgx", collateral: typeof good): Routes {
  const chain = (name: string, pem: string) => ({ [name]: encodeURIComponent(pem) });
  const own = `/${tee}/certification/v4`;
  const signed = (member: string, text: string, signature: Uint8Array) =>
    `{"${member}":${text},"signature":"${toHex(signature)}"}`;
  return {
    "/sgx/certification/v4/pckcrl": {
      headers: chain("SGX-PCK-CRL-Issuer-Chain", tee === "tdx" ? platformCa : processorCa),
      body: collateral.pckCrl,
    },
    "/sgx/certification/v4/rootcacrl": { body: toHex(collateral.rootCaCrl) },
    [`${own}/tcb`]: {
      headers: chain("TCB-Info-Issuer-Chain", collateral.tcbInfoIssuerChain),
      body: signed("tcbInfo", collateral.tcbInfo, collateral.tcbInfoSignature),
    },
    [`${own}/qe/identity`]: {
      headers: chain("SGX-Enclave-Identity-Issuer-Chain", collateral.qeIdentityIssuerChain),
      body: signed("enclaveIdentity", collateral.qeIdentity, collateral.qeIdentitySignature),
    },
  };
}

const PCK_CRL = "/sgx/certification/v4/pckcrl";
const ROOT_CRL = "/sgx/certification/v4/rootcacrl";
const TCB = "/tdx/certification/v4/tcb";
const QE = "/tdx/certification/v4/qe/identity";

const distributionPoint = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der";

const servers: Server[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function pccs(initial: Routes): Promise<{ url: string; requests: string[]; replace: (routes: Routes) => void }> {
  let routes = initial;
  const requests: string[] = [];
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    requests.push(request.url ?? "");
    const reply = routes[(request.url ?? "").split("?")[0] ?? ""] ?? { status: 404 };
    if (reply.hang) return;
    response.writeHead(reply.status ?? 200, reply.headers).end(reply.body);
  };
  const server = createServer(answer);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const replace = (next: Routes) => {
    routes = next;
  };
  return { url: `http://127.0.0.1:${port}`, requests, replace };
}

const tdxRoutes = repliesOf("tdx", good);

async function storeOver(routes: Routes, settings: { now?: () => Date; timeoutMs?: number; maxResponseBytes?: number } = {}) {
  const server = await pccs(routes);
  const store = createCollateralStore({ pccsUrl: server.url, anchor: intelSgxRootCa, now: () => AT, ...settings });
  return { ...server, store };
}

const unavailable = expect.objectContaining({ code: "unavailable.collateral" });

describe("fetching", () => {
  test("asks for exactly what the platform needs and returns the texts as they were signed", async () => {
    const { store, requests } = await storeOver(tdxRoutes);
    const collateral = await store.collateralFor(quote);
    expect(collateral).toEqual(good);
    expect(requests.toSorted()).toEqual(
      [`${PCK_CRL}?ca=platform&encoding=der`, ROOT_CRL, `${QE}?update=standard`, `${TCB}?fmspc=B0C06F000000`].toSorted(),
    );
    expect(verifyQuote({ quote, collateral, anchor: intelSgxRootCa, now: AT }).status).toBe("UpToDate");
  });

  test("asks the SGX routes and the processor CA for an SGX quote", async () => {
    const { store, requests } = await storeOver(repliesOf("sgx", sgx));
    expect(await store.collateralFor(sgxQuote)).toEqual(sgx);
    expect(requests).toContain(`${PCK_CRL}?ca=processor&encoding=der`);
    expect(requests).toContain("/sgx/certification/v4/tcb?fmspc=00A067110000");
  });

  test("takes both names of the TCB issuer chain header", async () => {
    const reply = tdxRoutes[TCB];
    const headers = { "SGX-TCB-Info-Issuer-Chain": reply?.headers?.["TCB-Info-Issuer-Chain"] ?? "" };
    const { store } = await storeOver({ ...tdxRoutes, [TCB]: { ...reply, headers } });
    expect((await store.collateralFor(quote)).tcbInfoIssuerChain).toBe(good.tcbInfoIssuerChain);
  });

  test("falls back to the distribution point that the anchor names when the PCCS has no root list", async () => {
    const asked: string[] = [];
    const { url } = await pccs({ ...tdxRoutes, [ROOT_CRL]: { status: 404 } });
    const reach: typeof fetch = async (target, init) => {
      asked.push(`${target}`);
      return `${target}` === distributionPoint ? new Response(good.rootCaCrl) : fetch(target, init);
    };
    const store = createCollateralStore({ pccsUrl: url, anchor: intelSgxRootCa, now: () => AT, fetch: reach });
    expect((await store.collateralFor(quote)).rootCaCrl).toEqual(good.rootCaCrl);
    expect(asked).toContain(distributionPoint);
  });

  test("starts no request for a quote that the anchor does not vouch for", async () => {
    const server = await pccs(tdxRoutes);
    const stranger = pki.party("Root");
    const anchor = loadTrustAnchor(pki.certificate({ subject: stranger, issuer: stranger, extensions: [pki.ca()] }));
    const store = createCollateralStore({ pccsUrl: server.url, anchor, now: () => AT });
    await expect(store.collateralFor(quote)).rejects.toEqual(expect.objectContaining({ code: "unproven.certificate-chain" }));
    expect(server.requests).toEqual([]);
  });
});

const failures: readonly { name: string; route: string; reply: Reply }[] = [
  { name: "404", route: PCK_CRL, reply: { status: 404 } },
  { name: "HTML as a list", route: PCK_CRL, reply: { body: "<html></html>" } },
  { name: "500", route: TCB, reply: { status: 500 } },
  { name: "HTML", route: TCB, reply: { ...tdxRoutes[TCB], body: "<html></html>" } },
  { name: "no signature", route: TCB, reply: { ...tdxRoutes[TCB], body: `{"tcbInfo":${good.tcbInfo}}` } },
  {
    name: "a short signature",
    route: QE,
    reply: { ...tdxRoutes[QE], body: `{"enclaveIdentity":${good.qeIdentity},"signature":"00"}` },
  },
  {
    name: "the object twice",
    route: QE,
    reply: { ...tdxRoutes[QE], body: `{"enclaveIdentity":{},"enclaveIdentity":{},"signature":""}` },
  },
  { name: "no issuer chain", route: QE, reply: { ...tdxRoutes[QE], headers: {} } },
  {
    name: "a chain that is not percent-encoded",
    route: TCB,
    reply: { ...tdxRoutes[TCB], headers: { "TCB-Info-Issuer-Chain": "%zz" } },
  },
  { name: "a root list with a line end", route: ROOT_CRL, reply: { body: `${toHex(good.rootCaCrl)}\n` } },
  { name: "a root list in DER", route: ROOT_CRL, reply: { body: good.rootCaCrl } },
  { name: "a body over the limit", route: PCK_CRL, reply: { body: new Uint8Array(200_000) } },
  { name: "a body that is not UTF-8", route: QE, reply: { ...tdxRoutes[QE], body: Uint8Array.of(0xff, 0xfe) } },
];

describe("a PCCS that fails", () => {
  test.each(failures)(
    "with $name at $route is an unavailable collateral, and the next call asks again",
    async ({ route, reply }) => {
      const { store, replace } = await storeOver({ ...tdxRoutes, [route]: reply }, { maxResponseBytes: 100_000 });
      await expect(store.collateralFor(quote)).rejects.toEqual(unavailable);
      replace(tdxRoutes);
      expect(await store.collateralFor(quote)).toEqual(good);
    },
  );

  test("to have a platform is asked for it so often a minute, and for others as ever", async () => {
    let now = AT;
    const { store, requests, replace } = await storeOver({ ...tdxRoutes, [TCB]: { status: 404 } }, { now: () => now });
    const asked = () => requests.filter((path) => path.startsWith(TCB)).length;
    for (let call = 0; call < 20; call += 1) await expect(store.collateralFor(quote)).rejects.toEqual(unavailable);
    expect(asked()).toBe(6);
    replace({ ...tdxRoutes, ...repliesOf("sgx", sgx) });
    expect(await store.collateralFor(sgxQuote)).toEqual(sgx);
    now = new Date(AT.getTime() + 60_000);
    expect(await store.collateralFor(quote)).toEqual(good);
    expect(asked()).toBe(7);
  });

  test("by hanging is given up in time", async () => {
    const { store } = await storeOver({ ...tdxRoutes, [TCB]: { hang: true } }, { timeoutMs: 200 });
    const started = performance.now();
    await expect(store.collateralFor(quote)).rejects.toEqual(unavailable);
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  test("by not being there", async () => {
    const store = createCollateralStore({ pccsUrl: "http://127.0.0.1:1", anchor: intelSgxRootCa, now: () => AT });
    await expect(store.collateralFor(quote)).rejects.toEqual(unavailable);
  });
});

describe("keeping", () => {
  test("serves verified collateral for an hour and then asks whether it was replaced", async () => {
    let now = AT;
    const { store, requests, replace } = await storeOver(tdxRoutes, { now: () => now });
    await store.collateralFor(quote);
    now = new Date("2025-07-01T00:59:59Z");
    await store.collateralFor(quote);
    expect(requests).toHaveLength(4);
    now = new Date("2025-07-01T01:00:00Z");
    const signedBefore = { ...tdxRoutes[QE], headers: { ...tdxRoutes[QE]?.headers, "X-Any": "1" } };
    replace({ ...tdxRoutes, [QE]: signedBefore });
    await store.collateralFor(quote);
    expect(requests).toHaveLength(8);
    await store.collateralFor(quote);
    expect(requests).toHaveLength(8);
  });

  test("serves what it kept while the PCCS is away, asks once a minute, and ends with its first part", async () => {
    let now = AT;
    const { store, requests, replace } = await storeOver(tdxRoutes, { now: () => now });
    await store.collateralFor(quote);
    replace({});
    now = new Date("2025-07-19T09:59:35Z");
    expect(await store.collateralFor(quote)).toEqual(good);
    const asked = requests.length;
    expect(asked).toBeGreaterThan(4);
    expect(await store.collateralFor(quote)).toEqual(good);
    expect(requests).toHaveLength(asked);
    now = new Date("2025-07-19T10:00:35Z");
    await expect(store.collateralFor(quote)).rejects.toEqual(expect.objectContaining({ code: "unproven.collateral-expired" }));
    expect(requests.length).toBeGreaterThan(asked);
  });

  test("lets all who wait share one fetch", async () => {
    const { store, requests } = await storeOver(tdxRoutes);
    const all = await Promise.all(Array.from({ length: 20 }, () => store.collateralFor(quote)));
    expect(requests).toHaveLength(4);
    expect(new Set(all).size).toBe(1);
  });

  test.each([
    {
      name: "of another platform",
      code: "unproven.platform",
      routes: { ...tdxRoutes, [TCB]: repliesOf("tdx", readCollateral("collateral-90c06f-2026-02.json"))[TCB] ?? {} },
    },
    {
      name: "with a forged list",
      code: "unproven.crl",
      routes: { ...tdxRoutes, [PCK_CRL]: { ...tdxRoutes[PCK_CRL], body: good.pckCrl.with(-1 + good.pckCrl.length, 0x55) } },
    },
    {
      name: "that has ended",
      code: "unproven.crl",
      routes: repliesOf("tdx", { ...good, pckCrl: readCollateral("collateral-00806f05-2025-02.json").pckCrl }),
    },
  ])("never keeps collateral $name", async ({ routes, code }) => {
    const { store, replace } = await storeOver(routes);
    await expect(store.collateralFor(quote)).rejects.toEqual(expect.objectContaining({ code }));
    replace(tdxRoutes);
    expect(await store.collateralFor(quote)).toEqual(good);
  });
});

describe("the configured URL", () => {
  test.each([
    ["", DEFAULT_PCCS_URL],
    ["  ", DEFAULT_PCCS_URL],
    ["https://pccs.example/", "https://pccs.example"],
    ["https://pccs.example/sgx/certification/v4/", "https://pccs.example"],
    ["https://pccs.example/tdx/certification/v4", "https://pccs.example"],
    ["http://127.0.0.1:8081/base/sgx/certification/v4/tdx/certification/v4//", "http://127.0.0.1:8081/base"],
  ])("%j becomes %s", (configured, base) => {
    expect(pccsBase(configured)).toBe(base);
  });

  test.each([
    "pccs.example",
    "file:///etc/passwd",
    "https://user@pccs.example",
    "https://pccs.example?x=1",
    "https://pccs.example#x",
  ])("%j is refused", (configured) => {
    expect(() => pccsBase(configured)).toThrow(expect.objectContaining({ code: "malformed.config" }));
  });

  test("of Intel's service has the root list at the distribution point only", async () => {
    const asked: string[] = [];
    const reach: typeof fetch = async (target) => {
      asked.push(`${target}`);
      return new Response("", { status: 404 });
    };
    const pccsUrl = "https://api.trustedservices.intel.com/sgx/certification/v4/";
    const store = createCollateralStore({ pccsUrl, anchor: intelSgxRootCa, now: () => AT, fetch: reach });
    await expect(store.collateralFor(quote)).rejects.toEqual(unavailable);
    expect(asked).toContain(distributionPoint);
    expect(asked.filter((url) => url.includes("rootcacrl"))).toEqual([]);
    expect(asked).toContain("https://api.trustedservices.intel.com/tdx/certification/v4/tcb?fmspc=B0C06F000000");
  });
});
