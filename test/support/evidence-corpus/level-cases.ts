/** Steps 22 to 24: TCB levels, the TDX module, revoked levels, and the attributes of a TD. */

import * as der from "../../../scripts/devnet/der.ts";
import { type AcceptedRow, acceptances, type Draft, quoteWith, type RefusalRow, refusals } from "./draft.ts";
import { qe, tcb } from "./json-cases.ts";
import { cpuSvn, flip, type Members, pceSvn, set, sgxEntry, sgxParts, teeTcbSvn, type World } from "./world.ts";
import { components, moduleIdentity, olderLevel, platformLevel, svnLevel, td } from "./worlds.ts";

const noLevel = "unproven.tcb-level";
const module_ = "unproven.tdx-module";
export const body = (offset: number, ...values: readonly number[]) =>
  quoteWith(({ body: bytes }) => ({ body: set(bytes, offset, ...values) }));
const raised = (svns: Uint8Array, index: number) => components(svns.with(index, (svns[index] ?? 0) + 1));
const only = (...tcbLevels: readonly object[]) => tcb({ tcbLevels });
export const both =
  (...edits: readonly ((world: World) => void)[]) =>
  (world: World): void => {
    for (const edit of edits) edit(world);
  };
const older = ["OutOfDate", ["CORPUS-SA-00001"]] as const;
const sixteen = Array.from({ length: 16 }, (_, index) => index);

const levels: readonly Draft[] = [
  ...refusals(22, "v4", [
    ...sixteen.map(
      (index): RefusalRow => [
        `a platform one below the only level in SGX component ${index} is refused`,
        noLevel,
        only(platformLevel({}, { sgxtcbcomponents: raised(cpuSvn, index) })),
      ],
    ),
    ...sixteen.map(
      (index): RefusalRow => [
        `a platform one below the only level in TDX component ${index} is refused`,
        noLevel,
        only(platformLevel({}, { tdxtcbcomponents: raised(teeTcbSvn, index) })),
      ],
    ),
    ["a platform one below the only level in its PCE is refused", noLevel, only(platformLevel({}, { pcesvn: pceSvn + 1 }))],
    ["TCB info without levels is refused", noLevel, only()],
    [
      "a level with 15 SGX components is refused",
      noLevel,
      only(platformLevel({}, { sgxtcbcomponents: components(cpuSvn.subarray(1)) })),
    ],
    [
      "a level with 15 TDX components is refused",
      noLevel,
      only(platformLevel({}, { tdxtcbcomponents: components(teeTcbSvn.subarray(1)) })),
    ],
    ["a level without TDX components is refused", noLevel, only(platformLevel({}, { tdxtcbcomponents: undefined }))],
    ["a platform that is below both levels is refused", noLevel, body(td.teeTcbSvn, 5)],
    [
      "a version 5 quote of the TDX type with an enclave report is refused",
      noLevel,
      (world) => {
        const { qeReport } = world.quote;
        Object.assign(world.quote, {
          header: set(world.quote.header, 0, 5),
          descriptor: Uint8Array.of(1, 0, 0x80, 1, 0, 0),
          body: qeReport,
        });
      },
    ],
  ]),
  ...acceptances(22, "v4", [
    ["levels in the other order are sorted before one is matched", only(olderLevel(), platformLevel())],
    [
      "a platform one below the top level in its PCE is matched by the older one",
      only(platformLevel({}, { pcesvn: pceSvn + 1 }), olderLevel()),
      ...older,
    ],
    ...[0, 7, 15].map(
      (index): AcceptedRow => [
        `a platform one below the top level in SGX component ${index} is matched by the older one`,
        only(platformLevel({}, { sgxtcbcomponents: raised(cpuSvn, index) }), olderLevel()),
        ...older,
      ],
    ),
    ...[0, 1, 15].map(
      (index): AcceptedRow => [
        `a platform one below the top level in TDX component ${index} is matched by the older one`,
        only(platformLevel({}, { tdxtcbcomponents: raised(teeTcbSvn, index) }), olderLevel()),
        ...older,
      ],
    ),
    ["a level one below the platform in every component is matched", only(olderLevel()), ...older],
    [
      "of two levels the higher PCE SVN comes first",
      only(platformLevel({ tcbStatus: "OutOfDate" }, { pcesvn: 5 }), platformLevel({}, { pcesvn: 6 })),
    ],
    [
      "of two levels the higher last SGX component comes first",
      only(platformLevel({ tcbStatus: "OutOfDate" }, { sgxtcbcomponents: components(cpuSvn.with(7, 4)) }), platformLevel()),
    ],
    [
      "of two levels the higher TDX component comes first",
      only(platformLevel({ tcbStatus: "OutOfDate" }, { tdxtcbcomponents: components(teeTcbSvn.with(2, 2)) }), platformLevel()),
    ],
    [
      "of two equal levels the first of the text is matched",
      only(platformLevel({ tcbStatus: "SWHardeningNeeded" }), platformLevel()),
      "SWHardeningNeeded",
    ],
  ]),
  ...refusals(22, "sgx", [
    [
      "an SGX platform one below the only level is refused",
      noLevel,
      only({ ...olderLevel(), tcb: { sgxtcbcomponents: raised(cpuSvn, 0), pcesvn: 1 } }),
    ],
    [
      "an SGX platform with too low a PCE is refused",
      noLevel,
      only({ ...olderLevel(), tcb: { sgxtcbcomponents: components(cpuSvn), pcesvn: pceSvn + 1 } }),
    ],
  ]),
  ...acceptances(22, "sgx", [
    [
      "an SGX platform is judged without TDX components",
      only({ ...olderLevel(), tcb: { sgxtcbcomponents: components(cpuSvn), pcesvn: pceSvn } }),
      ...older,
    ],
  ]),
  ...acceptances(22, "v4", [
    [
      "a platform of the PCE SVN of the older level is matched by it",
      (world) => void Object.assign(world.sgx, { pceSvn: [sgxEntry("2.17", der.integer(pceSvn - 1))] }),
      ...older,
    ],
    [
      "a platform of a lower CPU SVN is matched by the older level",
      (world) => void Object.assign(world.sgx, { ...sgxParts(), cpuSvn: [sgxEntry("2.18", der.octetString(cpuSvn.with(0, 2)))] }),
      ...older,
    ],
  ]),
];

