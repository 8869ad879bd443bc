/** Steps 0, 9, 13 and 14, and the chain of 11: the anchor, the chains, and the SGX extension of the PCK certificate. */
import * as der from "../../../scripts/devnet/der.ts";
import * as pki from "../tdx-pki.ts";
import { caExtensions, caFaults, certificateFaults, type Fault, leafFaults, signedByStranger } from "./certificate-faults.ts";
import {
  type AcceptedRow,
  acceptances,
  altered,
  type Draft,
  onPart,
  quoteWith,
  type RefusalRow,
  refusals,
  worldWith,
} from "./draft.ts";
import type { Check } from "./format.ts";
import { bytesOf } from "./format.ts";
import { type CertificateName, flip, parties, SGX, second, sgxEntry, sgxExtensionOf, sgxParts, type World } from "./world.ts";

const malformed = "malformed.certificate";
const chain = "unproven.certificate-chain";
const certificate = (name: CertificateName, plan: Fault["plan"]) => (world: World) =>
  void Object.assign(world.certificates[name], plan);

function faulty(check: Check, title: string, name: CertificateName, faults: readonly Fault[]): Draft[] {
  return faults.flatMap(({ name: fault, code, plan, stricter }) => {
    const edit = certificate(name, plan);
    return code === undefined
      ? acceptances(check, "v4", [[`${title} that ${fault} is accepted`, edit]])
      : refusals(check, "v4", [[`${title} that ${fault} is refused`, code, edit, stricter]]);
  });
}

const leafUsage = pki.keyUsage(0b1100_0000, 6);
const rootFaults = certificateFaults([pki.keyUsage(0b0000_0110, 1), pki.ca(1)]).filter(
  ({ plan }) => plan.extensions !== undefined,
);
const ownDates = "the reference never looks at the anchor's own dates; an expired root vouches for nothing";
const noEku = new Set(["may only be used by TLS clients", "may be used by no one", "may be used by TLS servers and clients"]);
const strangersRoot = pki.certificate({
  subject: { ...parties.stranger, name: parties.root.name },
  issuer: { ...parties.stranger, name: parties.root.name },
  extensions: [pki.keyUsage(0b0000_0110, 1), pki.ca(1)],
});

const anchors: readonly Draft[] = [
  ...altered(0, "v4", [
    ["a trust anchor of no bytes is refused", malformed, onPart("root", () => new Uint8Array())],
    ["a trust anchor that is no certificate is refused", malformed, onPart("root", () => bytesOf("root"))],
    ["a trust anchor without its last byte is refused", malformed, onPart("root", (bytes) => bytes.subarray(0, -1))],
    ["a trust anchor with a byte behind it is refused", malformed, onPart("root", (bytes) => new Uint8Array([...bytes, 0]))],
    [
      "a trust anchor with another last byte is refused",
      malformed,
      onPart("root", (bytes) => flip(bytes, -1)),
      "a root that its own key did not sign is damaged or made up",
    ],
    ["a trust anchor in PEM is accepted", undefined, onPart("root", (bytes) => bytesOf(pki.pem(bytes)))],
    [
      "a trust anchor in PEM with words behind it is refused",
      malformed,
      onPart("root", (bytes) => bytesOf(`${pki.pem(bytes)}root`)),
    ],
    ["two trust anchors in one file are refused", malformed, onPart("root", (bytes) => bytesOf(pki.pem(bytes, bytes)))],
    ["the trust anchor of a stranger under the same name is refused", "unproven.crl", onPart("root", () => strangersRoot)],
  ]),
  ...faulty(
    0,
    "a trust anchor",
    "root",
    rootFaults.filter(({ name }) => !noEku.has(name)),
  ),
  ...refusals(0, "v4", [
    [
      "a trust anchor that is no CA is refused",
      malformed,
      certificate("root", { extensions: [pki.notCa] }),
      "what is no CA can vouch for nothing",
    ],
    [
      "a trust anchor that somebody else issued is refused",
      malformed,
      certificate("root", { issuer: { ...parties.root, name: parties.pckCa.name } }),
    ],
    [
      "a trust anchor that begins in the next second is refused",
      chain,
      certificate("root", { notBefore: der.time(second(1)) }),
      ownDates,
    ],
    [
      "a trust anchor that ended a second ago is refused",
      chain,
      certificate("root", { notAfter: der.time(second(-1)) }),
      ownDates,
    ],
    ["a trust anchor of version 1 is refused", malformed, certificate("root", { version: new Uint8Array() })],
  ]),
  ...acceptances(0, "v4", [
    ["a trust anchor that begins in this second is accepted", certificate("root", { notBefore: der.time(second(0)) })],
    ["a trust anchor that ends in this second is accepted", certificate("root", { notAfter: der.time(second(0)) })],
    ["a trust anchor without key usage is accepted", certificate("root", { extensions: [pki.ca(1)] })],
  ]),
];

