/** Collateral as one JSON text: its members, and what is no such text. */
import { describe, expect, test } from "vitest";
import { MAX_COLLATERAL_CHARACTERS, parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { toHex } from "../../kms/bytes.ts";
import { collateralJson } from "../../scripts/devnet/platform.ts";
import { simulatedPlatform } from "../support/simulated-td.ts";

const json = collateralJson(simulatedPlatform().collateral(new Date("2026-06-15T00:00:00Z")));
const members: Readonly<Record<string, unknown>> = JSON.parse(json);
const withMembers = (change: Readonly<Record<string, unknown>>) => JSON.stringify({ ...members, ...change });
const refused = expect.objectContaining({ code: "malformed.collateral" });

test("every member is read as it stands", () => {
  const read = parseCollateral(json);
  expect(toHex(read.rootCaCrl)).toBe(members["root_ca_crl"]);
  expect(toHex(read.pckCrl)).toBe(members["pck_crl"]);
  expect(toHex(read.tcbInfoSignature)).toBe(members["tcb_info_signature"]);
  expect(toHex(read.qeIdentitySignature)).toBe(members["qe_identity_signature"]);
  const texts = [read.tcbInfoIssuerChain, read.tcbInfo, read.qeIdentityIssuerChain, read.qeIdentity];
  const names = ["tcb_info_issuer_chain", "tcb_info", "qe_identity_issuer_chain", "qe_identity"];
  expect(texts).toEqual(names.map((name) => members[name]));
});

test.each<[string, unknown, string | undefined]>([
  ["a chain of a machine", "chain", "chain"],
  ["an empty chain", "", undefined],
  ["no chain, said so", null, undefined],
])("%s of PCK certificates", (_what, value, chain) => {
  expect(parseCollateral(withMembers({ pck_certificate_chain: value })).pckCertificateChain).toBe(chain);
});

describe("refused is", () => {
  const bytes = ["root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature"];
  test.each(bytes.flatMap((name) => ["zz", "abc", 1, null, undefined].map((value) => [name, value] as const)))(
    "%s that is %s",
    (name, value) => expect(() => parseCollateral(withMembers({ [name]: value }))).toThrow(refused),
  );

  test.each(bytes.slice(2).flatMap((name) => [0, 63, 65].map((length) => [name, length] as const)))(
    "%s of %i bytes",
    (name, length) => expect(() => parseCollateral(withMembers({ [name]: "00".repeat(length) }))).toThrow(refused),
  );

  const texts = ["tcb_info_issuer_chain", "tcb_info", "qe_identity_issuer_chain", "qe_identity"];
  test.each(texts.flatMap((name) => [1, null, undefined, {}].map((value) => [name, value] as const)))(
    "%s that is %j",
    (name, value) => expect(() => parseCollateral(withMembers({ [name]: value }))).toThrow(refused),
  );

  test.each<[string, string]>([
    ["nothing", ""],
    ["null", "null"],
    ["a list", "[]"],
    ["a number", "1"],
    ["an empty object", "{}"],
    ["a text with more behind it", `${json}x`],
    ["half a text", json.slice(0, json.length / 2)],
  ])("%s", (_what, text) => {
    expect(() => parseCollateral(text)).toThrow(refused);
  });
});

test("a text is read up to the limit, and refused beyond it before it is parsed", () => {
  const full = json.padEnd(MAX_COLLATERAL_CHARACTERS);
  expect(toHex(parseCollateral(full).pckCrl)).toBe(members["pck_crl"]);
  expect(() => parseCollateral(`${full} `)).toThrow(refused);
});
