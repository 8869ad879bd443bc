/** A log whose every line of one request carries that request's id, whoever writes it. */
import { AsyncLocalStorage } from "node:async_hooks";
import { randomUUID } from "node:crypto";

export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface RequestLog extends Log {
  within<T>(requestId: string, work: () => T): T;
}

export function createRequestLog(sink: Log): RequestLog {
  const current = new AsyncLocalStorage<{ readonly requestId: string }>();
  const withId = (fields: object): object => ({ ...current.getStore(), ...fields });
  return {
    info: (fields, message) => sink.info(withId(fields), message),
    warn: (fields, message) => sink.warn(withId(fields), message),
    within: (requestId, work) => current.run({ requestId }, work),
  };
}

/** A caller's id is taken where it cannot forge a log line or fill the disk. */
export function requestIdOf(offered: string | undefined): string {
  return offered !== undefined && /^[A-Za-z0-9._-]{1,64}$/.test(offered) ? offered : randomUUID();
}
