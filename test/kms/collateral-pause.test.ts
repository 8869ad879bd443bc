/** A service that asks for a pause: whom it stops, and for how long. */
import { beforeEach, expect, test } from "vitest";
import { createCollateralFetch } from "../../kms/attestation/tdx/collateral-fetch.ts";
import type { PckRequest } from "../../kms/attestation/tdx/pccs.ts";
import { intelSgxRootCa } from "../../kms/attestation/tdx/trust-anchor.ts";
import { refusal } from "./support/refusals.ts";

const request: PckRequest = {
  qeId: new Uint8Array(16),
  encryptedPpid: new Uint8Array(256),
  cpuSvn: new Uint8Array(16),
  pceSvn: new Uint8Array(2),
  pceId: new Uint8Array(2),
};
const tcbInfo = { kind: "tcb-info", tee: "tdx", fmspc: "000000000000" } as const;
let asked: string[];
let now: number;
/** Whose path contains this is told to come later. */
let busy: string;

beforeEach(() => {
  [asked, now] = [[], 1_800_000_000_000];
});

function fetcher() {
  return createCollateralFetch({
    pccsUrl: "https://pccs.example",
    anchor: intelSgxRootCa,
    now: () => new Date(now),
    fetch: async (url) => {
      asked.push(new URL(url).host);
      return new Response("", { status: url.includes(busy) ? 429 : 404, headers: { "retry-after": "30" } });
    },
  });
}

test("what requests for machines' chains are told stops only them, since strangers cause them", async () => {
  busy = "pckcert";
  const service = fetcher();
  expect((await refusal(service.pckChain(request))).message).toContain("status 429");
  expect((await refusal(service.pckChain(request))).message).toContain("asked for a pause");
  expect((await refusal(service.item(tcbInfo))).message).toContain("status 404");
  now += 30_000;
  expect((await refusal(service.pckChain(request))).message).toContain("status 429");
});

test("what other requests are told stops all at this service, and not the root list at its distribution point", async () => {
  busy = "/tcb?";
  const service = fetcher();
  expect((await refusal(service.item(tcbInfo))).message).toContain("status 429");
  for (const stopped of [service.item(tcbInfo), service.pckChain(request), service.item({ kind: "qe-identity", tee: "tdx" })]) {
    expect((await refusal(stopped)).message).toContain("asked for a pause");
  }
  expect((await refusal(service.item({ kind: "root-crl" }))).message).toContain("status 404");
  expect(asked).toEqual(["pccs.example", "certificates.trustedservices.intel.com"]);
  now -= 100_000_000; // a clock that was wrong before makes no longer pause
  expect((await refusal(service.item(tcbInfo))).message).toContain("status 429");
});
