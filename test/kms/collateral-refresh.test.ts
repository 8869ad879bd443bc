/** What Intel publishes after this KMS first saw a platform must reach it long before the old collateral ends. */
import { expect, test } from "vitest";
import { appraiseBoot } from "../../kms/attestation/appraise.ts";
import { bindEvidence } from "../../kms/attestation/report-data.ts";
import { createStands } from "../../kms/attestation/standing.ts";
import { verifyQuote } from "../../kms/attestation/tdx/verify.ts";
import { createVerifier } from "../../kms/attestation/verifier.ts";
import { keepSelfBoot } from "../../kms/authorization/self-boot.ts";
import { simulatedTd } from "../support/simulated-td.ts";
import { anchor, collateralWorlds, hour, platform, quote } from "./support/collateral-world.ts";

const world = collateralWorlds();

/** A KMS that saw the platform in good state, and then time and a PCCS that knows more. */
async function kms() {
  const { pccs, forgetful, now, pass } = await world();
  const store = forgetful();
  const verify = async () => verifyQuote({ quote, collateral: await store.collateralFor(quote), anchor, now: now() });
  expect((await verify()).status).toBe("UpToDate");
  return { store, clock: now, verify, publish: pccs.publish, goAway: pccs.stop, pass };
}

const revoked = expect.objectContaining({ code: "unproven.certificate-revoked" });

test("a lowered status reaches the KMS within the hour", async () => {
  const { verify, publish, pass } = await kms();
  publish({ tcbStatus: "OutOfDate" });
  pass(hour);
  expect((await verify()).status).toBe("OutOfDate");
});

test("a revocation reaches the KMS within the hour, and is not forgotten when the PCCS goes away", async () => {
  const { verify, publish, pass, goAway } = await kms();
  publish({ revokePck: true });
  pass(hour);
  await expect(verify()).rejects.toEqual(revoked);
  await goAway();
  await expect(verify()).rejects.toEqual(revoked);
});

test("a KMS that knows nothing new serves on while the PCCS is away", async () => {
  const { verify, pass, goAway } = await kms();
  await goAway();
  pass(24 * hour);
  expect((await verify()).status).toBe("UpToDate");
});

test("collateral is current until it is due, and never again once it was replaced", async () => {
  const { store, pass, publish } = await kms();
  const first = await store.collateralFor(quote);
  expect(store.isCurrent(first)).toBe(true);
  expect(store.isCurrent({ ...first })).toBe(false);
  publish({ tcbStatus: "OutOfDate" });
  pass(hour);
  expect(store.isCurrent(first)).toBe(false);
  const second = await store.collateralFor(quote);
  expect([store.isCurrent(first), store.isCurrent(second)]).toEqual([false, true]);
});

test("while the PCCS is away, what is kept is current between two attempts", async () => {
  const { store, pass, goAway } = await kms();
  const kept = await store.collateralFor(quote);
  await goAway();
  pass(hour);
  expect(store.isCurrent(kept)).toBe(false);
  expect(await store.collateralFor(quote)).toBe(kept);
  expect(store.isCurrent(kept)).toBe(true);
});

test("a revocation reaches a caller whose certificate is known, and a KMS that knows itself, within the hour", async () => {
  const { store, clock, pass, publish } = await kms();
  const verifier = createVerifier({ tdxRoot: anchor, collateral: store, now: clock });
  const stands = createStands({ tdxRoot: anchor, isCurrent: store.isCurrent, now: clock });
  const td = simulatedTd({ platform });
  const attest = async () => {
    const evidence = td.evidence(new Uint8Array(64));
    return appraiseBoot(await verifier.verify(bindEvidence(evidence, new Uint8Array(64))), {
      vmConfig: td.vmConfig,
      mode: "runtime",
    });
  };
  const self = keepSelfBoot({ attest, stands: (boot) => stands(boot.evidence), clock: () => clock().getTime() });
  const known = await self.current();
  expect(stands(known.evidence)).toBe(true);
  publish({ revokePck: true });
  pass(hour);
  expect(stands(known.evidence)).toBe(false);
  await expect(self.current()).rejects.toEqual(revoked);
  await expect(self.current()).rejects.toEqual(revoked);
});
