/** Steps 6 to 8 and 10 for the TCB info, the same as 11 for the QE identity, and 12, 20, 21: the signed texts. */
import { acceptances, altered, type Draft, onPart, type RefusalRow, refusals, replaced, worldWith } from "./draft.ts";
import type { Parts } from "./format.ts";
import { rawForms } from "./signature-forms.ts";
import { flip, isoSecond, type Members, parties, type World } from "./world.ts";
import { moduleIdentity, olderLevel, platformLevel, svnLevel } from "./worlds.ts";

type Which = "tcbInfo" | "qeIdentity";
const texts = { tcbInfo: "tcbInfoText", qeIdentity: "qeIdentityText" } as const;
const titles = { tcbInfo: "TCB info", qeIdentity: "a QE identity" } as const;
const malformed = "malformed.collateral";

export const members = (which: Which, changes: Members) => (world: World) => void Object.assign(world[which], changes);
export const tcb = (changes: Members) => members("tcbInfo", changes);
export const qe = (changes: Members) => members("qeIdentity", changes);

/** The text as it is signed, after a rewriting that JSON.stringify would not do. */
const rewritten = (which: Which, change: (json: string) => string) => worldWith(() => ({ [texts[which]]: change }));
const swap = (which: Which, from: string, to: string) =>
  rewritten(which, (json) => {
    if (!json.includes(from)) throw new Error(`${which} has no ${from}`);
    return json.replace(from, to);
  });

/** Texts that are no JSON, or not the one object that it has to be; all of them signed. */
const unreadable: readonly (readonly [string, (json: string) => string])[] = [
  ["that is empty", () => ""],
  ["that is HTML", () => "<html><body>502</body></html>"],
  ["that is null", () => "null"],
  ["that is a list", (json) => `[${json}]`],
  ["that is a string", (json) => JSON.stringify(json)],
  ["that is an empty object", () => "{}"],
  ["without its last brace", (json) => json.slice(0, -1)],
  ["with a brace too many", (json) => `${json}}`],
  ["with a second value behind it", (json) => `${json}${json}`],
  ["with a comma before its last brace", (json) => `${json.slice(0, -1)},}`],
  ["with a comment", (json) => json.replace("{", "{/* */")],
  ["with NaN as its version", (json) => json.replace(/"version":\d/, '"version":NaN')],
  ["with a huge number as its version", (json) => json.replace(/"version":\d/, '"version":1e400')],
  ["with a fraction as its version", (json) => json.replace(/"version":(\d)/, '"version":$1.0')],
  ["with a leading zero in its version", (json) => json.replace(/"version":(\d)/, '"version":0$1')],
  ["with a control character in a string", (json) => json.replace('"id":"', '"id":"\n')],
  ["with its id repeated", (json) => json.replace("{", '{"id":"TDX",')],
  ["with its id repeated in another spelling", (json) => json.replace("{", '{"\\u0069d":"TDX",')],
  ["with its issue date repeated", (json) => json.replace("{", '{"issueDate":"2020-01-01T00:00:00Z",')],
  ["with the status of a level repeated", (json) => json.replace('"tcbStatus":', '"tcbStatus":"UpToDate","tcbStatus":')],
  ["with an unknown status", (json) => json.replace('"tcbStatus":"UpToDate"', '"tcbStatus":"Fine"')],
  ["with a status in lower case", (json) => json.replace('"tcbStatus":"UpToDate"', '"tcbStatus":"uptodate"')],
];

const required: Readonly<Record<Which, readonly string[]>> = {
  tcbInfo: ["id", "version", "issueDate", "nextUpdate", "fmspc", "pceId", "tcbType", "tcbEvaluationDataNumber", "tcbLevels"],
  qeIdentity: [
    ...["id", "version", "issueDate", "nextUpdate", "tcbEvaluationDataNumber", "miscselect", "miscselectMask"],
    ...["attributes", "attributesMask", "mrsigner", "isvprodid", "tcbLevels"],
  ],
};

const level = (changes: Members, tcb: Members = {}): Members => ({ tcbLevels: [platformLevel(changes, tcb)] });

