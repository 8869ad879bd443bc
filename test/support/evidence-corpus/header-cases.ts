/** Steps 1 to 5: the layout of a quote and what its header says. */
import { type AlterRow, acceptances, altered, type Draft, onQuote, quoteWith, refusals, upToDate } from "./draft.ts";
import { flip, set, type World } from "./world.ts";
import { enclaveReport } from "./worlds.ts";

const AUTH_LENGTH = 632;
const BLOCK_SIZE = AUTH_LENGTH + 4 + 130;
const BLOCK = BLOCK_SIZE + 4;
const QE_AUTH_LENGTH = BLOCK + 448;
const INNER_SIZE = QE_AUTH_LENGTH + 2 + 32 + 2;
const TRAILING = 70;
const limit = "real quotes have up to 8,000 bytes, and work on a quote is bounded";
const unsigned = "nobody signs these bytes; the reference does not look at them";

const u32At = (bytes: Uint8Array, at: number) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);
const setU32 = (at: number, value: (now: number) => number) => (bytes: Uint8Array) => {
  const copy = bytes.slice();
  new DataView(copy.buffer).setUint32(at, value(u32At(bytes, at)), true);
  return copy;
};
const cut = (length: number) => onQuote((bytes) => bytes.subarray(0, length));
const withoutTrailing = (bytes: Uint8Array) => bytes.subarray(0, bytes.length - TRAILING);
const malformed = "malformed.quote";

const layout: readonly AlterRow[] = [
  ["a quote of no bytes is refused", malformed, cut(0)],
  ["a quote of one byte is refused", malformed, cut(1)],
  ["a quote that ends before the last byte of its header is refused", malformed, cut(47)],
  ["a quote that is its header alone is refused", malformed, cut(48)],
  ["a quote that ends before the last byte of its body is refused", malformed, cut(631)],
  ["a quote that is header and body alone is refused", malformed, cut(632)],
  ["a quote that ends within the length of its auth data is refused", malformed, cut(635)],
  ["a quote that ends after the length of its auth data is refused", malformed, cut(636)],
  ["a quote that ends within its signature is refused", malformed, cut(700)],
  ["a quote without the last byte of its auth data is refused", malformed, onQuote((bytes) => bytes.subarray(0, -TRAILING - 1))],
  ["a quote without any byte after its auth data is accepted", undefined, onQuote(withoutTrailing)],
  ["a length of auth data of zero is refused", malformed, onQuote(setU32(AUTH_LENGTH, () => 0))],
  ["a length of auth data that is one too small is refused", malformed, onQuote(setU32(AUTH_LENGTH, (now) => now - 1))],
  [
    "a length of auth data that points one byte outside is refused",
    malformed,
    onQuote((bytes) => setU32(AUTH_LENGTH, (now) => now + 1)(withoutTrailing(bytes))),
  ],
  [
    "a length of auth data that takes one zero of the buffer in is accepted",
    undefined,
    onQuote(setU32(AUTH_LENGTH, (now) => now + 1)),
  ],
  ["a length of auth data of 1 MiB and one byte is refused", malformed, onQuote(setU32(AUTH_LENGTH, () => 1024 * 1024 + 1))],
  ["the largest length of auth data is refused", malformed, onQuote(setU32(AUTH_LENGTH, () => 0xffffffff))],
  ["a size of the QE block of zero is refused", malformed, onQuote(setU32(BLOCK_SIZE, () => 0))],
  ["a size of the QE block that is one too small is refused", malformed, onQuote(setU32(BLOCK_SIZE, (now) => now - 1))],
  ["a size of the QE block that points one byte outside is refused", malformed, onQuote(setU32(BLOCK_SIZE, (now) => now + 1))],
  ["the largest size of the QE block is refused", malformed, onQuote(setU32(BLOCK_SIZE, () => 0xffffffff))],
  ["a length of QE auth data that is one too large is refused", malformed, onQuote((bytes) => set(bytes, QE_AUTH_LENGTH, 33))],
  ["the largest length of QE auth data is refused", malformed, onQuote((bytes) => set(bytes, QE_AUTH_LENGTH, 0xff, 0xff))],
  [
    "a size of the certification data that points one byte outside is refused",
    malformed,
    onQuote(setU32(INNER_SIZE, (now) => now + 1)),
  ],
  [
    "a size of the certification data that leaves a zero byte is accepted",
    undefined,
    onQuote(setU32(INNER_SIZE, (now) => now - 1)),
  ],
  [
    "a size of the certification data that leaves a line end is refused",
    malformed,
    onQuote(setU32(INNER_SIZE, (now) => now - 2)),
    unsigned,
  ],
  ["a size of the certification data of zero is refused", malformed, onQuote(setU32(INNER_SIZE, () => 0)), unsigned],
  ["the largest size of the certification data is refused", malformed, onQuote(setU32(INNER_SIZE, () => 0xffffffff))],
  [
    "a first byte after the auth data that is not zero is refused",
    malformed,
    onQuote((bytes) => flip(bytes, -TRAILING)),
    unsigned,
  ],
  ["a last byte after the auth data that is not zero is refused", malformed, onQuote((bytes) => flip(bytes, -1, 7)), unsigned],
];

