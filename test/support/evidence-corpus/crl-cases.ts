/** Step 0a, and revocation in the steps that use a chain: both lists, with everything that can be wrong with them. */
import * as der from "../../../scripts/devnet/der.ts";
import * as pki from "../tdx-pki.ts";
import { type AcceptedRow, acceptances, altered, type Draft, onPart, type RefusalRow, refusals } from "./draft.ts";
import type { Check, PartName, Parts } from "./format.ts";
import { flip, parties, second, sgxExtensionOf, type World } from "./world.ts";

type ListName = keyof World["lists"];
type Plan = { -readonly [K in keyof pki.CrlPlan]?: pki.CrlPlan[K] | undefined };

const malformed = "malformed.collateral";
const crl = "unproven.crl";
const revoked = "unproven.certificate-revoked";
const [anchorSerial, caSerial, pckSerial, tcbSerial] = [1, 2, 3, 4];

const list = (name: ListName, plan: Plan) => (world: World) => void Object.assign(world.lists[name], plan);
const reason = pki.extension("2.5.29.21", der.enumerated(1));
const removedFromList = pki.extension("2.5.29.21", der.enumerated(8));
const point = (...fields: readonly der.Der[]) => pki.extension("2.5.29.28", der.sequence(...fields), true);
const uri = "https://example.test/list.der";
const fullName = der.explicit(0, der.explicit(0, der.implicit(6, Buffer.from(uri))));
const truth = Uint8Array.of(0xff);
const future = "it was not published yet, so a clock is wrong; the reference takes a list from the future";

