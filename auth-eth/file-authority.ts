/** Answers from a policy file, read anew for every request: a change counts at once, and a bad file allows nobody. */
import { constants, type FileHandle, open } from "node:fs/promises";
import { boundedReason } from "./api.ts";
import type { Authority, Deployment } from "./authority.ts";
import { decideByFile, type FilePolicy, filePolicySchema } from "./file-policy.ts";
import { UnavailableError } from "./unavailable.ts";

/** About fourteen thousand hashes: each request reads and parses it all. */
export const maxPolicyBytes = 1024 * 1024;
const maxLoggedProblems = 8;

export interface FileAuthoritySettings {
  readonly path: string;
  readonly log: { warn(fields: object, message: string): void };
}

/** The contract's address is the file's to name, and may change with it. */
export interface FileDeployment extends Deployment {
  readonly kmsContractAddr: string;
}

export interface FileAuthority extends Authority {
  deployment(): Promise<FileDeployment>;
  /** Throws unless the file can be used now; there is no block to name. */
  ready(): Promise<undefined>;
}

export function createFileAuthority(settings: FileAuthoritySettings): FileAuthority {
  return {
    async decide(kind, boot) {
      return decideByFile(await loadPolicy(settings), kind, boot);
    },
    /** Unlike a decision a description needs no policy: where there is none it gives the defaults, as readers of this file do. */
    async deployment() {
      const { gatewayAppId, kmsContractAddr, chainId, appImplementation } = await loadPolicy(settings).catch(() =>
        filePolicySchema.parse({}),
      );
      return { gatewayAppId, kmsContractAddr, chainId, appImplementation }; // no kmsInfo: a file registers no keys
    },
    async ready() {
      await loadPolicy(settings);
      return undefined;
    },
  };
}

class PolicyProblem extends Error {
  readonly problems: readonly string[];

  constructor(...problems: string[]) {
    super("policy file refused");
    this.problems = problems;
  }
}

/**
 * Other readers of this format take a bad file for an empty one and deny in the policy's words. It refuses here too, in the
 * words of an outage: nobody decided anything, and the operator, not the policy's owner, must act.
 */
async function loadPolicy({ path, log }: FileAuthoritySettings): Promise<FilePolicy> {
  try {
    return parsePolicy(await readRegularFile(path));
  } catch (cause) {
    const problems = cause instanceof PolicyProblem ? cause.problems : [`cannot be read: ${systemCode(cause)}`];
    log.warn({ path, problems }, "policy file refused");
    throw new UnavailableError("policy-file", { cause });
  }
}

/** Symbolic links are followed, as mounted configuration needs them; a pipe or a device might never end. */
async function readRegularFile(path: string): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const status = await file.stat();
    if (!status.isFile()) throw new PolicyProblem("not a regular file");
    if (status.size > maxPolicyBytes) throw new PolicyProblem(`need at most ${maxPolicyBytes} bytes, have ${status.size}`);
    return await readWhole(file, status.size);
  } finally {
    await file.close();
  }
}

async function readWhole(file: FileHandle, size: number): Promise<Buffer> {
  const buffer = Buffer.alloc(size + 1); // the byte more shows a file that grew meanwhile
  let length = 0;
  while (length < buffer.length) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  if (length !== size) throw new PolicyProblem("changed while it was read: replace it by renaming a new file over it");
  return buffer.subarray(0, size);
}

function parsePolicy(bytes: Uint8Array): FilePolicy {
  const parsed = filePolicySchema.safeParse(parseJson(bytes));
  if (parsed.success) return parsed.data;
  const { issues } = parsed.error;
  const problems = issues.slice(0, maxLoggedProblems).map(({ path, message }) => boundedReason(`${path.join(".")}: ${message}`));
  const more = issues.length - problems.length;
  throw new PolicyProblem(...problems, ...(more > 0 ? [`and ${more} more`] : []));
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new PolicyProblem("not JSON in UTF-8"); // the parser's own words quote the file
  }
}

function systemCode(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : "unexpected";
}
