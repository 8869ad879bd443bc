/** Real quotes and real collateral: every run of the samples, and faults that need no key of Intel's. */
import { expected, type SampleRun } from "../tdx-samples.ts";
import { altered, type Draft, onPart, onQuote } from "./draft.ts";
import type { Base, Check, PartName, PartSource, Parts } from "./format.ts";
import { bytesOf } from "./format.ts";
import { flip, set } from "./world.ts";

const folder = "../tdx/";
const reasons: Readonly<Record<string, readonly [code: string, check: Check]>> = {
  "QE Identity issue date is in the future": ["unproven.collateral-expired", 11],
  "TCBInfo expired": ["unproven.collateral-expired", 8],
  "Fmspc mismatch": ["unproven.platform", 20],
  "qe report sig": ["unproven.qe-report", 15],
  "No matching TCB level": ["unproven.tcb-level", 22],
  CrlExpired: ["unproven.crl", "0a"],
  CertNotValidYet: ["unproven.certificate-chain", 14],
  debug: ["unproven.debug", 24],
};

/** The reference gets as far as the TCB levels; we refuse bytes behind the auth data that nobody signed. */
const trailing = "bytes that nobody signs follow the auth data";

function quoteSource(file: string): PartSource {
  if (file.endsWith("hex")) return { file: folder + file, form: "hex" };
  if (file === "mpc-2026-08-quote.json") return { file: folder + file, form: "numbers" };
  return file.endsWith(".json") ? { file: folder + file, member: "quote", form: "hex" } : { file: folder + file };
}

function evidenceSources(file: string): Base["parts"] {
  if (file === "dstack-sim-attestation.bin") return { attestation: { file: folder + file } };
  if (file === "dstack-tdx-lite-attestation.json")
    return { attestation: { file: folder + file, member: "attestation", form: "hex" } };
  if (file === "dstack-quote-report.json") {
    const source = (member: string) => ({ file: folder + file, member });
    return { quote: quoteSource(file), event_log: source("event_log"), vm_config: source("vm_config") };
  }
  return { quote: quoteSource(file) };
}

export function collateralSources(file: string, hasChain = false): Base["parts"] {
  const hex = (member: string) => ({ file, member, form: "hex" }) as const;
  const words = (member: string) => ({ file, member });
  return {
    root_ca_crl: hex("root_ca_crl"),
    pck_crl: hex("pck_crl"),
    tcb_info_issuer_chain: words("tcb_info_issuer_chain"),
    tcb_info: words("tcb_info"),
    tcb_info_signature: hex("tcb_info_signature"),
    qe_identity_issuer_chain: words("qe_identity_issuer_chain"),
    qe_identity: words("qe_identity"),
    qe_identity_signature: hex("qe_identity_signature"),
    ...(hasChain ? { pck_certificate_chain: words("pck_certificate_chain") } : {}),
  };
}

const runs = expected.samples.flatMap((sample) => (sample.runs ?? []).map((run) => ({ run, sample })));
const nameOf = (file: string, { collateral, at }: SampleRun) => `${file} with ${collateral} at ${at}`;

export const realBases: Readonly<Record<string, Base>> = Object.fromEntries(
  runs.map(({ sample: { file }, run }) => [
    nameOf(file, run),
    {
      about: "a real sample, see its README and expected.json",
      parts: {
        ...evidenceSources(file),
        ...collateralSources(folder + run.collateral, run.collateral.includes("with-chain")),
        root: { file: `${folder}IntelSGXRootCA.der` },
        time: { text: run.at },
      },
    },
  ]),
);

function asPublished(file: string, run: SampleRun): Draft {
  const base = nameOf(file, run);
  if (run.result === "accepted") {
    const expect = { status: run.status ?? "", advisoryIds: run.advisory_ids ?? [] };
    return { name: `the real sample ${base} is accepted`, check: 23, base, expect };
  }
  const name = `the real sample ${base} is refused: ${run.reason}`;
  const [code = "", check = 0] = reasons[run.reason ?? ""] ?? [];
  if (file === "tdx-v4-50806f-e4.bin") return { name, check: 1, base, expect: { code: "malformed.quote" }, stricter: trailing };
  return { name, check, base, expect: { code } };
}

