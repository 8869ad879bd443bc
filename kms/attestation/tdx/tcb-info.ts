/** TCB info, Intel's judgement of every patch level of a platform: the inner object of `tcbInfo`, decoded from its signed text. */
import { z } from "zod";
import { decodeSigned, hexBytes, levels, parseDate, u8, u16, u32 } from "./signed-json.ts";

const component = z.object({ svn: u8 }).transform(({ svn }) => svn);
const components = z.array(component).max(16);

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

export function parseTcbInfo(text: string): TcbInfo {
  const info = decodeSigned(text, tcbInfoSchema, "TcbInfo");
  const issueDate = parseDate(info.issueDate, "Failed to parse TCB Info issue date");
  const nextUpdate = parseDate(info.nextUpdate, "Failed to parse TCB Info next update");
  return { ...info, issueDate, nextUpdate };
}