export const identities = (...tdxModuleIdentities: readonly Members[]) => tcb({ tdxModuleIdentities });
const expected = (changes: Members) => {
  const { id: _, tcbLevels: __, ...module } = moduleIdentity(changes);
  return both(tcb({ tdxModule: module, tdxModuleIdentities: [] }));
};
const bitOf = (offset: number, bit: number) => quoteWith(({ body: bytes }) => ({ body: flip(bytes, offset, bit) }));
const outOfDateModule = ["OutOfDate", ["CORPUS-SA-00002"]] as const;
const lowLevels = tcb({ tcbLevels: [platformLevel({}, { tdxtcbcomponents: components(new Uint8Array(16)) })] });

const modules: readonly Draft[] = [
  ...refusals(22, "v4", [
    ["TCB info without TDX module is refused", module_, tcb({ tdxModule: undefined })],
    ["a module with another first byte of its signer is refused", module_, bitOf(td.mrSignerSeam, 0)],
    ["a module with another last byte of its signer is refused", module_, bitOf(td.mrSignerSeam + 47, 0)],
    ...[0, 3, 7].map(
      (index): RefusalRow => [
        `a module with a bit in byte ${index} of its attributes is refused`,
        module_,
        bitOf(td.seamAttributes + index, index),
      ],
    ),
    [
      "a module with an attribute outside the mask is refused",
      module_,
      both(bitOf(td.seamAttributes, 0), identities(moduleIdentity({ attributesMask: `fe${"ff".repeat(7)}` }))),
    ],
    [
      "a module without an attribute that its identity expects is refused",
      module_,
      identities(moduleIdentity({ attributes: `01${"00".repeat(7)}` })),
    ],
    ["a module of another version than the identity's is refused", module_, identities(moduleIdentity({ id: "TDX_02" }))],
    ["a module identity with one digit is refused", module_, identities(moduleIdentity({ id: "TDX_1" }))],
    ["a module identity of another signer is refused", module_, identities(moduleIdentity({ mrsigner: "11".repeat(48) }))],
    ["a module one below its lowest level is refused", module_, both(lowLevels, body(td.teeTcbSvn, 4))],
    ["a module identity without levels is refused", module_, identities(moduleIdentity({ tcbLevels: [] }))],
    [
      "a module of version 0 with another signer is refused",
      module_,
      both(lowLevels, body(td.teeTcbSvn + 1, 0), bitOf(td.mrSignerSeam, 0)),
    ],
    [
      "a module of another signer than the TCB info's, which has no identities, is refused",
      module_,
      expected({ mrsigner: "11".repeat(48) }),
    ],
    [
      "a module with an attribute that the TCB info, which has no identities, does not expect is refused",
      module_,
      expected({ attributes: `01${"00".repeat(7)}` }),
    ],
    ["a module of version 16 without identity of its own is refused", module_, both(lowLevels, body(td.teeTcbSvn + 1, 16))],
  ]),
  ...acceptances(22, "v4", [
    ["a module at its lower level is out of date", both(lowLevels, body(td.teeTcbSvn, 5)), ...outOfDateModule],
    ["a module between its levels is out of date", both(lowLevels, body(td.teeTcbSvn, 6)), ...outOfDateModule],
    ["a module above its levels is accepted", body(td.teeTcbSvn, 8)],
    [
      "a module is judged by the first level in the order of the text",
      identities(moduleIdentity({ tcbLevels: [svnLevel(5, "OutOfDate", ["CORPUS-SA-00002"]), svnLevel(7)] })),
      ...outOfDateModule,
    ],
    ["a module identity in lower case is accepted", identities(moduleIdentity({ id: "tdx_01" }))],
    [
      "a module identity behind another one is found",
      identities(moduleIdentity({ id: "TDX_00", tcbLevels: [] }), moduleIdentity()),
    ],
    [
      "a module of version 16 is judged by TDX_10",
      both(lowLevels, body(td.teeTcbSvn + 1, 16), identities(moduleIdentity({ id: "TDX_10" }))),
    ],
    [
      "a module of version 171 is judged by TDX_AB",
      both(lowLevels, body(td.teeTcbSvn + 1, 171), identities(moduleIdentity({ id: "TDX_AB" }))),
    ],
    ["a module without identities is judged by the TCB info alone", identities()],
    [
      "a module of version 0 is judged by the TCB info alone",
      both(lowLevels, body(td.teeTcbSvn + 1, 0), identities(moduleIdentity({ id: "TDX_00", mrsigner: "11".repeat(48) }))),
    ],
    [
      "a module with an attribute that its identity expects is accepted",
      both(bitOf(td.seamAttributes, 0), identities(moduleIdentity({ attributes: `01${"00".repeat(7)}` }))),
    ],
    [
      "an expected attribute outside the mask does not count",
      identities(moduleIdentity({ attributes: `01${"00".repeat(7)}`, attributesMask: `fe${"ff".repeat(7)}` })),
    ],
  ]),
];