/** Values of the wrong type, length or range. */
const wrong: Readonly<Record<Which, Readonly<Record<string, Members>>>> = {
  tcbInfo: {
    "a version in quotes": { version: "3" },
    "version 256": { version: 256 },
    "version -1": { version: -1 },
    "a number as id": { id: 1 },
    "a number as FMSPC": { fmspc: 5 },
    "three digits of PCE id": { pceId: "000" },
    "a PCE id that is no hex": { pceId: "00zz" },
    "a type in quotes": { tcbType: "0" },
    "a negative type": { tcbType: -1 },
    "null as evaluation number": { tcbEvaluationDataNumber: null },
    "an object of levels": { tcbLevels: {} },
    "an empty level": { tcbLevels: [{}] },
    "a PCE SVN of 65536": level({}, { pcesvn: 65_536 }),
    "a PCE SVN in quotes": level({}, { pcesvn: "13" }),
    "an SGX component of 256": level({}, { sgxtcbcomponents: [{ svn: 256 }] }),
    "a TDX component of -1": level({}, { tdxtcbcomponents: [{ svn: -1 }] }),
    "a component without SVN": level({}, { tdxtcbcomponents: [{}] }),
    "no SGX components": level({}, { sgxtcbcomponents: undefined }),
    "a number as date of a level": level({ tcbDate: 2025 }),
    "one text as advisories": level({ advisoryIDs: "INTEL-SA-00001" }),
    "null as status": level({ tcbStatus: null }),
    "a short module signer": { tdxModule: { mrsigner: "00", attributes: "00".repeat(8), attributesMask: "00".repeat(8) } },
    "an object of module identities": { tdxModuleIdentities: {} },
    "a module level of SVN 256": { tdxModuleIdentities: [moduleIdentity({ tcbLevels: [svnLevel(256)] })] },
    "a number as issue date": { issueDate: 0 },
    "null as next update": { nextUpdate: null },
  },
  qeIdentity: {
    "a version in quotes": { version: "2" },
    "version 256": { version: 256 },
    "null as id": { id: null },
    "three bytes of MISCSELECT": { miscselect: "000000" },
    "a mask of MISCSELECT that is no hex": { miscselectMask: "FFFFFFFG" },
    "one byte of attributes": { attributes: "11" },
    "17 bytes of attributes mask": { attributesMask: `${"FF".repeat(17)}` },
    "an empty signer": { mrsigner: "" },
    "a product id of 65536": { isvprodid: 65_536 },
    "a product id in quotes": { isvprodid: "2" },
    "a level of SVN 65536": { tcbLevels: [svnLevel(65_536)] },
    "a level of SVN -1": { tcbLevels: [svnLevel(-1)] },
    "a text as levels": { tcbLevels: "none" },
    "half an evaluation number": { tcbEvaluationDataNumber: 0.5 },
  },
};

const noDates = [
  "",
  "soon",
  "2026-05-31",
  "2026-05-31T12:00:00",
  "2026-02-30T00:00:00Z",
  "2026-13-01T00:00:00Z",
  "2026-05-31T24:00:01Z",
];

function decoding(which: Which): Draft[] {
  const check = which === "tcbInfo" ? 6 : 11;
  const title = titles[which];
  const depth = 40;
  const nested = { later: JSON.parse(`${"[".repeat(depth)}${"]".repeat(depth)}`) };
  const rows: RefusalRow[] = [
    ...unreadable.map(([name, change]): RefusalRow => [`${title} ${name} is refused`, malformed, rewritten(which, change)]),
    ...required[which].map(
      (name): RefusalRow => [`${title} without ${name} is refused`, malformed, members(which, { [name]: undefined })],
    ),
    ...Object.entries(wrong[which]).map(
      ([name, value]): RefusalRow => [`${title} with ${name} is refused`, malformed, members(which, value)],
    ),
    ...["issueDate", "nextUpdate"].flatMap((name) =>
      noDates.map(
        (date): RefusalRow => [`${title} with the ${name} "${date}" is refused`, malformed, members(which, { [name]: date })],
      ),
    ),
    [
      `${title} nested ${depth} deep is refused`,
      malformed,
      members(which, nested),
      "work on a text is bounded; no object of Intel's is nested so deep",
    ],
  ];
  return [
    ...refusals(check, "v4", rows),
    ...acceptances(check, "v4", [
      [`${title} with members that nobody knows is accepted`, members(which, { later: { deep: [1.5, -1e300, null, true] } })],
      [
        `${title} with white space between its members is accepted`,
        rewritten(which, (json) => `\r\n\t ${json.replaceAll(",", " ,\n")} `),
      ],
      [`${title} with an escape in a name is accepted`, swap(which, '"id"', '"\\u0069d"')],
    ]),
  ];
}

