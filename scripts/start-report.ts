/** What a run tells: a line a step, the JSON document, the failure, and what to try next. */
import { z } from "zod";
import { asKmsError, type Code, KmsError } from "../kms/errors.ts";
import type { State } from "./start-state.ts";
import type { Outcome } from "./start-steps.ts";

/** Runs one numbered step, times it and tells its end. */
export type Step = <T>(number: number, name: string, done: string, work: () => Promise<T>) => Promise<T>;

export interface Failure {
  readonly step: number;
  readonly code: Code;
  readonly message: string;
}

export class Report {
  readonly timingsMs: Record<string, number> = {};
  readonly #say: (line: string) => void;
  readonly #json: boolean;
  #current = { number: 0, name: "start", startedAt: 0 };

  constructor(json: boolean) {
    this.#json = json;
    const stream = json ? process.stderr : process.stdout;
    this.#say = (line) => void stream.write(`${line}\n`);
  }

  readonly step: Step = async (number, name, done, work) => {
    this.#current = { number, name, startedAt: performance.now() };
    const result = await work();
    const ms = Math.round(performance.now() - this.#current.startedAt);
    this.timingsMs[name] = ms;
    this.#say(`✔ ${String(number).padStart(2)}  ${done.padEnd(64)} ${seconds(ms)}`);
    return result;
  };

  say(line: string): void {
    this.#say(line);
  }

  succeed(outcome: Outcome, state: State): void {
    if (this.#json) process.stdout.write(`${JSON.stringify(this.#document(outcome, state))}\n`);
  }

  /** The run's failure, told to people and, before the document is out, to machines. */
  fail(thrown: unknown, documentIsOut: boolean): Failure {
    const error = describe(thrown);
    const { number, name } = this.#current;
    process.stderr.write(documentIsOut ? "✘ " : `✘ ${String(number).padStart(2)}  ${name}: `);
    process.stderr.write(`${error.message} (${error.code})\n`);
    if (error.code === "fault.internal" && error.cause instanceof Error) process.stderr.write(`${error.cause.stack}\n`);
    const failure = { step: number, code: error.code, message: error.message };
    if (this.#json && !documentIsOut) process.stdout.write(`${JSON.stringify({ ok: false, ...failure })}\n`);
    return failure;
  }

  #document(outcome: Outcome, state: State): object {
    const { deployment, app, kms } = outcome;
    return {
      ok: true,
      notice: "a simulation: its trust anchor is not Intel's, and the keys in this document protect nothing",
      chainId: deployment.chainId,
      rpcUrl: outcome.rpcUrl,
      kmsAuth: deployment.kmsAuth,
      appImplementation: deployment.appImplementation,
      authUrl: outcome.authUrl,
      kmsUrl: outcome.kmsUrl,
      caCertFile: outcome.caCertFile,
      certDir: state.certDir,
      bootstrapInfoFile: state.bootstrapInfoFile,
      kms: { ...kms, k256Pubkey: outcome.bootstrapInfo.k256_pubkey },
      app: { appId: app.appId, instanceId: app.instanceId, composeHash: app.composeHash, keys: app.keys },
      refusals: outcome.refusals,
      timingsMs: this.timingsMs,
    };
  }
}

export function whatToTryNext(outcome: Outcome, state: State): string {
  const { deployment, app } = outcome;
  return `
The stack is up. It is a simulation: its keys protect nothing.

  chain     ${outcome.rpcUrl}   KmsAuth ${deployment.kmsAuth}
  auth-eth  ${outcome.authUrl}
  KMS       ${outcome.kmsUrl}   app id ${app.appId}
  state     ${state.dir}

Try:
  curl --cacert ${outcome.caCertFile} '${outcome.kmsUrl}/prpc/KMS.GetMeta?json'
  curl --cacert ${outcome.caCertFile} '${outcome.kmsUrl}/prpc/KMS.GetAppEnvEncryptPubKey?app_id=${app.appId}'
  curl ${outcome.authUrl}/
  curl --unix-socket ${state.appSocket} http://guest/Info
  KEYWARD_LOCALHOST_RPC_URL=${outcome.rpcUrl} ./run hardhat --network localhost app allow-compose ${app.composeHash} --app 0x${app.appId}
  ./run get-keys --kms-url ${outcome.kmsUrl} --root-ca ${outcome.caCertFile} --app-id 0x${app.appId} \\
    --agent unix:${state.appSocket} --tdx-root ${state.rootFile} --pccs ${outcome.pccsUrl}   # once the compose hash is allowed again

Ctrl-C stops everything${state.isKept ? "." : " and removes the state."}`;
}

/** Errors of a library have no code; their first line is all that helps here. */
function describe(thrown: unknown): KmsError {
  if (thrown instanceof KmsError || !(thrown instanceof Error)) return asKmsError(thrown);
  if (thrown instanceof z.ZodError) {
    const fields = thrown.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
    return new KmsError("unavailable.component", `an answer does not have its form: ${fields.join("; ")}`, { cause: thrown });
  }
  return new KmsError("fault.internal", thrown.message.split("\n", 1)[0] ?? "unexpected error", { cause: thrown });
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2).padStart(6)} s`;
}