const now15 =
  "a module that was replaced under a running TD is judged as well as the one that started it; the reference ignores it";
const replacedModules: readonly Draft[] = [
  ...refusals(22, "v5", [
    ["a module that was replaced by one below every TCB level is refused", noLevel, body(td.teeTcbSvn2, 5), now15],
    [
      "a module that was replaced by one below its lowest level is refused",
      module_,
      both(lowLevels, body(td.teeTcbSvn2, 4)),
      now15,
    ],
    [
      "a module that was replaced by one without identity is refused",
      module_,
      both(lowLevels, body(td.teeTcbSvn2 + 1, 2)),
      now15,
    ],
  ]),
  ...acceptances(22, "v5", [["a TD 1.5 whose module is at the level it was started at is accepted", () => undefined]]),
];

const statuses = [
  "SWHardeningNeeded",
  "ConfigurationNeeded",
  "ConfigurationAndSWHardeningNeeded",
  "OutOfDate",
  "OutOfDateConfigurationNeeded",
];
const judges: Readonly<Record<string, (status: string, advisories?: readonly string[]) => (world: World) => void>> = {
  "the platform's level": (tcbStatus, advisoryIDs) => only(platformLevel({ tcbStatus, advisoryIDs })),
  "the module's level": (status, advisories) => identities(moduleIdentity({ tcbLevels: [svnLevel(7, status, advisories)] })),
  "the QE's level": (status, advisories) => qe({ tcbLevels: [svnLevel(6, status, advisories)] }),
};
const [platformSays, moduleSays, qeSays] = [
  judges["the platform's level"],
  judges["the module's level"],
  judges["the QE's level"],
];
if (platformSays === undefined || moduleSays === undefined || qeSays === undefined) throw new Error("three judges");
const all = (platform: string, module: string, enclave: string) =>
  both(platformSays(platform, ["P", "X"]), moduleSays(module, ["M", "X", "P"]), qeSays(enclave, ["Q", "M"]));