/** Both sides of the window, in both spellings of a time. */
function windows(which: Which): Draft[] {
  const [first, last] = which === "tcbInfo" ? [7, 8] : [11, 11];
  const title = titles[which];
  const inZone = (offset: number, zone: string, hours: number) => isoSecond(offset + hours * 3600).replace("Z", zone);
  const issued = (name: string, issueDate: string) => [`${title} issued ${name}`, members(which, { issueDate })] as const;
  const ended = (name: string, nextUpdate: string) => [`${title} that ended ${name}`, members(which, { nextUpdate })] as const;
  const future = [
    issued("in the next second is refused", isoSecond(1)),
    issued("in the next second, told in another zone, is refused", inZone(1, "+05:30", 5.5)),
    issued("in the next minute is refused", isoSecond(60)),
    issued("tomorrow is refused", isoSecond(86_400)),
    issued("a second and a half from now is refused", isoSecond(1).replace("Z", ".500Z")),
    issued("in a hundred years is refused", "2126-06-01T12:00:00Z"),
  ];
  const past = [
    ended("a second ago is refused", isoSecond(-1)),
    ended("a second ago, told in another zone, is refused", inZone(-1, "-08:00", -8)),
    ended("less than a second ago is refused", isoSecond(-1).replace("Z", ".999Z")),
    ended("a minute ago is refused", isoSecond(-60)),
    ended("twelve hours ago is refused", isoSecond(-43_200)),
    ended("before it was issued is refused", "2018-01-01T00:00:00Z"),
  ];
  const code = "unproven.collateral-expired";
  return [
    ...refusals(
      first,
      "v4",
      future.map(([name, edit]): RefusalRow => [name, code, edit]),
    ),
    ...refusals(
      last,
      "v4",
      past.map(([name, edit]): RefusalRow => [name, code, edit]),
    ),
    ...acceptances(first, "v4", [
      issued("in this second is accepted", isoSecond(0)),
      issued("in this second, told in another zone, is accepted", inZone(0, "+14:00", 14)),
      issued("later within this second is accepted", isoSecond(0).replace("Z", ".999999999Z")),
    ]),
    ...acceptances(last, "v4", [
      ended("in this second is accepted", isoSecond(0)),
      ended("in this second, told in another zone, is accepted", inZone(0, "-12:00", -12)),
    ]),
  ];
}

const signer = (which: Which, party: World["tcbSigner"]) =>
  worldWith(() => (which === "tcbInfo" ? { tcbSigner: party } : { qeSigner: party }));

function signatures(which: Which): Draft[] {
  const check = which === "tcbInfo" ? 10 : 11;
  const title = which === "tcbInfo" ? "TCB info" : "the QE identity";
  const [part, own, other] =
    which === "tcbInfo"
      ? (["tcb_info", "tcb_info_signature", "qe_identity_signature"] as const)
      : (["qe_identity", "qe_identity_signature", "tcb_info_signature"] as const);
  const code = "unproven.collateral-signature";
  const stolen = "a key taken out of one machine must not judge the state of all machines";
  return [
    ...rawForms(check, "v4", `the signature of ${title}`, own, code),
    ...altered(check, "v4", [
      [`${title} with a space behind it is refused`, code, onPart(part, (bytes) => new Uint8Array([...bytes, 0x20]))],
      [`${title} with a space before it is refused`, code, onPart(part, (bytes) => new Uint8Array([0x20, ...bytes]))],
      [`${title} that claims another status is refused`, code, replaced(part, "OutOfDate", "UpToDate")],
      [`${title} that claims another date is refused`, code, replaced(part, "2026-05-31", "2026-05-30")],
      [`${title} with another evaluation number is refused`, code, replaced(part, ":17,", ":18,")],
      [
        `${title} in the other case of its hex is refused`,
        code,
        replaced(part, which === "tcbInfo" ? "51A06F" : "FBFF", which === "tcbInfo" ? "51a06f" : "fbff"),
      ],
      [
        `${title} under the signature of the other object is refused`,
        code,
        (parts: Parts) => ({ ...parts, [own]: parts[other] ?? new Uint8Array() }),
      ],
      [`the signature of ${title} with a byte too few is refused`, malformed, onPart(own, (bytes) => bytes.subarray(1))],
      [
        `the signature of ${title} with a byte too many is refused`,
        malformed,
        onPart(own, (bytes) => new Uint8Array([...bytes, 0])),
      ],
      [`no signature of ${title} is refused`, malformed, onPart(own, () => new Uint8Array())],
    ]),
    ...refusals(check, "v4", [
      [`${title} that a stranger signed is refused`, code, signer(which, parties.stranger)],
      [`${title} that the root signed is refused`, code, signer(which, parties.root)],
      [`${title} that the PCK CA signed is refused`, code, signer(which, parties.pckCa)],
      [
        `${title} that a platform signed, with the platform's chain, is refused`,
        code,
        (world) => {
          signer(which, parties.pck)(world);
          Object.assign(world, which === "tcbInfo" ? { tcbChain: world.pckChain } : { qeChain: world.pckChain });
        },
        stolen,
      ],
    ]),
  ];
}