/** What is wrong with a list whoever it belongs to. `step` is where its date or signature is looked at. */
function faults(step: Check, title: string, name: ListName): Draft[] {
  const extended = (...extensions: readonly der.Der[]): Plan => ({ extensions: [pki.crlNumber, ...extensions] });
  const shapes: readonly (readonly [string, Plan])[] = [
    ["of version 1", { version: der.integer(0) }],
    ["of version 3", { version: der.integer(2) }],
    ["without version", { version: new Uint8Array() }],
    ["without next update", { nextUpdate: "absent" }],
    ["without extensions", { extensions: "absent" }],
    ["that names SHA-384 outside", { outerAlgorithm: "sha384" }],
    ["that is a delta", extended(pki.extension("2.5.29.27", der.integer(1), true))],
    ["that calls itself a delta, though not critically", extended(pki.extension("2.5.29.27", der.integer(1)))],
    ["with a critical extension that nobody knows", extended(pki.extension("1.2.3.4", der.integer(1), true))],
    ["with its number twice", extended(pki.crlNumber)],
    ["with a negative number", { extensions: [pki.extension("2.5.29.20", der.tlv(2, Uint8Array.of(0x80)))] }],
    ["with a number of 21 bytes", { extensions: [pki.extension("2.5.29.20", der.tlv(2, new Uint8Array(21).fill(1)))] }],
    ["that is indirect", extended(point(fullName, der.implicit(4, truth)))],
    ["of some reasons only", extended(point(fullName, der.implicit(3, Uint8Array.of(6, 0x40))))],
    ["of attribute certificates only", extended(point(fullName, der.implicit(5, truth)))],
    ["of users only and of CAs only at once", extended(point(fullName, der.implicit(1, truth), der.implicit(2, truth)))],
    ["whose distribution point has no name", extended(point(der.implicit(1, truth)))],
    ["with an entry of another issuer", { entries: [pki.entry(99, pki.extension("2.5.29.29", der.sequence(), true))] }],
    [
      "with a critical entry extension that nobody knows",
      { entries: [pki.entry(99, pki.extension("1.2.3.4", der.integer(1), true))] },
    ],
    ["with an entry of a negative serial", { entries: [der.sequence(der.tlv(2, Uint8Array.of(0x80)), der.time(second(0)))] }],
    [
      "with an entry of another issuer, though not critically",
      { entries: [pki.entry(99, pki.extension("2.5.29.29", der.sequence()))] },
    ],
    [
      "with an entry of another issuer behind one with a reason",
      { entries: [pki.entry(98, reason), pki.entry(99, pki.extension("2.5.29.29", der.sequence(), true))] },
    ],
    [
      "with an unknown critical entry extension behind two good entries",
      { entries: [pki.entry(97, reason), pki.entry(98, reason), pki.entry(99, pki.extension("1.2.3.4", der.integer(1), true))] },
    ],
    ["with bytes behind its number", { extensions: [pki.extension("2.5.29.20", new Uint8Array([...der.integer(1), 0]))] }],
    [
      "with bytes behind its distribution point",
      extended(pki.extension("2.5.29.28", new Uint8Array([...der.sequence(fullName), 0]))),
    ],
    ["with an unknown field in its distribution point", extended(point(fullName, der.implicit(7, truth)))],
    ["with an entry without date", { entries: [der.sequence(der.integer(99))] }],
  ];
  const good: readonly (readonly [string, Plan])[] = [
    ["that begins in this second", { thisUpdate: second(0) }],
    ["that ends in the next second", { nextUpdate: second(1) }],
    ["with an unknown extension that is not critical", extended(pki.extension("1.2.3.4", der.integer(1)))],
    ["with a number of 20 bytes", { extensions: [pki.extension("2.5.29.20", der.tlv(2, new Uint8Array(20).fill(1)))] }],
    ["without number", { extensions: [pki.extension("2.5.29.35", der.sequence())] }],
    ["with a critical reason in an entry", { entries: [pki.entry(99, pki.extension("2.5.29.21", der.enumerated(1), true))] }],
    [
      "with a critical invalidity date in an entry",
      { entries: [pki.entry(99, pki.extension("2.5.29.24", der.time(second(0)), true))] },
    ],
    ["with entries of others", { entries: [pki.entry(98, reason), pki.entry(99)] }],
    ["with a distribution point of its full name", extended(point(fullName))],
  ];
  const dates: RefusalRow[] = [
    [`${title} that ends in this second is refused`, crl, list(name, { nextUpdate: second(0) })],
    [`${title} that ended a second ago is refused`, crl, list(name, { nextUpdate: second(-1) })],
    [
      `${title} that ended last year is refused`,
      crl,
      list(name, { thisUpdate: second(-63_072_000), nextUpdate: second(-31_536_000) }),
    ],
    [`${title} that begins in the next second is refused`, crl, list(name, { thisUpdate: second(1) }), future],
    [
      `${title} that begins next year is refused`,
      crl,
      list(name, { thisUpdate: second(31_536_000), nextUpdate: second(63_072_000) }),
      future,
    ],
    [`${title} that a stranger signed is refused`, crl, list(name, { signer: parties.stranger })],
    [
      `${title} of another issuer is refused`,
      crl,
      list(name, { issuer: { ...parties.root, name: pki.nameOf("Somebody Else") } }),
    ],
  ];
  return [
    ...refusals(
      "0a",
      "v4",
      shapes.map(([fault, plan]): RefusalRow => [`${title} ${fault} is refused`, malformed, list(name, plan)]),
    ),
    ...acceptances(
      step,
      "v4",
      good.map(([freedom, plan]): AcceptedRow => [`${title} ${freedom} is accepted`, list(name, plan)]),
    ),
    ...refusals(step, "v4", dates),
  ];
}

/** One more in the last byte of the outer length. */
function longer(list: Uint8Array): Uint8Array {
  const at = 1 + ((list[1] ?? 0) & 0x7f);
  return list.with(at, (list[at] ?? 0) + 1);
}

function bytes(title: string, part: PartName, other: PartName): Draft[] {
  return altered("0a", "v4", [
    [`${title} of no bytes is refused`, malformed, onPart(part, () => new Uint8Array())],
    [`${title} of one zero byte is refused`, malformed, onPart(part, () => new Uint8Array(1))],
    [`${title} without its last byte is refused`, malformed, onPart(part, (list) => list.subarray(0, -1))],
    [`${title} with a byte behind it is refused`, malformed, onPart(part, (list) => new Uint8Array([...list, 0]))],
    [`${title} with another outer tag is refused`, malformed, onPart(part, (list) => list.with(0, 0x31))],
    [`${title} whose length points outside is refused`, malformed, onPart(part, longer)],
    [`${title} with another last byte is refused`, crl, onPart(part, (list) => flip(list, -1))],
    [
      `${title} that is the other one is refused`,
      crl,
      (parts: Parts) => ({ ...parts, [part]: parts[other] ?? new Uint8Array() }),
    ],
  ]);
}