type ChainMember = "tcbChain" | "qeChain" | "pckChain";
const with_ = (member: ChainMember, pick: World["pckChain"]) => worldWith(() => ({ [member]: pick }));

/** Chains of one leaf and the root, put together otherwise. */
function signerChains(check: Check, title: string, member: "tcbChain" | "qeChain"): Draft[] {
  const rows: RefusalRow[] = [
    [`${title} chain of no certificate is refused`, malformed, with_(member, () => [])],
    [`${title} chain that is reversed is refused`, chain, with_(member, ({ tcb, root }) => [root, tcb])],
    [`${title} chain that is the root alone is refused`, chain, with_(member, ({ root }) => [root])],
    [`${title} chain that begins with the PCK CA is refused`, chain, with_(member, ({ pckCa, tcb, root }) => [pckCa, tcb, root])],
    [`${title} chain of a PCK without its CA is refused`, chain, with_(member, ({ pck, root }) => [pck, root])],
    [
      `${title} chain of nine certificates is refused`,
      malformed,
      with_(member, ({ tcb, root }) => [tcb, ...new Array(8).fill(root)]),
      "a leaf, six intermediates and the root are eight",
    ],
    [`${title} chain of 200 certificates is refused`, malformed, with_(member, ({ tcb }) => new Array(200).fill(tcb))],
  ];
  const good: AcceptedRow[] = [
    [`${title} chain that is the leaf alone is accepted`, with_(member, ({ tcb }) => [tcb])],
    [`${title} chain of eight certificates is accepted`, with_(member, ({ tcb, root }) => [tcb, ...new Array(7).fill(root)])],
    [`${title} chain with a stranger's root behind it is accepted`, with_(member, ({ tcb }) => [tcb, strangersRoot])],
    [
      `${title} chain with certificates of others behind it is accepted`,
      with_(member, ({ tcb, pck, pckCa }) => [tcb, pck, pckCa]),
    ],
  ];
  return [...refusals(check, "v4", rows), ...acceptances(check, "v4", good)];
}

function texts(check: Check, title: string, part: "tcb_info_issuer_chain" | "qe_identity_issuer_chain"): Draft[] {
  const change = (edit: (pem: string) => string) => onPart(part, (bytes) => bytesOf(edit(new TextDecoder().decode(bytes))));
  return altered(check, "v4", [
    [
      `${title} chain without its last line is refused`,
      malformed,
      change((pem) => pem.trimEnd().split("\n").slice(0, -1).join("\n")),
    ],
    [`${title} chain with a star in its base64 is refused`, malformed, change((pem) => pem.replace("MII", "M*I"))],
    [
      `${title} chain with an empty block is refused`,
      malformed,
      change((pem) => `-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n${pem}`),
    ],
    [
      `${title} chain with words around its blocks is accepted`,
      undefined,
      change((pem) => `subject: someone\n${pem}\nthe end\0`),
    ],
    [`${title} chain with the line ends of Windows is accepted`, undefined, change((pem) => pem.replaceAll("\n", "\r\n"))],
  ]);
}

const tcbFaults = [...certificateFaults([leafUsage, pki.notCa]), ...leafFaults, signedByStranger(parties.root)];

const signers: readonly Draft[] = [
  ...faulty(9, "a TCB signing certificate", "tcb", tcbFaults),
  ...signerChains(9, "a TCB info", "tcbChain"),
  ...texts(9, "a TCB info", "tcb_info_issuer_chain"),
  ...signerChains(11, "a QE identity", "qeChain"),
  ...texts(11, "a QE identity", "qe_identity_issuer_chain"),
];

/** PPID, CPU SVN, PCE SVN, PCE id, of which only the lengths count here. */
const encrypted = (length: number) => new Uint8Array(length + 20).fill(3);

