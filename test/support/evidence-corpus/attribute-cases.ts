/** Step 24, and the owner's rule behind it: the attributes of a TD, its service TD, and the signer of its module. */
import { acceptances, type Draft, refusals } from "./draft.ts";
import { body, both, identities } from "./level-cases.ts";
import { moduleIdentity, td } from "./worlds.ts";

const SEPT = 28;
const attributes = (...bits: readonly number[]) => {
  const value = bits.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return body(td.tdAttributes, ...bytes);
};
/** PKS and KL. */
const free = new Set([30, 31]);
const bit39 = "the bit is reserved; the reference does not look at it";

const tdAttributes: readonly Draft[] = [
  ...Array.from({ length: 64 }, (_, bit) => bit)
    .filter((bit) => bit !== SEPT)
    .flatMap((bit) => {
      const edit = attributes(SEPT, bit);
      if (free.has(bit))
        return acceptances(24, "v4", [[`a TD with attribute bit ${bit} besides SEPT_VE_DISABLE is accepted`, edit]]);
      const code = bit === 0 ? "unproven.debug" : "unproven.td-attributes";
      return refusals(24, "v4", [
        [`a TD with attribute bit ${bit} besides SEPT_VE_DISABLE is refused`, code, edit, bit === 39 ? bit39 : undefined],
      ]);
    }),
  ...refusals(24, "v4", [
    ["a TD without SEPT_VE_DISABLE is refused", "unproven.td-attributes", attributes()],
    ["a TD in debug mode without SEPT_VE_DISABLE is refused as one in debug mode", "unproven.debug", attributes(0)],
    [
      "a TD in debug mode with a reserved low bit is refused for the reserved bit",
      "unproven.td-attributes",
      attributes(SEPT, 0, 1),
    ],
    ["a TD in debug mode with PERFMON is refused as one in debug mode", "unproven.debug", attributes(SEPT, 0, 63)],
  ]),
  ...refusals(24, "v5", [
    ["a TD 1.5 in debug mode is refused", "unproven.debug", attributes(SEPT, 0)],
    ["a service TD with another first byte than zero is refused", "unproven.service-td", body(td.mrServiceTd, 1)],
    ["a service TD with another last byte than zero is refused", "unproven.service-td", body(td.mrServiceTd + 47, 0x80)],
    [
      "a service TD is refused before debug mode is looked at",
      "unproven.service-td",
      both(body(td.mrServiceTd, 1), attributes(0)),
    ],
  ]),
  ...acceptances(24, "v5", [
    ["a TD 1.5 without service TD is accepted", () => undefined],
    ["a TD 1.5 whose module was replaced by a newer one is accepted", body(td.teeTcbSvn2, 0xff)],
    ["a TD with any XFAM is accepted", body(td.xfam, 0xff, 0xff, 0xff)],
    ["a TD with any MRSEAM is accepted", body(td.mrSeam, 0xff, 0xff, 0xff)],
  ]),
  ...refusals(24, "sgx", [["an SGX enclave in debug mode is refused", "unproven.debug", body(48, 0x17)]]),
  ...acceptances(24, "sgx", [["an SGX enclave with other attributes is accepted", body(48, 0x05)]]),
];

const owner: readonly Draft[] = [
  ...refusals("td", "v4", [
    [
      "a module of another signer that the TCB info expects is no module of Intel's and is refused",
      "unproven.tdx-module",
      both(body(td.mrSignerSeam, ...new Array<number>(48).fill(0x11)), identities(moduleIdentity({ mrsigner: "11".repeat(48) }))),
    ],
  ]),
];

export const attributeCases: readonly Draft[] = [...tdAttributes, ...owner];