const certificationTypes: readonly AlterRow[] = [0, 1, 5, 7].map((type) => [
  `an outer certification type of ${type} is accepted, for nothing signs or needs it`,
  undefined,
  onQuote((bytes) => set(bytes, BLOCK_SIZE - 2, type)),
]);

const padding: readonly Draft[] = [
  ...acceptances(1, "v4", [
    ["auth data that ends in zeros is accepted", quoteWith(() => ({ authPadding: new Uint8Array(9) }))],
    ["a QE block that ends in zeros is accepted", quoteWith(() => ({ blockPadding: new Uint8Array(9) }))],
  ]),
  ...refusals(1, "v4", [
    [
      "auth data with a byte left over that is not zero is refused",
      malformed,
      quoteWith(() => ({ authPadding: Uint8Array.of(0, 1) })),
      unsigned,
    ],
    [
      "a QE block with a byte left over that is not zero is refused",
      malformed,
      quoteWith(() => ({ blockPadding: Uint8Array.of(1) })),
      unsigned,
    ],
  ]),
];

/** Zeros after the quote, as data: nobody wants them in the manifest. */
function zeros(name: string, times: number, code?: string, stricter?: string): Draft {
  const changes: Draft["changes"] = ({ quote }) => [{ part: "quote", at: quote?.length ?? 0, remove: 0, insert: "AA==", times }];
  const expect = code === undefined ? upToDate : { code };
  return { name, check: 1, base: "v4", expect, changes, ...(stricter === undefined ? {} : { stricter }) };
}

const versionFive = (name: string, descriptor: readonly number[], stricter?: string) =>
  refusals(1, "v5", [[name, malformed, quoteWith(() => ({ descriptor: Uint8Array.from(descriptor) })), stricter]]);
const sized = "the size is signed, so no genuine quote has a wrong one; the reference does not compare it";

const descriptors: readonly Draft[] = [
  ...versionFive("a version 5 body of type 0 is refused", [0, 0, 0x88, 2, 0, 0]),
  ...versionFive("a version 5 body of type 4 is refused", [4, 0, 0x88, 2, 0, 0]),
  ...versionFive("a version 5 body of type 0x0301 is refused", [3, 1, 0x88, 2, 0, 0]),
  ...versionFive("a version 5 body whose size is one too small is refused", [3, 0, 0x87, 2, 0, 0], sized),
  ...versionFive("a version 5 body whose size is one too large is refused", [3, 0, 0x89, 2, 0, 0], sized),
  ...versionFive("a version 5 body whose size is zero is refused", [3, 0, 0, 0, 0, 0], sized),
  ...versionFive("a version 5 body whose size has a high byte is refused", [3, 0, 0x88, 2, 0, 1], sized),
];

const header =
  (offset: number, ...values: readonly number[]) =>
  (world: World) => {
    world.quote.header = set(world.quote.header, offset, ...values);
  };

const versions: readonly Draft[] = [
  ...[0, 1, 2, 6, 0x0104, 0x0500, 0xffff].flatMap((version) =>
    refusals(2, "v4", [[`a quote of version ${version} is refused`, malformed, header(0, version & 0xff, version >> 8)]]),
  ),
  ...acceptances(2, "v4", [["a quote of version 4 is accepted", () => undefined]]),
  ...acceptances(2, "v5", [["a quote of version 5 with a TD report 1.5 is accepted", () => undefined]]),
  ...acceptances(2, "v5-td10", [["a quote of version 5 with a TD report 1.0 is accepted", () => undefined]]),
  ...acceptances(2, "sgx", [["an SGX quote of version 3 is accepted", () => undefined]]),
];

