/** The flags of `./run start`. */
import { parseArgs } from "node:util";
import { KmsError } from "../kms/errors.ts";

export const usage = `usage: ./run start [--once] [--json] [--state-dir DIR] [--port-base N]

Starts a whole local stack, from an empty chain to a released app key, on a simulated TDX machine:
chain, contracts, simulated platform, auth-eth, KMS; then a line for each of twelve steps. Stays up until Ctrl-C.

  --once           end after the last step: exit 0, or the code of the failed step's family
  --json           one JSON document on stdout, words on stderr
  --state-dir DIR  keep keys, logs and journals in DIR, also after the end (default: a temporary folder that is removed);
                   what an earlier start left in DIR is replaced
  --port-base N    chain on N, collateral on N+1, auth-eth on N+2, KMS on N+3 (default 0: any free ports)
  -h, --help       print this

Everything here is a simulation: the keys protect nothing, and the JSON document contains them.
`;

export interface StartOptions {
  readonly once: boolean;
  readonly json: boolean;
  readonly stateDir: string | undefined;
  readonly ports: { readonly chain: number; readonly pccs: number; readonly auth: number; readonly kms: number };
}

const highestBase = 65_532;

/** Undefined means that help was asked for. */
export function parseStartOptions(argv: readonly string[]): StartOptions | undefined {
  const values = parse(argv);
  if (values.help === true) return undefined;
  if (values["state-dir"] === "") throw usageError("--state-dir: need a folder");
  const base = portBase(values["port-base"] ?? "0");
  const port = (offset: number) => (base === 0 ? 0 : base + offset);
  return {
    once: values.once === true,
    json: values.json === true,
    stateDir: values["state-dir"],
    ports: { chain: port(0), pccs: port(1), auth: port(2), kms: port(3) },
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        once: { type: "boolean" },
        json: { type: "boolean" },
        "state-dir": { type: "string" },
        "port-base": { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    }).values;
  } catch (cause) {
    throw usageError(cause instanceof Error ? cause.message : "unknown option");
  }
}

function portBase(text: string): number {
  const base = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (base <= highestBase) return base;
  throw usageError(`--port-base: need a number from 0 to ${highestBase}, have ${text}`);
}

function usageError(message: string): KmsError {
  return new KmsError("malformed.usage", message);
}
