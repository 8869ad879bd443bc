/** What a stranger can make the verifier do before the first signature of theirs is checked: inputs that double in size up to their limits. */
import { decodeEvidence, encodeEvidence } from "../kms/attestation/evidence.ts";
import { parseCrl } from "../kms/attestation/tdx/crl.ts";
import { MAX_MEMBERS } from "../kms/attestation/tdx/json-text.ts";
import { OpenedCollateral } from "../kms/attestation/tdx/opened-collateral.ts";
import { MAX_QUOTE_BYTES, parseQuote } from "../kms/attestation/tdx/quote.ts";
import { parseTcbInfo } from "../kms/attestation/tdx/tcb-info.ts";
import { intelSgxRootCa } from "../kms/attestation/tdx/trust-anchor.ts";
import { verifyQuote } from "../kms/attestation/tdx/verify.ts";
import { KmsError } from "../kms/errors.ts";
import * as der from "../scripts/devnet/der.ts";
import { liteAttestation } from "../test/support/real-evidence.ts";
import * as pki from "../test/support/tdx-pki.ts";
import { timeEach } from "./tdx-rounds.ts";
import type { Sample } from "./tdx-sample.ts";

export interface Growth {
  readonly name: string;
  /** What is doubled. */
  readonly unit: string;
  readonly steps: readonly { readonly size: number; readonly microseconds: number }[];
  /** Base-2 logarithm of what the last doubling costs: 1 is linear, 2 is quadratic. */
  readonly exponent: number;
}

const TURNS = 7;

interface Input {
  readonly name: string;
  readonly unit: string;
  readonly sizes: readonly number[];
  readonly work: (size: number) => () => unknown;
}

export function measureGrowth(sample: Sample, turn: number): Growth[] {
  return inputsOf(sample).map(({ name, unit, sizes, work }) => {
    const least = leastOf(sizes.map(work), turn);
    const steps = sizes.map((size, index) => ({ size, microseconds: least[index] ?? 0 }));
    const [last, half] = steps.toReversed();
    return { name, unit, steps, exponent: Math.log2((last?.microseconds ?? 0) / (half?.microseconds ?? 0)) };
  });
}

/** Of each size the least of several turns, in which all sizes saw the same machine: its other work only ever adds. */
function leastOf(works: readonly (() => unknown)[], turn: number): number[] {
  const refused = works.map((work) => () => {
    try {
      work();
    } catch (problem) {
      if (!(problem instanceof KmsError)) throw problem;
    }
  });
  const turns = Array.from({ length: 1 + TURNS }, () => refused.map((work) => timeEach(work, turn)));
  // the first warms up
  return works.map((_, index) => Math.min(...turns.slice(1).map((times) => times[index] ?? Number.NaN)));
}

const doublings = (first: number, count: number) => Array.from({ length: count }, (_, index) => first * 2 ** index);

function inputsOf({ quote, collateral, pckChain, now }: Sample): Input[] {
  const anchor = intelSgxRootCa;
  // the collateral is verified already: only what comes with the quote costs
  const memory = new OpenedCollateral();
  verifyQuote({ quote: parseQuote(quote), collateral, anchor, now }, memory);
  const stranger = pki.party("Stranger");
  const certificateWith = (extensions: readonly der.Der[]) =>
    pki.pem(pki.certificate({ subject: stranger, issuer: stranger, extensions }));
  const verifyChain = (pckCertificateChain: string) => () =>
    verifyQuote({ quote: parseQuote(quote), collateral: { ...collateral, pckCertificateChain }, anchor, now }, memory);
  const real = liteAttestation().evidence;
  const event = real.stack.runtimeEvents[0];
  if (event === undefined) throw new Error("the sample has events");
  return [
    {
      name: "quote that ends in a byte that is not zero",
      unit: "bytes",
      sizes: doublings(MAX_QUOTE_BYTES / 16, 5),
      work: (size) => {
        const padded = new Uint8Array(size);
        padded.set(quote);
        padded[size - 1] = 1;
        return () => verifyQuote({ quote: parseQuote(padded), collateral, anchor, now }, memory);
      },
    },
    {
      name: "certificates in a chain",
      unit: "certificates",
      sizes: doublings(1, 4),
      work: (size) => verifyChain(certificateWith([pki.notCa]).repeat(size)),
    },
    {
      name: "text around the certificates of a chain",
      unit: "characters",
      sizes: doublings(8 * 1024, 4),
      work: (size) => verifyChain("\n".repeat(size) + pckChain.replace("M", "N")),
    },
    {
      name: "extension of a certificate",
      unit: "bytes",
      sizes: doublings(1024, 4),
      work: (size) => verifyChain(certificateWith([pki.extension("1.2.3.4", der.octetString(new Uint8Array(size)))])),
    },
    {
      name: "entries of a revocation list",
      unit: "entries",
      sizes: doublings(1024, 4),
      work: (size) => {
        const list = pki.crl({ issuer: stranger, entries: Array.from({ length: size }, (_, serial) => pki.entry(serial + 1)) });
        return () => parseCrl(list, "crl");
      },
    },
    {
      name: "unknown members of a TCB info",
      unit: "members",
      // the last has 0.7 of the characters that are read, in objects of as many members as one may have
      sizes: doublings(4 * MAX_MEMBERS, 4),
      work: (size) => {
        const objects = Array.from(
          { length: size / MAX_MEMBERS },
          (_, index) => `"${index}":{${unknownMembers(MAX_MEMBERS, index)}}`,
        );
        const text = collateral.tcbInfo.replace("{", `{${objects.join()},`);
        return () => parseTcbInfo(text);
      },
    },
    {
      name: "members of one object, more than are read",
      unit: "members",
      sizes: doublings(4 * MAX_MEMBERS, 4),
      work: (size) => {
        const text = collateral.tcbInfo.replace("{", `{${unknownMembers(size)},`);
        return () => parseTcbInfo(text);
      },
    },
    {
      name: "events of an envelope",
      unit: "events",
      sizes: doublings(256, 4),
      work: (size) => {
        const runtimeEvents = new Array(size).fill(event);
        const envelope = encodeEvidence({ ...real, stack: { ...real.stack, runtimeEvents } });
        return () => decodeEvidence(envelope);
      },
    },
  ];
}

/** All names of a text differ: equal ones would be one string to the engine. */
function unknownMembers(count: number, object = 0): string {
  return Array.from({ length: count }, (_, index) => `"member ${object} ${index}":[${index}]`).join();
}