const types: readonly Draft[] = [
  ...[0, 1, 4, 6, 7, 0xffff].flatMap((type) =>
    refusals(13, "v4", [
      [`certification data of type ${type} is refused`, "unproven.platform-unsupported", quoteWith(() => ({ innerType: type }))],
    ]),
  ),
  ...refusals(13, "v4", [
    [
      "an encrypted PPID of 256 bytes without a PCK chain beside it is refused",
      "unproven.platform-unsupported",
      quoteWith(() => ({ innerType: 2, innerData: encrypted(256) })),
    ],
    [
      "an encrypted PPID of 384 bytes without a PCK chain beside it is refused",
      "unproven.platform-unsupported",
      quoteWith(() => ({ innerType: 3, innerData: encrypted(384) })),
    ],
    ["a PCK chain without any certificate is refused", malformed, with_("pckChain", () => [])],
    [
      "a root as PCK chain in the collateral is refused",
      "unproven.certificate-chain",
      worldWith(() => ({ collateralChain: () => [strangersRoot] })),
    ],
    [
      "a TCB signer's chain as PCK chain in the collateral is refused",
      malformed,
      worldWith(({ tcbChain }) => ({ collateralChain: tcbChain })),
    ],
  ]),
  ...acceptances(13, "v4", [
    ["a PCK chain in the collateral as well is accepted", worldWith(({ pckChain }) => ({ collateralChain: pckChain }))],
    [
      "a PCK chain in the collateral takes the place of one that nobody can read",
      worldWith(({ pckChain, quote }) => {
        Object.assign(quote, { innerType: 2, innerData: encrypted(256) });
        return { collateralChain: pckChain };
      }),
    ],
    ["a PCK chain that ends in a line end and a zero is accepted", quoteWith(() => ({ pckChainEnd: "\n\0" }))],
    ["a PCK chain that ends in nothing is accepted", quoteWith(() => ({ pckChainEnd: "" }))],
  ]),
];

const pckOrder: readonly Draft[] = [
  ...refusals(14, "v4", [
    ["a PCK chain that is reversed is refused", chain, with_("pckChain", ({ pck, pckCa, root }) => [root, pckCa, pck])],
    ["a PCK chain that begins with the CA is refused", chain, with_("pckChain", ({ pck, pckCa, root }) => [pckCa, pck, root])],
    ["a PCK chain without its CA is refused", chain, with_("pckChain", ({ pck, root }) => [pck, root])],
    ["a PCK chain that is the leaf alone is refused", chain, with_("pckChain", ({ pck }) => [pck])],
    [
      "a PCK chain that begins with the TCB signer is refused",
      malformed,
      with_("pckChain", ({ tcb, pckCa, root }) => [tcb, pckCa, root]),
    ],
    [
      "a PCK chain of nine certificates is refused",
      malformed,
      with_("pckChain", ({ pck, pckCa }) => [pck, ...new Array(8).fill(pckCa)]),
      "a leaf, six intermediates and the root are eight",
    ],
    [
      "a PCK chain of 200 certificates is refused",
      malformed,
      with_("pckChain", ({ pck, pckCa }) => [pck, ...new Array(199).fill(pckCa)]),
    ],
  ]),
  ...acceptances(14, "v4", [
    ["a PCK chain without the root is accepted", with_("pckChain", ({ pck, pckCa }) => [pck, pckCa])],
    ["a PCK chain with the root before the CA is accepted", with_("pckChain", ({ pck, pckCa, root }) => [pck, root, pckCa])],
    ["a PCK chain with its CA twice is accepted", with_("pckChain", ({ pck, pckCa, root }) => [pck, pckCa, pckCa, root])],
    [
      "a PCK chain with a stranger's root for the root is accepted, since the anchor counts",
      with_("pckChain", ({ pck, pckCa }) => [pck, pckCa, strangersRoot]),
    ],
  ]),
];

const octets = (length: number) => der.octetString(new Uint8Array(length).fill(7));
const sgx = (changes: Partial<World["sgx"]>) => (world: World) => void Object.assign(world.sgx, changes);
const value = sgxEntry("3", der.octetString(Uint8Array.of(0, 0)));
const twice = "two values for one field are two readings of one platform; the reference takes the first";
const lengths = "the reference takes any length; Intel's certificates have this one only";

