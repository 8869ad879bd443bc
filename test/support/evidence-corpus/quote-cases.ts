/** Steps 15 to 19: the signatures of a quote, what binds them, and the policy of the quoting enclave. */
import * as pki from "../tdx-pki.ts";
import { acceptances, altered, type Draft, onQuote, quoteWith, type RefusalRow, refusals, worldWith } from "./draft.ts";
import { qe } from "./json-cases.ts";
import { rawForms } from "./signature-forms.ts";
import { digest, flip, parties, set, sgxExtensionOf, sgxParts } from "./world.ts";
import { svnLevel, td } from "./worlds.ts";

const BODY = 48;
const AUTH = 636;
const QE_REPORT = AUTH + 128 + 6;
const QE_SIGNATURE = QE_REPORT + 384;
const qeReport = "unproven.qe-report";
const qeIdentity = "unproven.qe-identity";
const quoteSignature = "unproven.quote-signature";

/** First and last byte of each field of an enclave report. */
const enclaveFields: Readonly<Record<string, readonly [number, number]>> = {
  "CPU SVN": [0, 15],
  MISCSELECT: [16, 19],
  "first reserved bytes": [20, 47],
  ATTRIBUTES: [48, 63],
  MRENCLAVE: [64, 95],
  "second reserved bytes": [96, 127],
  MRSIGNER: [128, 159],
  "third reserved bytes": [160, 255],
  ISVPRODID: [256, 257],
  ISVSVN: [258, 259],
  "fourth reserved bytes": [260, 319],
  "report data": [320, 383],
};

const qeReportFields: readonly Draft[] = Object.entries(enclaveFields).flatMap(([field, ends]) =>
  ends.flatMap((offset, index) =>
    altered(15, "v4", [
      [
        `a QE report with another ${index === 0 ? "first" : "last"} byte of its ${field} is refused`,
        qeReport,
        onQuote((quote) => flip(quote, QE_REPORT + offset)),
      ],
    ]),
  ),
);

const otherPck = pki.certificate({
  subject: parties.stranger,
  issuer: parties.pckCa,
  extensions: [pki.keyUsage(0b1100_0000, 6), pki.notCa, sgxExtensionOf(sgxParts())],
});

const qeSigners: readonly Draft[] = [
  ...rawForms(15, "v4", "the signature of the QE report", "quote", qeReport, QE_SIGNATURE),
  ...refusals(15, "v4", [
    ["a QE report that a stranger signed is refused", qeReport, quoteWith(() => ({ qeSigner: parties.stranger }))],
    ["a QE report that the PCK CA signed is refused", qeReport, quoteWith(() => ({ qeSigner: parties.pckCa }))],
    ["a QE report that the attestation key signed is refused", qeReport, quoteWith(() => ({ qeSigner: parties.attestation }))],
    [
      "the PCK chain of another machine in the collateral is refused",
      qeReport,
      worldWith(() => ({ collateralChain: ({ pckCa, root }) => [otherPck, pckCa, root] })),
    ],
    [
      "the PCK chain of another machine in the quote is refused",
      qeReport,
      worldWith(() => ({ pckChain: ({ pckCa, root }) => [otherPck, pckCa, root] })),
    ],
  ]),
];

const authLengths: readonly Draft[] = [
  ...[0, 1, 16, 31, 33, 64, 1024].flatMap((length) =>
    refusals(16, "v4", [
      [
        `QE auth data of ${length} bytes that the report binds is refused`,
        qeReport,
        quoteWith(() => ({ authData: new Uint8Array(length).fill(5) })),
      ],
    ]),
  ),
  ...acceptances(16, "v4", [
    [
      "other QE auth data of 32 bytes that the report binds is accepted",
      quoteWith(() => ({ authData: new Uint8Array(32).fill(5) })),
    ],
  ]),
  ...acceptances(16, "sgx", [
    ["QE auth data of 32 zeros that the report binds is accepted", quoteWith(() => ({ authData: new Uint8Array(32) }))],
  ]),
];

const { attestation } = parties;
const authData = Uint8Array.from({ length: 32 }, (_, index) => index);
const trueHash = digest("sha256", attestation.point, authData);

