/** Each client certificate is verified once while its proof stands, and never believed for longer. */
import "reflect-metadata";
import { randomBytes } from "node:crypto";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createStands } from "../../kms/attestation/standing.ts";
import { parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { derFromPem } from "../../kms/attestation/tdx/pem.ts";
import { loadTrustAnchor, type TrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { createVerifier, type Verifier } from "../../kms/attestation/verifier.ts";
import { utf8 } from "../../kms/bytes.ts";
import { makeTempCa } from "../../kms/ca/kms-certificates.ts";
import { encodeKeyPem } from "../../kms/keys/key-pem.ts";
import { generateP256Scalar } from "../../kms/keys/root-keys.ts";
import { type Authenticate, createKnownCallers, type KnownCallersLimits } from "../../kms/known-callers.ts";
import { makeRaTlsIdentity } from "../../kms/ra-tls/identity.ts";
import { collateralJson } from "../../scripts/devnet/platform.ts";
import { simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";
import { testAuthority } from "../support/test-certificates.ts";
import { refusal } from "./support/refusals.ts";

const platform = simulatedPlatform();
const td = simulatedTd({ platform });
const start = new Date();

let certificates: Uint8Array[];
let anchor: TrustAnchor;
let verified: number;
let isCurrent: boolean;
let now: Date;

beforeAll(async () => {
  const scalar = generateP256Scalar((length) => new Uint8Array(randomBytes(length)));
  const tempCaCertPem = await makeTempCa(scalar, start);
  const tempCa = { tempCaCertPem, tempCaKeyPem: Buffer.from(encodeKeyPem(scalar)).toString(), caCertPem: "" };
  const make = async () => {
    const { certificatePem } = await makeRaTlsIdentity({ attest: async (data) => td.attest(data) }, tempCa, start);
    return derFromPem(utf8(certificatePem));
  };
  certificates = [await make(), await make(), await make()];
});

beforeEach(() => {
  anchor = loadTrustAnchor(platform.rootDer);
  verified = 0;
  isCurrent = true;
  now = start;
});

function verifierUnder(tdxRoot: TrustAnchor): Verifier {
  const collateral = parseCollateral(collateralJson(platform.collateral(start)));
  const verifier = createVerifier({ tdxRoot, collateral: { collateralFor: async () => collateral }, now: () => now });
  return {
    verify(evidence) {
      verified += 1;
      return verifier.verify(evidence);
    },
  };
}

function callers(limits: Partial<KnownCallersLimits> = {}, verifier = verifierUnder(anchor)): Authenticate {
  const stands = createStands({ tdxRoot: anchor, isCurrent: () => isCurrent, now: () => now });
  return createKnownCallers({ verifier, stands, limits });
}

const der = (index: number): Uint8Array => certificates[index] ?? new Uint8Array();

describe("a certificate", () => {
  test("is verified once, also when many requests bring it at the same time", async () => {
    const authenticate = callers();
    const all = await Promise.all(Array.from({ length: 8 }, () => authenticate(der(0))));
    expect(new Set([...all, await authenticate(der(0))]).size).toBe(1);
    expect(verified).toBe(1);
    await authenticate(der(1));
    expect(verified).toBe(2);
  });

  test("with one other byte is another certificate", async () => {
    const authenticate = callers();
    await authenticate(der(0));
    const changed = der(0).slice();
    changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1; // in the signature, which is for the TLS stack
    await authenticate(changed);
    expect(verified).toBe(2);
  });

  test.each<[string, () => void]>([
    ["its collateral was replaced", () => (isCurrent = false)],
    ["the first part of the proof has ended", () => (now = new Date(start.getTime() + 400 * 86_400_000))],
    ["the clock was set back", () => (now = new Date(start.getTime() - 1))],
  ])("is verified again when %s", async (_name, change) => {
    const authenticate = callers();
    await authenticate(der(0));
    change();
    await authenticate(der(0)).catch(() => undefined);
    expect(verified).toBe(2);
  });

  test("is believed under no other trust anchor than the one it was verified under", async () => {
    const other = loadTrustAnchor(platform.rootDer);
    const authenticate = callers({}, verifierUnder(other));
    await authenticate(der(0));
    await authenticate(der(0));
    expect(verified).toBe(2);
  });

  test("that did not verify is verified each time", async () => {
    const foreign = loadTrustAnchor((await testAuthority("another root")).der);
    const authenticate = callers({}, verifierUnder(foreign));
    for (let attempt = 0; attempt < 2; attempt++) {
      expect(await refusal(authenticate(der(0)))).toMatchObject({
        code: "unproven.crl", // the lists are of another root
        message: expect.stringMatching(/^invalid quote: /),
      });
    }
    expect(verified).toBe(2);
  });

  test("without evidence is nobody's, and so is none", async () => {
    const plain = await (await testAuthority("CA")).issue("app");
    expect(await callers()(plain.der)).toBeUndefined();
    expect(await callers()(undefined)).toBeUndefined();
    expect(verified).toBe(0);
  });
});

describe("what is kept is bounded", () => {
  test.each<[string, () => Partial<KnownCallersLimits>]>([
    ["in entries", () => ({ entries: 2 })],
    ["in bytes", () => ({ bytes: der(0).length + der(1).length + 100 })],
  ])("%s, and the one that was not seen for longest goes", async (_name, limits) => {
    const authenticate = callers(limits());
    await authenticate(der(0));
    await authenticate(der(1));
    await authenticate(der(0));
    await authenticate(der(2));
    expect(verified).toBe(3);
    await authenticate(der(0));
    expect(verified).toBe(3);
    await authenticate(der(1));
    expect(verified).toBe(4);
  });

  test("so that a certificate over the bound is verified and not kept", async () => {
    const authenticate = callers({ bytes: 100 });
    await authenticate(der(0));
    await authenticate(der(0));
    expect(verified).toBe(2);
  });
});
