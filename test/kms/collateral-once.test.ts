/** Each part of collateral is fetched once and verified once, whatever number and kind of quotes it serves: signatures are counted. */
import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { createCollateralStore } from "../../kms/attestation/tdx/collateral-store.ts";
import { OpenedCollateral } from "../../kms/attestation/tdx/opened-collateral.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { verifyQuote } from "../../kms/attestation/tdx/verify.ts";
import { startEnclave } from "../support/simulated-enclave.ts";
import { simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";
import { body, type SpoiledPccs, startPccs } from "./support/spoiled-pccs.ts";

const now = new Date("2026-06-15T00:00:00Z");
const platform = simulatedPlatform();
const anchor = loadTrustAnchor(platform.rootDer);
const td = simulatedTd({ platform });
const tdQuote = (fill: number) => parseQuote(td.quote(new Uint8Array(64).fill(fill)));
/** On the same machine, so under the same CAs and lists. */
const enclave = startEnclave();
const enclaveQuote = (fill: number) => parseQuote(enclave.quote(new Uint8Array(64).fill(fill)));

const honest = crypto.verify;
let checks = 0;
let pccs: SpoiledPccs;
beforeEach(async () => {
  pccs = await startPccs(now);
  const { tcbInfo, tcbInfoSignature, qeIdentity, qeIdentitySignature, ...rest } = parseCollateral(enclave.collateral(now));
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
  const answer = (member: string, text: string, signature: Uint8Array, header: string, chain: string) =>
    body(`{"${member}":${text},"signature":"${hex(signature)}"}`, { [header]: encodeURIComponent(chain) });
  pccs.spoil(
    "/sgx/certification/v4/tcb",
    answer("tcbInfo", tcbInfo, tcbInfoSignature, "SGX-TCB-Info-Issuer-Chain", rest.tcbInfoIssuerChain),
  );
  pccs.spoil(
    "/sgx/certification/v4/qe/identity",
    answer("enclaveIdentity", qeIdentity, qeIdentitySignature, "SGX-Enclave-Identity-Issuer-Chain", rest.qeIdentityIssuerChain),
  );
  crypto.verify = ((...parameters: Parameters<typeof honest>) => {
    checks += 1;
    return honest(...parameters);
  }) as typeof honest;
  syncBuiltinESMExports();
});
afterEach(async () => {
  crypto.verify = honest;
  syncBuiltinESMExports();
  await pccs.stop();
});

test("a quote costs its own two signatures, and SGX and TDX share the lists", async () => {
  const store = createCollateralStore({ pccsUrl: pccs.url, anchor, now: () => now });
  const memory = new OpenedCollateral();
  /** Signatures that the next quote costs, store and verification together, and the requests that it makes. */
  const costOf = async (quote: ReturnType<typeof parseQuote>) => {
    const asked = pccs.requests.length;
    checks = 0;
    verifyQuote({ quote, collateral: await store.collateralFor(quote), anchor, now }, memory);
    return {
      checks,
      requests: pccs.requests
        .slice(asked)
        .map((url) => url.split("?")[0])
        .sort(),
    };
  };

  const cold = await costOf(tdQuote(1));
  expect(cold.checks).toBeGreaterThan(9);
  expect(cold.requests).toHaveLength(4);
  for (const fill of [2, 3, 4]) expect(await costOf(tdQuote(fill))).toEqual({ checks: 2, requests: [] });

  const ofEnclave = await costOf(enclaveQuote(1));
  expect(ofEnclave.requests).toEqual(["/sgx/certification/v4/qe/identity", "/sgx/certification/v4/tcb"]);
  expect(ofEnclave.checks).toBeLessThan(cold.checks);
  for (const fill of [2, 3]) expect(await costOf(enclaveQuote(fill))).toEqual({ checks: 2, requests: [] });
  expect(await costOf(tdQuote(5))).toEqual({ checks: 2, requests: [] });
});