const bindings: readonly Draft[] = [
  ...refusals(17, "v4", [
    ...(
      [
        ["with another first byte", flip(trueHash, 0)],
        ["with another last byte", flip(trueHash, 31)],
        ["of zeros", new Uint8Array(32)],
        ["of the attestation key alone", digest("sha256", attestation.point)],
        ["of key and auth data in the other order", digest("sha256", authData, attestation.point)],
        ["of the key with its leading 04", digest("sha256", Uint8Array.of(4), attestation.point, authData)],
        ["by SHA-384, cut to 32 bytes", digest("sha384", attestation.point, authData).subarray(0, 32)],
        ["in the upper half of the report data", new Uint8Array([...new Uint8Array(32), ...trueHash])],
      ] as const
    ).map(([name, keyHash]): RefusalRow => [`a key hash ${name} is refused`, qeReport, quoteWith(() => ({ keyHash }))]),
    [
      "another attestation key that signed the quote itself is refused",
      qeReport,
      quoteWith(() => ({ attestationKey: parties.stranger, signer: parties.stranger, keyHash: trueHash })),
    ],
  ]),
  ...altered(17, "v4", [
    ["an attestation key with another first byte is refused", qeReport, onQuote((quote) => flip(quote, AUTH + 64))],
    ["an attestation key with another last byte is refused", qeReport, onQuote((quote) => flip(quote, AUTH + 127))],
    ["QE auth data with another first byte is refused", qeReport, onQuote((quote) => flip(quote, QE_SIGNATURE + 66))],
    ["QE auth data with another last byte is refused", qeReport, onQuote((quote) => flip(quote, QE_SIGNATURE + 97))],
  ]),
  ...acceptances(17, "v4", [
    [
      "a key hash with something behind it is accepted, for the upper half says nothing",
      quoteWith(() => ({ keyHash: new Uint8Array([...trueHash, ...new Uint8Array(32).fill(0xff)]) })),
    ],
  ]),
];

const report = (offset: number, ...values: readonly number[]) =>
  quoteWith(({ qeReport: bytes }) => ({ qeReport: set(bytes, offset, ...values) }));
const turned = (offset: number, bit: number) => quoteWith(({ qeReport: bytes }) => ({ qeReport: flip(bytes, offset, bit) }));
const outOfDate = ["OutOfDate", ["CORPUS-SA-00003"]] as const;

const enclaves: readonly Draft[] = [
  ...refusals(18, "v4", [
    ...[128, 143, 159].map(
      (offset): RefusalRow => [`a QE with another byte ${offset - 128} of its signer is refused`, qeIdentity, turned(offset, 0)],
    ),
    ["a QE whose signer is zeros is refused", qeIdentity, report(128, ...new Array<number>(32).fill(0))],
    ["a QE in debug mode is refused", qeIdentity, turned(48, 1)],
    [
      "a QE in debug mode is refused even where the mask leaves it free",
      qeIdentity,
      (world) => {
        turned(48, 1)(world);
        qe({ attributesMask: "00".repeat(16), attributes: "00".repeat(16) })(world);
      },
    ],
    ...[
      [1, 0],
      [3, 0],
      [2, 2],
    ].map(
      ([low = 0, high = 0]): RefusalRow => [`a QE of product ${low + 256 * high} is refused`, qeIdentity, report(256, low, high)],
    ),
    ...[
      [16, 0],
      [17, 3],
      [19, 7],
    ].map(
      ([offset = 0, bit = 0]): RefusalRow => [
        `a QE with bit ${8 * (offset - 16) + bit} of MISCSELECT set is refused`,
        qeIdentity,
        turned(offset, bit),
      ],
    ),
    ...[
      [48, 0],
      [48, 4],
      [49, 0],
      [55, 7],
    ].map(
      ([offset = 0, bit = 0]): RefusalRow => [
        `a QE with bit ${8 * (offset - 48) + bit} of ATTRIBUTES turned is refused`,
        qeIdentity,
        turned(offset, bit),
      ],
    ),
    ...[0, 1, 3].map((svn): RefusalRow => [`a QE of SVN ${svn}, below every level, is refused`, qeIdentity, report(258, svn, 0)]),
    ["a QE identity without levels is refused", qeIdentity, qe({ tcbLevels: [] })],
    ["a QE identity whose only level is one above the QE is refused", qeIdentity, qe({ tcbLevels: [svnLevel(7)] })],
    ["a QE identity that expects another MISCSELECT is refused", qeIdentity, qe({ miscselect: "00000001" })],
    ["a QE identity that expects another product is refused", qeIdentity, qe({ isvprodid: 3 })],
  ]),
  ...acceptances(18, "v4", [
    ["a QE at the SVN of the lower level is out of date", report(258, 4, 0), ...outOfDate],
    ["a QE between the two levels is out of date", report(258, 5, 0), ...outOfDate],
    ["a QE above every level is accepted", report(258, 0xff, 0xff)],
    [
      "a QE is judged by the first level in the order of the text",
      qe({ tcbLevels: [svnLevel(4, "OutOfDate", ["CORPUS-SA-00003"]), svnLevel(6)] }),
      ...outOfDate,
    ],
    ["a QE with a bit of ATTRIBUTES that the mask leaves free is accepted", turned(48, 2)],
    ["a QE with another XFRM is accepted", report(56, 0xff, 0xff)],
    [
      "a QE with a MISCSELECT that the mask leaves free is accepted",
      (world) => {
        turned(19, 7)(world);
        qe({ miscselectMask: "FFFFFF7F" })(world);
      },
    ],
    [
      "a QE whose identity expects bit 0 of MISCSELECT, in its first byte, is accepted with it",
      (world) => {
        turned(16, 0)(world);
        qe({ miscselect: "01000000" })(world);
      },
    ],
    ["a QE of another MRENCLAVE is accepted", turned(64, 0)],
    ["a QE with another CPU SVN in its report is accepted", turned(0, 0)],
  ]),
];

