/** A log that keeps what it is told, so that tests can look and nothing is printed. */
import type { Log } from "../../kms/http/log.ts";

export interface LogLine {
  readonly level: "info" | "warn" | "error";
  readonly message: string;
  readonly fields: object;
}

export function silentLog(lines: LogLine[] = []): Log {
  const keep = (level: LogLine["level"]) => (fields: object, message: string) => {
    lines.push({ level, message, fields });
  };
  return { info: keep("info"), warn: keep("warn"), error: keep("error") };
}