const qeKind = "unproven.qe-identity";
const kinds: readonly Draft[] = [
  ...refusals(12, "v4", [
    ...[0, 1, 4, 255].map(
      (version): RefusalRow => [`a QE identity of version ${version} is refused for TDX`, qeKind, qe({ version })],
    ),
    ...["QE", "QVE", "td_qe", "TD_QE ", ""].map(
      (id): RefusalRow => [`a QE identity named "${id}" is refused for TDX`, qeKind, qe({ id })],
    ),
  ]),
  ...refusals(12, "sgx", [
    ...[1, 3].map((version): RefusalRow => [`a QE identity of version ${version} is refused for SGX`, qeKind, qe({ version })]),
    ...["TD_QE", "QVE", "qe"].map((id): RefusalRow => [`a QE identity named "${id}" is refused for SGX`, qeKind, qe({ id })]),
  ]),
  ...acceptances(12, "v4", [
    ["a QE identity of version 2 is accepted for TDX", qe({ version: 2 })],
    ["a QE identity of version 3 is accepted for TDX", qe({ version: 3 })],
  ]),
  ...acceptances(12, "sgx", [["a QE identity of version 2 is accepted for SGX", qe({ version: 2 })]]),
];

const pce = "the levels count the SVNs of one PCE only, and Intel's verifier compares it; the reference does not";
const platforms: readonly Draft[] = [
  ...Array.from({ length: 6 }, (_, index) => index).flatMap((index) =>
    refusals(20, "v4", [
      [
        `TCB info of an FMSPC with another byte ${index} is refused`,
        "unproven.platform",
        tcb({ fmspc: Buffer.from(flip(Uint8Array.of(0x51, 0xa0, 0x6f, 0, 0, 0), index, index)).toString("hex") }),
      ],
    ]),
  ),
  ...refusals(20, "v4", [
    ...["51A06F0000", "51A06F00000000", "51A06F00000", "51A06F00000G", "", "0x51A06F0000"].map(
      (fmspc): RefusalRow => [`TCB info with "${fmspc}" as FMSPC is refused`, malformed, tcb({ fmspc })],
    ),
    ["TCB info of a PCE with another first byte is refused", "unproven.platform", tcb({ pceId: "0100" }), pce],
    ["TCB info of a PCE with another second byte is refused", "unproven.platform", tcb({ pceId: "0001" }), pce],
  ]),
  ...acceptances(20, "v4", [
    ["TCB info of the platform's own FMSPC is accepted", () => undefined],
    ["TCB info with an FMSPC in lower case is accepted", tcb({ fmspc: "51a06f000000" })],
  ]),
];

const infoKinds: readonly Draft[] = [
  ...refusals(21, "v4", [
    ...["SGX", "tdx", "TDX ", ""].map(
      (id): RefusalRow => [`TCB info named "${id}" is refused for TDX`, "unproven.platform", tcb({ id })],
    ),
    ...[0, 1, 2].map(
      (version): RefusalRow => [`TCB info of version ${version} is refused for TDX`, "unproven.platform", tcb({ version })],
    ),
  ]),
  ...refusals(21, "sgx", [
    ...["TDX", "sgx"].map((id): RefusalRow => [`TCB info named "${id}" is refused for SGX`, "unproven.platform", tcb({ id })]),
    ...[0, 1].map(
      (version): RefusalRow => [`TCB info of version ${version} is refused for SGX`, "unproven.platform", tcb({ version })],
    ),
  ]),
  ...acceptances(21, "v4", [
    ["TCB info of version 3 is accepted for TDX", tcb({ version: 3 })],
    ["TCB info of version 4 is accepted for TDX", tcb({ version: 4 })],
    ["TCB info of version 255 is accepted for TDX", tcb({ version: 255 })],
    ["TCB info of another evaluation number than the QE identity's is accepted", tcb({ tcbEvaluationDataNumber: 20 })],
    ["TCB info of another type is accepted", tcb({ tcbType: 1 })],
  ]),
  ...acceptances(21, "sgx", [
    ["TCB info of version 2 is accepted for SGX", tcb({ version: 2 })],
    ["TCB info of version 3 is accepted for SGX", tcb({ version: 3 })],
  ]),
];

export const jsonCases: readonly Draft[] = [
  ...(["tcbInfo", "qeIdentity"] as const).flatMap((which) => [...decoding(which), ...windows(which), ...signatures(which)]),
  ...kinds,
  ...platforms,
  ...infoKinds,
  ...acceptances(10, "v4", [
    [
      "TCB info whose only level is the older one is judged by it",
      tcb({ tcbLevels: [olderLevel()] }),
      "OutOfDate",
      ["CORPUS-SA-00001"],
    ],
  ]),
];