const headerFields: Readonly<Record<string, readonly number[]>> = {
  "QE SVN": [8, 9],
  "PCE SVN": [10, 11],
  "user data": [28, 47],
};

/** Field names with the offsets at which each begins. */
const tdFields = Object.entries(td).filter(([name]) => name !== "teeTcbSvn2" && name !== "mrServiceTd");

const signedFields: readonly Draft[] = [
  ...Object.entries(headerFields).flatMap(([name, offsets]) =>
    offsets.flatMap((offset) =>
      altered(19, "v4", [
        [
          `a header with another byte ${offset} in its ${name} is refused`,
          quoteSignature,
          onQuote((quote) => flip(quote, offset)),
        ],
      ]),
    ),
  ),
  ...tdFields.flatMap(([name, offset], index) => {
    const end = tdFields[index + 1]?.[1] ?? 584;
    return altered(19, "v4", [
      [
        `a TD report with another first byte of ${name} is refused`,
        quoteSignature,
        onQuote((quote) => flip(quote, BODY + offset)),
      ],
      [
        `a TD report with another last byte of ${name} is refused`,
        quoteSignature,
        onQuote((quote) => flip(quote, BODY + end - 1, 7)),
      ],
    ]);
  }),
  ...[638, 653, 654, 701].flatMap((offset) =>
    altered(19, "v5", [
      [
        `a TD report 1.5 with another byte at ${offset} of the quote is refused`,
        quoteSignature,
        onQuote((quote) => flip(quote, offset)),
      ],
    ]),
  ),
  ...Object.entries(enclaveFields).flatMap(([field, [offset]]) =>
    altered(19, "sgx", [
      [
        `an enclave report with another first byte of its ${field} is refused`,
        quoteSignature,
        onQuote((quote) => flip(quote, BODY + offset)),
      ],
    ]),
  ),
];

const noPoint = { ...parties.attestation, point: new Uint8Array(64).fill(1) };
const signatures: readonly Draft[] = [
  ...rawForms(19, "v4", "the signature of the quote", "quote", quoteSignature, AUTH),
  ...refusals(19, "v4", [
    ["a quote that a stranger signed is refused", quoteSignature, quoteWith(() => ({ signer: parties.stranger }))],
    ["a quote that the PCK signed is refused", quoteSignature, quoteWith(() => ({ signer: parties.pck }))],
    [
      "an attestation key that is no point of the curve is refused",
      "malformed.quote",
      quoteWith(() => ({ attestationKey: noPoint })),
    ],
    [
      "an attestation key of zeros is refused",
      "malformed.quote",
      quoteWith(() => ({ attestationKey: { ...noPoint, point: new Uint8Array(64) } })),
    ],
  ]),
  ...acceptances(19, "v4", [
    [
      "a quote under another attestation key that the QE vouches for is accepted",
      quoteWith(() => ({ attestationKey: parties.stranger, signer: parties.stranger })),
    ],
  ]),
];

export const quoteCases: readonly Draft[] = [
  ...qeReportFields,
  ...qeSigners,
  ...authLengths,
  ...bindings,
  ...enclaves,
  ...signedFields,
  ...signatures,
];
