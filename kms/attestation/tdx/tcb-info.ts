/** TCB info, Intel's judgement of every patch level of a platform: the inner object of `tcbInfo`, decoded from its signed text. */
import { z } from "zod";
import { decodeSigned, hexBytes, levels, parseDate, u8, u16, u32 } from "./signed-json.ts";

/** Of a platform, and of a TDX module and its loader. */
export const COMPONENTS = 16;

/**
 * SVNs of at most sixteen components, whose names are not read. By hand: a schema for each of the hundreds of components of a TCB info
 * costs more than all signatures of a quote.
 */
const components = z.unknown().transform((value, context): readonly number[] => {
  const svns = Array.isArray(value) && value.length <= COMPONENTS ? value.map(svnOf) : [undefined];
  if (svns.every((svn) => svn !== undefined)) return svns;
  context.addIssue(`need at most ${COMPONENTS} components with an svn from 0 to 255`);
  return z.NEVER;
});

function svnOf(component: unknown): number | undefined {
  if (typeof component !== "object" || component === null || !("svn" in component)) return undefined;
  const { svn } = component;
  return typeof svn === "number" && Number.isInteger(svn) && svn >= 0 && svn <= 0xff ? svn : undefined;
}

const moduleExpectation = {
  mrsigner: hexBytes(48),
  attributes: hexBytes(8),
  attributesMask: hexBytes(8),
};

const tcbInfoSchema = z.object({
  id: z.string(),
  version: u8,
  issueDate: z.string(),
  nextUpdate: z.string(),
  fmspc: z.string(),
  pceId: hexBytes(2),
  tcbType: u32,
  tcbEvaluationDataNumber: u32,
  tdxModule: z.object(moduleExpectation).optional(),
  tdxModuleIdentities: z
    .array(z.object({ id: z.string(), ...moduleExpectation, tcbLevels: levels(z.object({ isvsvn: u8 })) }))
    .max(256)
    .default([]),
  tcbLevels: levels(z.object({ sgxtcbcomponents: components, pcesvn: u16, tdxtcbcomponents: components.default([]) })),
});

type TcbInfoText = z.infer<typeof tcbInfoSchema>;
export type TcbLevel = TcbInfoText["tcbLevels"][number];
export type TdxModuleExpectation = NonNullable<TcbInfoText["tdxModule"]>;

export interface TcbInfo extends Omit<TcbInfoText, "issueDate" | "nextUpdate"> {
  /** Whole seconds since 1970, both ends inclusive. */
  readonly issueDate: number;
  readonly nextUpdate: number;
}

/** The levels come out from the highest down, so that the first which a platform reaches is its own. */
export function parseTcbInfo(text: string): TcbInfo {
  const info = decodeSigned(text, tcbInfoSchema, "TcbInfo");
  const issueDate = parseDate(info.issueDate, "Failed to parse TCB Info issue date");
  const nextUpdate = parseDate(info.nextUpdate, "Failed to parse TCB Info next update");
  return { ...info, tcbLevels: sortLevels(info.tcbLevels, info.id), issueDate, nextUpdate };
}

/** SGX components, PCE and, for a TDX platform, TDX components, each descending. Stable: of two that are equal the JSON's first stays first. */
function sortLevels(levels: readonly TcbLevel[], id: string): TcbLevel[] {
  return levels.toSorted(({ tcb: a }, { tcb: b }) => {
    const sgx = compareDescending(a.sgxtcbcomponents, b.sgxtcbcomponents) || b.pcesvn - a.pcesvn;
    return sgx || (id === "TDX" ? compareDescending(a.tdxtcbcomponents, b.tdxtcbcomponents) : 0);
  });
}

/** Lexicographic; of two lists that agree as far as both go the longer one is higher. */
function compareDescending(a: readonly number[], b: readonly number[]): number {
  const index = a.findIndex((svn, position) => svn !== b[position]);
  return index < 0 ? b.length - a.length : (b[index] ?? -1) - (a[index] ?? -1);
}
