/** TCB statuses, their order from good to bad, and how two judgements merge. */

/** From the best to the worst; the worse of two wins. */
export const tcbStatuses = [
  "UpToDate",
  "SWHardeningNeeded",
  "ConfigurationNeeded",
  "ConfigurationAndSWHardeningNeeded",
  "OutOfDate",
  "OutOfDateConfigurationNeeded",
  "Revoked",
] as const;

export type TcbStatus = (typeof tcbStatuses)[number];

export interface Tcb {
  readonly status: TcbStatus;
  readonly advisoryIds: readonly string[];
}

/** The judgement of a level, spelled as Intel does. */
export function tcbOf(level: { readonly tcbStatus: TcbStatus; readonly advisoryIDs: readonly string[] }): Tcb {
  return { status: level.tcbStatus, advisoryIds: level.advisoryIDs };
}

/** The worse status; advisories of both, those of the first in front, each once. */
export function mergeTcb(first: Tcb, second: Tcb): Tcb {
  const worse = tcbStatuses.indexOf(second.status) > tcbStatuses.indexOf(first.status) ? second : first;
  return { status: worse.status, advisoryIds: [...new Set([...first.advisoryIds, ...second.advisoryIds])] };
}