/** Every accepted run: its window to the second, and three flips. */
function around(file: string, run: SampleRun): Draft[] {
  const base = nameOf(file, run);
  const facts = expected.collateral[run.collateral];
  if (facts === undefined) throw new Error(`no facts of ${run.collateral}`);
  const at = (text: string, offset: number) =>
    onPart("time", () => bytesOf(new Date(Date.parse(text) + offset * 1000).toISOString()));
  const end = endOf(facts);
  const isSgx = file.startsWith("sgx");
  const part = file.includes("attestation") ? undefined : "quote";
  const [signature, reportData] = isSgx ? [436, 48 + 383] : file.includes("v5") ? [54 + 648 + 4, 54 + 520] : [636, 48 + 583];
  const flips =
    part === undefined
      ? []
      : altered(19, base, [
          [
            `${base} is refused with another last byte of its report data`,
            "unproven.quote-signature",
            onQuote((quote) => flip(quote, reportData, 6)),
          ],
          [
            `${base} is refused with another first byte of its signature`,
            "unproven.quote-signature",
            onQuote((quote) => flip(quote, signature, 3)),
          ],
          [
            `${base} is refused with another attestation key`,
            "unproven.qe-report",
            onQuote((quote) => flip(quote, signature + 64, 3)),
          ],
        ]);
  return [
    {
      name: `${base} is accepted in the last second of its collateral`,
      check: end.check,
      base,
      expect: accepted(run),
      alter: at(facts.usable_to, 0),
    },
    {
      name: `${base} is refused a second after its collateral ends`,
      check: end.check,
      base,
      expect: { code: end.code },
      alter: at(facts.usable_to, 1),
    },
    ...flips,
  ];
}

const accepted = (run: SampleRun) => ({ status: run.status ?? "", advisoryIds: run.advisory_ids ?? [] });

/** Which of the parts ends first, and where that is noticed. */
function endOf(facts: (typeof expected.collateral)[string]): { check: Check; code: string } {
  const lists = Math.min(Date.parse(facts.root_ca_crl.nextUpdate), Date.parse(facts.pck_crl.nextUpdate));
  const [info, identity] = [Date.parse(facts.tcb_info.nextUpdate), Date.parse(facts.qe_identity.nextUpdate)];
  if (info < lists && info <= identity) return { check: 8, code: "unproven.collateral-expired" };
  if (identity < lists) return { check: 11, code: "unproven.collateral-expired" };
  return { check: "0a", code: "unproven.crl" };
}

const main = "tdx-v4-b0c06f-a.bin with collateral-b0c06f-2025-06.json at 2025-07-01T00:00:00Z";
const signature = "unproven.collateral-signature";
const at = (time: string) => onPart("time", () => bytesOf(time));
const take =
  (from: string, ...parts: readonly PartName[]): Draft["changes"] =>
  () =>
    parts.map((part) => ({ part, from }));
const fresh = "sgx-v3-00a067110000.bin with collateral-sgx-00a067110000-2025-06.json at 2025-07-01T00:00:00Z";
const old = "tdx-v4-00806f05-outofdate.bin with collateral-00806f05-2025-02.json at 2025-03-01T00:00:00Z";
const later = "tdx-v4-b0c06f-a.bin with collateral-b0c06f-2026-08.json at 2026-08-20T00:00:00Z";
const tcbParts = ["tcb_info", "tcb_info_signature", "tcb_info_issuer_chain"] as const;
const qeParts = ["qe_identity", "qe_identity_signature", "qe_identity_issuer_chain"] as const;

function taken(check: Check, base: string, name: string, code: string | undefined, changes: Draft["changes"]): Draft {
  const expect = code === undefined ? { status: "UpToDate", advisoryIds: [] } : { code };
  return {
    name: `${name} ${code === undefined ? "accepted" : "refused"}`,
    check,
    base,
    expect,
    ...(changes === undefined ? {} : { changes }),
  };
}

