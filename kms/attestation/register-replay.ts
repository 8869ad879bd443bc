/** The launch registers of a TD against a log of its boot: which of them the log accounts for, and a refusal where it does not. */
import { equal, toHex } from "../bytes.ts";
import { KmsError } from "../errors.ts";
import { extend } from "./events.ts";
import { isAcpiEvent, type TdxEvent } from "./evidence.ts";
import type { TdReport10, TdReport15 } from "./tdx/report.ts";

const REGISTER_BYTES = 48;

type BootRegister = 0 | 1 | 2;

export type RegisterStanding =
  /** The events lead to the quoted value. */
  | "replayed"
  /** The log has no events of it, or only those that the form for certificates keeps. */
  | "not-in-log";

export type RegisterStandings = { readonly [K in `rtmr${BootRegister}`]: RegisterStanding };

type TdReport = TdReport10 | TdReport15;

/** The register after the events that name it, in the log's order: the firmware's registers take turns. */
export function replayRegister(eventLog: readonly TdxEvent[], register: number): Uint8Array {
  let value: Uint8Array = new Uint8Array(REGISTER_BYTES);
  for (const [index, event] of eventLog.entries()) {
    if (event.imr !== register) continue;
    if (event.digest.length !== REGISTER_BYTES) {
      const sizes = `need ${REGISTER_BYTES} bytes, have ${event.digest.length}`;
      throw new KmsError("malformed.event-log", `event log[${index}].digest: ${sizes}`);
    }
    value = extend(value, event.digest, "sha384");
  }
  return value;
}

/** A log in the evidence may be reduced; whatever register it has events of has to come out right. */
export function checkBootRegisters(report: TdReport, eventLog: readonly TdxEvent[]): RegisterStandings {
  return standings((register) => {
    const own = eventLog.filter(({ imr }) => imr === register);
    const isReduced = own.every(isAcpiEvent);
    return isReduced ? "not-in-log" : check(report, eventLog, register);
  });
}

/** The firmware's own log is whole: a register without events is zero. */
export function checkFirmwareLog(report: TdReport, firmwareLog: readonly TdxEvent[]): RegisterStandings {
  return standings((register) => check(report, firmwareLog, register));
}

function standings(standing: (register: BootRegister) => RegisterStanding): RegisterStandings {
  return { rtmr0: standing(0), rtmr1: standing(1), rtmr2: standing(2) };
}

function check(report: TdReport, eventLog: readonly TdxEvent[], register: BootRegister): "replayed" {
  const quoted = report[`rtmr${register}`];
  const replayed = replayRegister(eventLog, register);
  if (equal(quoted, replayed)) return "replayed";
  const values = `quoted: ${toHex(quoted)}, replayed: ${toHex(replayed)}`;
  throw new KmsError("unproven.event-log", `RTMR${register} mismatch, ${values}`);
}