const swapped: Draft["alter"] = (parts) => ({
  ...parts,
  root_ca_crl: parts.pck_crl ?? new Uint8Array(),
  pck_crl: parts.root_ca_crl ?? new Uint8Array(),
});

const entries: readonly Draft[] = [
  ...refusals("0a", "v4", [
    ["a root list that names the anchor is refused", revoked, list("root", { entries: [pki.entry(anchorSerial)] })],
    [
      "a root list that names the anchor last of many is refused",
      revoked,
      list("root", { entries: [90, 91, 92, anchorSerial].map((serial) => pki.entry(serial)) }),
    ],
  ]),
  ...refusals(9, "v4", [
    ["a TCB signing certificate that is revoked is refused", revoked, list("root", { entries: [pki.entry(tcbSerial)] })],
    [
      "a TCB signing certificate that is revoked for a reason is refused",
      revoked,
      list("root", { entries: [pki.entry(tcbSerial, reason)] }),
    ],
    [
      "a TCB signing certificate that is said to be taken off the list again is refused",
      revoked,
      list("root", { entries: [pki.entry(tcbSerial, removedFromList)] }),
    ],
  ]),
  ...refusals(14, "v4", [
    ["a PCK certificate that is revoked is refused", revoked, list("pck", { entries: [pki.entry(pckSerial)] })],
    [
      "a PCK certificate that is revoked from tomorrow on is refused",
      revoked,
      list("pck", { entries: [der.sequence(der.integer(pckSerial), der.time(second(86_400)))] }),
    ],
    ["a PCK CA that is revoked is refused", revoked, list("root", { entries: [pki.entry(caSerial)] })],
  ]),
  ...acceptances(14, "v4", [
    ["the serial of the PCK certificate in the root's list does not count", list("root", { entries: [pki.entry(pckSerial)] })],
    ["the serial of the PCK CA in its own list does not count", list("pck", { entries: [pki.entry(caSerial)] })],
  ]),
  ...refusals(14, "v4", [
    [
      "a PCK list for CAs only leaves the PCK certificate without one and is refused",
      crl,
      list("pck", { extensions: [point(fullName, der.implicit(2, truth))] }),
    ],
  ]),
  ...acceptances(14, "v4", [
    ["a PCK list for users only is accepted", list("pck", { extensions: [point(fullName, der.implicit(1, truth))] })],
  ]),
  ...refusals(14, "v4", [
    [
      "a PCK list of another distribution point than the certificate's is refused",
      crl,
      (world) => {
        list("pck", { extensions: [point(fullName)] })(world);
        Object.assign(world, { pckExtensions: [sgxExtensionOf(world.sgx), pki.crlUri("https://example.test/other.der")] });
      },
    ],
  ]),
  ...acceptances(14, "v4", [
    [
      "a PCK list of the certificate's distribution point is accepted",
      (world) => {
        list("pck", { extensions: [point(fullName)] })(world);
        Object.assign(world, { pckExtensions: [sgxExtensionOf(world.sgx), pki.crlUri(uri)] });
      },
    ],
  ]),
  ...refusals("0a", "v4", [
    [
      "a root list for users only leaves the anchor without one and is refused",
      crl,
      list("root", { extensions: [point(fullName, der.implicit(1, truth))] }),
    ],
  ]),
  ...refusals(9, "v4", [
    [
      "a root list for CAs only leaves the TCB signer without one and is refused",
      crl,
      list("root", { extensions: [point(fullName, der.implicit(2, truth))] }),
    ],
  ]),
];

export const crlCases: readonly Draft[] = [
  ...faults("0a", "a root list", "root"),
  ...faults(14, "a PCK list", "pck"),
  ...bytes("a root list", "root_ca_crl", "pck_crl"),
  ...bytes("a PCK list", "pck_crl", "root_ca_crl"),
  ...altered("0a", "v4", [["the two lists in each other's place are accepted", undefined, swapped]]),
  ...entries,
];