const exchanged: readonly Draft[] = [
  taken(14, main, "the PCK list of Intel's other CA is", "unproven.crl", take(fresh, "pck_crl")),
  taken(14, main, "an older PCK list of the same CA is", "unproven.crl", take(old, "pck_crl")),
  taken("0a", main, "an older root list that has ended is", "unproven.crl", take(old, "root_ca_crl")),
  taken(14, main, "a later PCK list, which has not begun, is", "unproven.crl", take(later, "pck_crl")),
  taken(
    8,
    later,
    "older TCB info that Intel signed for the same platform is",
    "unproven.collateral-expired",
    take(main, ...tcbParts),
  ),
  taken(11, later, "an older QE identity that Intel signed is", "unproven.collateral-expired", take(main, ...qeParts)),
  taken(
    7,
    main,
    "later TCB info that Intel signed for the same platform is",
    "unproven.collateral-expired",
    take(later, ...tcbParts),
  ),
  taken(21, main, "TCB info of SGX that Intel signed is", "unproven.platform", take(fresh, ...tcbParts)),
  taken(12, main, "the QE identity of SGX that Intel signed is", "unproven.qe-identity", take(fresh, ...qeParts)),
  taken(
    12,
    fresh,
    "the QE identity of TDX that Intel signed is, for an SGX quote,",
    "unproven.qe-identity",
    take(main, ...qeParts),
  ),
  taken(10, main, "TCB info under the signature of another platform's is", signature, take(fresh, "tcb_info_signature")),
  taken(11, main, "a QE identity under the signature of the other one is", signature, take(fresh, "qe_identity_signature")),
  taken(9, main, "the TCB chain of another collateral of Intel's is", undefined, take(fresh, "tcb_info_issuer_chain")),
  taken(11, main, "the QE chain of another collateral of Intel's is", undefined, take(fresh, "qe_identity_issuer_chain")),
];

const pem = (parts: Parts, part: PartName) =>
  Buffer.from(parts[part] ?? new Uint8Array())
    .toString("latin1")
    .split(/(?=-----BEGIN)/);
const chainOf = (parts: Parts) => {
  const text = Buffer.from(parts.quote ?? new Uint8Array()).toString("latin1");
  return (/-----BEGIN[\s\S]*-----END CERTIFICATE-----\n?/.exec(text)?.[0] ?? "").split(/(?=-----BEGIN)/);
};
const beside =
  (order: (leaf: string, ca: string, root: string) => readonly string[]) =>
  (parts: Parts): Parts => {
    const [leaf = "", ca = "", root = ""] = chainOf(parts);
    return { ...parts, pck_certificate_chain: bytesOf(order(leaf, ca, root).join("")) };
  };
const reversed =
  (part: PartName) =>
  (parts: Parts): Parts => ({ ...parts, [part]: bytesOf(pem(parts, part).toReversed().join("\n")) });

/** Bytes spread over a part: each has to be noticed somewhere, and the code says where. */
function spread(check: Check, part: PartName, title: string, code: string, offsets: readonly number[]): Draft[] {
  return offsets.flatMap((offset) =>
    altered(check, main, [
      [
        `real ${title} with a bit turned at ${offset} is refused`,
        code,
        onPart(part, (bytes) => flip(bytes, offset, Math.abs(offset) % 7)),
      ],
    ]),
  );
}