const merged = ["P", "X", "M", "Q"];

const revoked: readonly Draft[] = [
  ...Object.entries(judges).flatMap(([judge, says]) => [
    ...acceptances(
      23,
      "v4",
      statuses.map((status): AcceptedRow => [`${status} of ${judge} is left to the owner's policy`, says(status), status]),
    ),
    ...refusals(23, "v4", [
      [`Revoked of ${judge} is refused`, "unproven.tcb-revoked", says("Revoked")],
      [`Revoked of ${judge} is refused with an advisory as well`, "unproven.tcb-revoked", says("Revoked", ["CORPUS-SA-00009"])],
    ]),
  ]),
  ...refusals(23, "v4", [
    ["Revoked of all three levels is refused", "unproven.tcb-revoked", all("Revoked", "Revoked", "Revoked")],
    [
      "Revoked of the older level that the platform matches is refused",
      "unproven.tcb-revoked",
      only(platformLevel({}, { pcesvn: pceSvn + 1 }), { ...olderLevel(), tcbStatus: "Revoked" }),
    ],
    [
      "Revoked of the module is refused though platform and QE are out of date",
      "unproven.tcb-revoked",
      all("OutOfDateConfigurationNeeded", "Revoked", "OutOfDate"),
    ],
  ]),
  ...refusals(23, "sgx", [
    [
      "Revoked of an SGX platform is refused",
      "unproven.tcb-revoked",
      only({ ...olderLevel(), tcb: { sgxtcbcomponents: components(cpuSvn), pcesvn: 1 }, tcbStatus: "Revoked" }),
    ],
  ]),
  ...acceptances(23, "v4", [
    [
      "Revoked of a level that the platform is above does not count",
      only(platformLevel(), { ...olderLevel(), tcbStatus: "Revoked" }),
    ],
    [
      "the platform's status wins when it is the worst, and advisories keep their order",
      all("OutOfDate", "UpToDate", "SWHardeningNeeded"),
      "OutOfDate",
      merged,
    ],
    [
      "the module's status wins when it is the worst, and advisories keep their order",
      all("SWHardeningNeeded", "OutOfDate", "ConfigurationNeeded"),
      "OutOfDate",
      merged,
    ],
    [
      "the QE's status wins when it is the worst, and advisories keep their order",
      all("UpToDate", "ConfigurationNeeded", "OutOfDate"),
      "OutOfDate",
      merged,
    ],
    [
      "OutOfDateConfigurationNeeded is worse than OutOfDate",
      all("OutOfDateConfigurationNeeded", "OutOfDate", "UpToDate"),
      "OutOfDateConfigurationNeeded",
      merged,
    ],
    [
      "ConfigurationAndSWHardeningNeeded is worse than ConfigurationNeeded",
      all("ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded", "UpToDate"),
      "ConfigurationAndSWHardeningNeeded",
      merged,
    ],
  ]),
];

export const levelCases: readonly Draft[] = [...levels, ...modules, ...replacedModules, ...revoked];
