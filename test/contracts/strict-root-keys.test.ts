/** Root keys under check: their form, the quote that must bind them, the verifier that may be asked, evidence kept as code. */
import { concatHex, encodeAbiParameters, type Hex, keccak256, padHex, size, slice, toHex } from "viem";
import { expect, test } from "vitest";
import { readQuote, expected as samples } from "../support/tdx-samples.ts";
import { bootstrapped, flipped, type KmsInfo, SWITCHES, strictKms } from "./strict-domain.ts";
import {
  ask,
  kms,
  networkHelpers,
  owner,
  policyChanged,
  refusal,
  restoreAfterEach,
  type StatedLog,
  send,
  storageAt,
  stranger,
  tag,
  unauthorized,
  ZERO_WORD,
} from "./trust-domain.ts";

const INFO = bootstrapped(7);
const OTHER = bootstrapped(40, toHex("[]"));
const BOUND = slice(INFO.quote, 568, 600);
const MAX_PART = 24_575;

restoreAfterEach();

function evidenceSet(info: KmsInfo): StatedLog {
  return [
    strictKms.address,
    "KmsEvidenceSet",
    {
      k256PubkeyHash: keccak256(info.k256Pubkey),
      caPubkeyHash: keccak256(info.caPubkey),
      quoteHash: keccak256(info.quote),
      eventlogHash: keccak256(info.eventlog),
    },
  ];
}

const infoSet = ({ k256Pubkey }: KmsInfo): StatedLog[] => [
  [strictKms.address, "KmsInfoSet", { k256Pubkey }],
  policyChanged(strictKms.address, owner, "kms-info", keccak256(k256Pubkey), true),
];

test("a bootstrapped KMS registers once, with the hash of every part, and reads back whole", async () => {
  expect(await refusal(stranger, strictKms, "setKmsInfo", [INFO])).toBe(unauthorized(stranger));
  expect(await send(owner, strictKms, "setKmsInfo", [INFO])).toEqual([evidenceSet(INFO), ...infoSet(INFO)]);
  expect(await ask(strictKms, "kmsInfo")).toEqual([INFO.k256Pubkey, INFO.caPubkey, INFO.quote, INFO.eventlog]);
  expect(await send(owner, strictKms, "setKmsInfo", [INFO])).toEqual([]);
  expect(await send(owner, strictKms, "setKmsInfo", [OTHER])).toEqual([evidenceSet(OTHER), ...infoSet(OTHER)]);
  expect(await ask(strictKms, "kmsInfo")).toEqual([OTHER.k256Pubkey, OTHER.caPubkey, OTHER.quote, OTHER.eventlog]);
});

// Which evidence, the setter, the part, and the audit tag.
test.each([
  ["a quote", "setKmsQuote", "quote", "kms-quote", flipped(INFO.quote, 1000)],
  ["an event log", "setKmsEventlog", "eventlog", "kms-eventlog", OTHER.eventlog],
  ["no event log", "setKmsEventlog", "eventlog", "kms-eventlog", "0x"],
] as const)("%s alone is replaced with the hash of every part, once", async (_name, setter, part, policy, value) => {
  await send(owner, strictKms, "setKmsInfo", [INFO]);
  const changed = { ...INFO, [part]: value };
  expect(await refusal(stranger, strictKms, setter, [value])).toBe(unauthorized(stranger));
  expect(await send(owner, strictKms, setter, [value])).toEqual([
    evidenceSet(changed),
    policyChanged(strictKms.address, owner, policy, keccak256(value), true),
  ]);
  expect(await ask(strictKms, "kmsInfo")).toEqual([changed.k256Pubkey, changed.caPubkey, changed.quote, changed.eventlog]);
  expect(await send(owner, strictKms, setter, [value])).toEqual([]);
});

const notBound = (expected: Hex, first: Hex, rest: Hex = ZERO_WORD) => `RootKeysNotBound(${expected},${first},${rest})`;
const lengthOf = (policy: string, length: number, received: number) =>
  `LengthOutOfRange(${tag(policy)},${length},${length},${received})`;
const leading = (bytes: Hex) => padHex(bytes, { dir: "right", size: 32 });
const P256_SPKI = "0x3059301306072a8648ce3d020106082a8648ce3d03010703420004";