const flips: readonly Draft[] = [
  ...spread(
    19,
    "quote",
    "quote",
    "unproven.quote-signature",
    [8, 28, 48, 64, 128, 168, 176, 184, 232, 280, 328, 376, 424, 472, 520, 568, 631, 636, 668, 699],
  ),
  ...spread(17, "quote", "quote", "unproven.qe-report", [700, 732, 763, 1220, 1235, 1251]),
  ...spread(15, "quote", "quote", "unproven.qe-report", [770, 834, 898, 1026, 1030, 1090, 1153, 1154, 1186, 1217]),
  ...spread(3, "quote", "quote", "unproven.qe-vendor", [12, 19, 27]),
  ...spread(5, "quote", "quote", "unproven.key-type", [2, 3]),
  ...spread(10, "tcb_info_signature", "TCB info signature", signature, [0, 31, 32, 63]),
  ...spread(11, "qe_identity_signature", "QE identity signature", signature, [0, 31, 32, 63]),
  ...spread("0a", "root_ca_crl", "root list, in its signature,", "unproven.crl", [-1, -20, -40]),
  ...spread(14, "pck_crl", "PCK list, in its signature,", "unproven.crl", [-1, -20, -40]),
];

const rest: readonly Draft[] = [
  ...altered(9, main, [
    ["a real TCB chain that is reversed is refused", "unproven.certificate-chain", reversed("tcb_info_issuer_chain")],
    [
      "a real TCB chain that is the leaf alone is accepted",
      undefined,
      (parts) => ({ ...parts, tcb_info_issuer_chain: bytesOf(pem(parts, "tcb_info_issuer_chain")[0] ?? "") }),
    ],
    [
      "a real TCB chain that is the root alone is refused",
      "unproven.certificate-chain",
      (parts) => ({ ...parts, tcb_info_issuer_chain: bytesOf(pem(parts, "tcb_info_issuer_chain")[1] ?? "") }),
    ],
  ]),
  ...altered(11, main, [
    ["a real QE identity chain that is reversed is refused", "unproven.certificate-chain", reversed("qe_identity_issuer_chain")],
  ]),
  ...altered(14, main, [
    ["a real PCK chain beside the quote is accepted", undefined, beside((leaf, ca, root) => [leaf, ca, root])],
    ["a real PCK chain without its root is accepted", undefined, beside((leaf, ca) => [leaf, ca])],
    ["a real PCK chain with root and CA exchanged is accepted", undefined, beside((leaf, ca, root) => [leaf, root, ca])],
    ["a real PCK chain without its CA is refused", "unproven.certificate-chain", beside((leaf, _, root) => [leaf, root])],
    ["a real PCK chain that is reversed is refused", "unproven.certificate-chain", beside((leaf, ca, root) => [root, ca, leaf])],
    [
      "a real TCB signer as PCK certificate is refused",
      "malformed.certificate",
      (parts) => ({ ...parts, pck_certificate_chain: parts.tcb_info_issuer_chain ?? new Uint8Array() }),
    ],
  ]),
  ...altered(11, main, [
    [
      "real collateral in the second before its QE identity is refused",
      "unproven.collateral-expired",
      at("2025-06-19T10:32:26Z"),
    ],
    [
      "real collateral half a second before its QE identity is refused",
      "unproven.collateral-expired",
      at("2025-06-19T10:32:26.500Z"),
    ],
    ["real collateral in the first second of its QE identity is accepted", undefined, at("2025-06-19T10:32:27Z")],
  ]),
  ...altered(7, main, [
    ["real collateral in the second before its TCB info is refused", "unproven.collateral-expired", at("2025-06-19T10:16:02Z")],
  ]),
  ...altered(1, main, [
    ["a real quote cut to its auth data is accepted", undefined, onQuote((quote) => quote.subarray(0, 4936))],
    [
      "a real quote with a byte behind it that is not zero is refused",
      "malformed.quote",
      onQuote((quote) => new Uint8Array([...quote, 1])),
      trailing,
    ],
    ["a real quote of version 3 is refused", "malformed.quote", onQuote((quote) => set(quote, 0, 3))],
    ["a real quote of version 5 is refused", "malformed.quote", onQuote((quote) => set(quote, 0, 5))],
  ]),
];

export const realCases: readonly Draft[] = [
  ...runs.map(({ run, sample }) => asPublished(sample.file, run)),
  ...runs.filter(({ run }) => run.result === "accepted").flatMap(({ run, sample }) => around(sample.file, run)),
  ...exchanged,
  ...flips,
  ...rest,
];