const vendors: readonly Draft[] = [
  ...Array.from({ length: 16 }, (_, index) => index).flatMap((index) =>
    refusals(3, "v4", [
      [
        `a QE vendor id with another byte ${index} is refused`,
        "unproven.qe-vendor",
        quoteWith((quote) => ({ header: flip(quote.header, 12 + index, index % 8) })),
      ],
    ]),
  ),
  ...refusals(3, "v4", [
    ["a QE vendor id of zeros is refused", "unproven.qe-vendor", header(12, ...new Array<number>(16).fill(0))],
  ]),
  ...refusals(3, "sgx", [["another QE vendor id in an SGX quote is refused", "unproven.qe-vendor", header(12, 0)]]),
];

const enclaveIn = (world: World) => {
  world.quote.body = enclaveReport();
};

const teeTypes: readonly Draft[] = [
  ...[1, 0x80, 0x82, 0x8100, 0x01000081].flatMap((type) =>
    refusals(4, "v5", [
      [
        `a version 5 quote of TEE type 0x${type.toString(16)} is refused`,
        "unproven.tee-type",
        header(4, type & 0xff, (type >> 8) & 0xff, 0, type >>> 24),
      ],
    ]),
  ),
  ...refusals(4, "v5", [["a version 5 quote of the SGX type with a TD report is refused", "unproven.tee-type", header(4, 0)]]),
  ...refusals(4, "v5", [
    [
      "a version 5 quote of the SGX type with an enclave report is refused",
      "unproven.tee-type",
      (world) => {
        header(4, 0)(world);
        enclaveIn(world);
        world.quote.descriptor = Uint8Array.of(1, 0, 0x80, 1, 0, 0);
      },
    ],
  ]),
  ...refusals(4, "v4", [
    [
      "a version 4 quote of the SGX type with an enclave report is refused",
      "unproven.tee-type",
      (world) => {
        header(4, 0)(world);
        enclaveIn(world);
      },
    ],
    ["a version 4 quote of TEE type 0x82 is refused", malformed, header(4, 0x82)],
    ["a version 4 quote of TEE type 1 is refused", malformed, header(4, 1)],
    ["a version 4 quote with a high bit in its TEE type is refused", malformed, header(4, 0x81, 0, 0, 0x80)],
  ]),
  ...refusals(4, "sgx", [
    ["a version 3 quote of the TDX type is refused", malformed, header(4, 0x81)],
    ["a version 3 quote of TEE type 1 is refused", malformed, header(4, 1)],
  ]),
];

const keyTypes: readonly Draft[] = [0, 1, 3, 4, 0x0102, 0x0200, 0xffff].flatMap((type) =>
  refusals(5, "v4", [[`an attestation key of type ${type} is refused`, "unproven.key-type", header(2, type & 0xff, type >> 8)]]),
);

export const headerCases: readonly Draft[] = [
  ...altered(1, "v4", [...layout, ...certificationTypes]),
  ...padding,
  ...descriptors,
  ...versions,
  ...vendors,
  ...teeTypes,
  ...keyTypes,
  ...acceptances(3, "v4", [["a TDX quote of Intel's QE vendor id is accepted", () => undefined]]),
  ...acceptances(3, "sgx", [["an SGX quote of Intel's QE vendor id is accepted", () => undefined]]),
  ...acceptances(4, "v4", [["a version 4 quote of TEE type 0x81 is accepted", () => undefined]]),
  ...acceptances(4, "v5", [["a version 5 quote of TEE type 0x81 is accepted", () => undefined]]),
  ...acceptances(4, "sgx", [["a version 3 quote of TEE type 0 is accepted", () => undefined]]),
  ...acceptances(5, "sgx", [["an SGX quote with a P-256 attestation key is accepted", () => undefined]]),
  ...refusals(5, "sgx", [["a P-384 attestation key in an SGX quote is refused", "unproven.key-type", header(2, 3)]]),
  zeros("a quote with 1000 zeros after it is accepted", 1000),
  zeros("a quote with 128 KiB of zeros after it is refused", 131_072, malformed, limit),
  zeros("a quote with 16 MiB of zeros after it is refused", 16 * 1024 * 1024, malformed, limit),
];