test.each([
  ["a quote of other keys", { quote: OTHER.quote }, notBound(BOUND, slice(OTHER.quote, 568, 600))],
  ["a bit turned in the first half of the report data", { quote: flipped(INFO.quote, 568) }, notBound(BOUND, flipped(BOUND, 0))],
  ["a bit turned in the second half", { quote: flipped(INFO.quote, 631) }, notBound(BOUND, BOUND, flipped(ZERO_WORD, 31))],
  ["another version of the quote", { quote: flipped(INFO.quote, 0) }, `VerifierRequired(${slice(flipped(INFO.quote, 0), 0, 8)})`],
  ["another TEE", { quote: flipped(INFO.quote, 4) }, `VerifierRequired(${slice(flipped(INFO.quote, 4), 0, 8)})`],
  [
    "a quote that ends before its report data",
    { quote: slice(INFO.quote, 0, 631) },
    `VerifierRequired(${slice(INFO.quote, 0, 8)})`,
  ],
  ["no quote", { quote: "0x" }, "VerifierRequired(0x0000000000000000)"],
  ["no k256 key", { k256Pubkey: "0x" }, lengthOf("kms-k256-pubkey", 33, 0)],
  ["a k256 key of 32 bytes", { k256Pubkey: slice(INFO.k256Pubkey, 1) }, lengthOf("kms-k256-pubkey", 33, 32)],
  ["an uncompressed k256 key", { k256Pubkey: padHex("0x04", { dir: "right", size: 65 }) }, lengthOf("kms-k256-pubkey", 33, 65)],
  [
    "a k256 key of another form",
    { k256Pubkey: concatHex(["0x04", slice(INFO.k256Pubkey, 1)]) },
    `MalformedRootKey(${tag("kms-k256-pubkey")},${leading("0x02")},${leading("0x04")})`,
  ],
  ["a CA key of 90 bytes", { caPubkey: slice(INFO.caPubkey, 0, 90) }, lengthOf("kms-ca-pubkey", 91, 90)],
  ["a CA key of 92 bytes", { caPubkey: concatHex([INFO.caPubkey, "0x00"]) }, lengthOf("kms-ca-pubkey", 91, 92)],
  [
    "a CA key that is no point of P-256",
    { caPubkey: flipped(INFO.caPubkey, 22) },
    `MalformedRootKey(${tag("kms-ca-pubkey")},${leading(P256_SPKI)},${leading(slice(flipped(INFO.caPubkey, 22), 0, 27))})`,
  ],
] as const)("refuses root keys with %s", async (_name, change, expected) => {
  expect(await refusal(owner, strictKms, "setKmsInfo", [{ ...INFO, ...change }])).toBe(expected);
  expect(await refusal(owner, kms, "setKmsInfo", [{ ...INFO, ...change }])).toBeUndefined();
});

test("refuses every other byte of the report data, and takes a quote that differs elsewhere", async () => {
  for (let offset = 568; offset < 632; offset += 1) {
    expect(await refusal(owner, strictKms, "setKmsInfo", [{ ...INFO, quote: flipped(INFO.quote, offset) }])).toMatch(
      /^RootKeysNotBound/,
    );
  }
  for (const offset of [567, 632]) {
    expect(await refusal(owner, strictKms, "setKmsInfo", [{ ...INFO, quote: flipped(INFO.quote, offset) }])).toBeUndefined();
  }
});

test("a quote alone must bind the keys that are published, and there must be some", async () => {
  expect(await refusal(owner, strictKms, "setKmsQuote", [INFO.quote])).toMatch(/^RootKeysNotBound/);
  await send(owner, strictKms, "setKmsInfo", [INFO]);
  expect(await refusal(owner, strictKms, "setKmsQuote", [OTHER.quote])).toMatch(/^RootKeysNotBound/);
  expect(await refusal(owner, strictKms, "setKmsQuote", ["0x"])).toMatch(/^VerifierRequired/);
});

test.each([
  ["quote", "setKmsQuote", "kms-quote"],
  ["eventlog", "setKmsEventlog", "kms-eventlog"],
] as const)("keeps %s up to 24,575 bytes and refuses one byte more", async (part, setter, policy) => {
  const start = part === "quote" ? INFO.quote : "0xa5";
  const whole = padHex(start, { dir: "right", size: MAX_PART });
  const more = padHex(start, { dir: "right", size: MAX_PART + 1 });
  const refused = `LengthOutOfRange(${tag(policy)},0,${MAX_PART},${MAX_PART + 1})`;
  expect(await refusal(owner, strictKms, "setKmsInfo", [{ ...INFO, [part]: more }])).toBe(refused);
  await send(owner, strictKms, "setKmsInfo", [{ ...INFO, [part]: whole }]);
  expect(await refusal(owner, strictKms, setter, [more])).toBe(refused);
  expect(await ask(strictKms, "kmsInfo")).toEqual(Object.values({ ...INFO, [part]: whole }));
});