const extensions: readonly Draft[] = [
  ...refusals(14, "v4", [
    ["a PCK certificate without the SGX extension is refused", malformed, worldWith(() => ({ pckExtensions: [] }))],
    [
      "a PCK certificate with two SGX extensions is refused",
      malformed,
      worldWith(() => ({ pckExtensions: [sgxExtensionOf(sgxParts()), sgxExtensionOf(sgxParts())] })),
    ],
    [
      "an SGX extension that is no sequence is refused",
      malformed,
      worldWith(() => ({ pckExtensions: [pki.extension(SGX, der.integer(1))] })),
    ],
    [
      "an SGX extension with bytes behind it is refused",
      malformed,
      worldWith(() => ({ pckExtensions: [pki.extension(SGX, new Uint8Array([...der.sequence(value), 0]))] })),
    ],
    ["a PCK certificate without PPID is refused", malformed, sgx({ ppid: [] })],
    ["a PCK certificate without TCB is refused", malformed, sgx({ components: [], pceSvn: [], cpuSvn: [] })],
    ["a PCK certificate without PCE SVN is refused", malformed, sgx({ pceSvn: [] })],
    ["a PCK certificate without CPU SVN is refused", malformed, sgx({ cpuSvn: [] })],
    ["a PCK certificate without PCE id is refused", malformed, sgx({ pceId: [] })],
    ["a PCK certificate without FMSPC is refused", malformed, sgx({ fmspc: [] })],
    ["a PCK certificate without SGX type is refused", malformed, sgx({ sgxType: [] })],
    ["a PPID of 15 bytes is refused", malformed, sgx({ ppid: [sgxEntry("1", octets(15))] }), lengths],
    ["a CPU SVN of 15 bytes is refused", malformed, sgx({ cpuSvn: [sgxEntry("2.18", octets(15))] })],
    ["a CPU SVN of 17 bytes is refused", malformed, sgx({ cpuSvn: [sgxEntry("2.18", octets(17))] })],
    ["a PCE SVN of three bytes is refused", malformed, sgx({ pceSvn: [sgxEntry("2.17", der.integer(65_536))] })],
    [
      "a negative PCE SVN is refused",
      malformed,
      sgx({ pceSvn: [sgxEntry("2.17", der.tlv(2, Uint8Array.of(0xff)))] }),
      "read as an unsigned number it would be the highest",
    ],
    ["a PCE id of one byte is refused", malformed, sgx({ pceId: [sgxEntry("3", octets(1))] }), lengths],
    ["an FMSPC of five bytes is refused", malformed, sgx({ fmspc: [sgxEntry("4", octets(5))] })],
    ["an FMSPC of seven bytes is refused", malformed, sgx({ fmspc: [sgxEntry("4", octets(7))] })],
    ["an SGX type of 3 is refused", malformed, sgx({ sgxType: [sgxEntry("5", der.enumerated(3))] }), "Intel defines 0, 1 and 2"],
    ["an SGX type of no bytes is refused", malformed, sgx({ sgxType: [sgxEntry("5", der.tlv(0x0a))] })],
    [
      "an SGX type of two bytes is refused",
      malformed,
      sgx({ sgxType: [sgxEntry("5", der.tlv(0x0a, Uint8Array.of(0, 1)))] }),
      lengths,
    ],
    ["a second FMSPC behind the first is refused", malformed, sgx({ rest: [sgxEntry("4", octets(6))] }), twice],
    [
      "a second CPU SVN behind the first is refused",
      malformed,
      sgx({ cpuSvn: [...sgxParts().cpuSvn, sgxEntry("2.18", octets(16))] }),
      twice,
    ],
    ["a second PPID behind the first is refused", malformed, sgx({ rest: [sgxEntry("1", octets(16))] }), twice],
  ]),
  ...acceptances(14, "v4", [
    [
      "a PCK certificate with components that say otherwise is judged by its CPU SVN",
      sgx({ components: [sgxEntry("2.1", der.integer(0))] }),
    ],
    ["a PCK certificate without components is accepted", sgx({ components: [] })],
    ["a PCK certificate without instance id is accepted", sgx({ rest: [] })],
    ["a PCK certificate with an entry that nobody knows is accepted", sgx({ rest: [sgxEntry("9", der.integer(1))] })],
    ["the highest PCE SVN is accepted", sgx({ pceSvn: [sgxEntry("2.17", der.integer(65_535))] })],
    ["an SGX type of 0 is accepted", sgx({ sgxType: [sgxEntry("5", der.enumerated(0))] })],
    ["an SGX type of 2 is accepted", sgx({ sgxType: [sgxEntry("5", der.enumerated(2))] })],
  ]),
];

const sgxExtension = sgxExtensionOf(sgxParts());
const pckFaults = [...certificateFaults([leafUsage, pki.notCa, sgxExtension]), ...leafFaults, signedByStranger(parties.pckCa)];

export const chainCases: readonly Draft[] = [
  ...anchors,
  ...signers,
  ...types,
  ...faulty(14, "a PCK certificate", "pck", pckFaults),
  ...faulty(14, "a PCK CA", "pckCa", [...certificateFaults(caExtensions), ...caFaults, signedByStranger(parties.root)]),
  ...pckOrder,
  ...extensions,
];