const realTdxQuotes = samples.samples.filter(
  (sample) => sample.tee_type === 0x81 && (sample.version === 4 || sample.version === 5),
);
test.each(realTdxQuotes)(
  "the real quote $file speaks for other keys, and its own report data is what is told",
  async (sample) => {
    const quote = toHex(readQuote(sample.file));
    const start = sample.version === 5 ? 574 : 568;
    const [first, rest] = [slice(quote, start, start + 32), slice(quote, start + 32, start + 64)];
    expect(await refusal(owner, strictKms, "setKmsInfo", [{ ...INFO, quote }])).toBe(notBound(BOUND, first, rest));
  },
);

test("a real quote of SGX is no quote of a confidential machine", async () => {
  const quote = toHex(readQuote("sgx-v3-00a067110000.bin"));
  expect(await refusal(owner, strictKms, "setKmsInfo", [{ ...INFO, quote }])).toBe(`VerifierRequired(${slice(quote, 0, 8)})`);
});

/** Run-time code that answers any call with `(success, output)`. */
function answering(success: boolean, output: Hex): Hex {
  const answer = encodeAbiParameters([{ type: "bool" }, { type: "bytes" }], [success, output]);
  // PUSH2 size, DUP1, PUSH1 10, PUSH0, CODECOPY, PUSH0, RETURN
  return concatHex(["0x61", toHex(size(answer), { size: 2 }), "0x80600a5f395ff3", answer]);
}
const NITRO = concatHex(["0x8444a1013822a0", toHex("a document of another platform")]);

test.each([
  ["accepts", true, undefined],
  ["refuses", false, `EvidenceRefused(${stranger})`],
] as const)("a verifier that %s decides on bound quotes too", async (_name, accepts, expected) => {
  await networkHelpers.setCode(stranger, answering(accepts, "0x"));
  await send(owner, strictKms, "setQuoteVerifier", [stranger]);
  expect(await refusal(owner, strictKms, "setKmsInfo", [INFO])).toBe(expected);
  expect(await refusal(owner, strictKms, "setKmsInfo", [{ ...INFO, quote: OTHER.quote }])).toMatch(/^RootKeysNotBound/);
});

test.each([
  ["starts with the report data of these keys", concatHex([BOUND, ZERO_WORD, "0xffff"]), undefined],
  ["is of other keys", concatHex([slice(OTHER.quote, 568, 600), ZERO_WORD]), notBound(BOUND, slice(OTHER.quote, 568, 600))],
  ["is too short", slice(concatHex([BOUND, ZERO_WORD]), 0, 63), lengthOf("quote-verifier-output", 64, 63)],
  ["is empty", "0x", lengthOf("quote-verifier-output", 64, 0)],
] as const)("evidence of another platform needs a verifier, whose output %s", async (_name, output, expected) => {
  const info = { ...INFO, quote: NITRO };
  expect(await refusal(owner, strictKms, "setKmsInfo", [info])).toBe(`VerifierRequired(${slice(NITRO, 0, 8)})`);
  await networkHelpers.setCode(stranger, answering(true, output));
  await send(owner, strictKms, "setQuoteVerifier", [stranger]);
  expect(await refusal(owner, strictKms, "setKmsInfo", [info])).toBe(expected);
});

test("a verifier needs code of its own", async () => {
  expect(await refusal(owner, strictKms, "setQuoteVerifier", [stranger])).toBe(`NotAContract(${stranger})`);
});

test("evidence moves between storage and code with the switch, and is never lost", async () => {
  const slots = () => Promise.all([2, 3].map((slot) => storageAt(strictKms.address, slot)));
  await send(owner, strictKms, "setKmsInfo", [INFO]);
  expect(await slots()).toEqual([ZERO_WORD, ZERO_WORD]);
  await send(owner, strictKms, "setHardening", [127n - SWITCHES.CheckRootKeys]);
  expect(await ask(strictKms, "kmsInfo")).toEqual(Object.values(INFO));
  await send(owner, strictKms, "setKmsInfo", [OTHER]);
  expect((await slots()).every((word) => word !== ZERO_WORD)).toBe(true);
  await send(owner, strictKms, "setHardening", [127n]);
  expect(await ask(strictKms, "kmsInfo")).toEqual(Object.values(OTHER));
  expect(await send(owner, strictKms, "setKmsInfo", [OTHER])).toEqual([]);
  await send(owner, strictKms, "setKmsInfo", [INFO]);
  expect(await slots()).toEqual([ZERO_WORD, ZERO_WORD]);
  expect(await ask(strictKms, "kmsInfo")).toEqual(Object.values(INFO));
});
