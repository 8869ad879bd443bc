/** The htpasswd file of the admin service: user names and bcrypt hashes, nothing else. */
import { fromUtf8 } from "../bytes.ts";
import { KmsError } from "../errors.ts";

/** By user. */
export type PasswordHashes = ReadonlyMap<string, string>;

const MAX_USERS = 1_000;
/** Each step doubles the work that a stranger can ask for: 14 is a second and a half. */
export const MAX_COST = 14;
const BCRYPT = /^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$/;
const MIN_COST = 4;

/** Blank lines and lines with `#` in front are skipped; any other line that is not bcrypt is an error, as is a file without users. */
export function parseHtpasswd(bytes: Uint8Array, file: string): PasswordHashes {
  const hashes = new Map<string, string>();
  for (const [index, line] of fromUtf8(bytes, file, "malformed.config").split(/\r?\n/).entries()) {
    if (line.trim() === "" || line.trimStart().startsWith("#")) continue;
    const where = `${file}, line ${index + 1}`;
    const { user, hash } = parseLine(line.trim(), where);
    if (hashes.has(user)) throw wrong(`${where}: the user stands in the file twice`);
    hashes.set(user, hash);
    if (hashes.size > MAX_USERS) throw wrong(`${file}: need at most ${MAX_USERS} users`);
  }
  if (hashes.size === 0) throw wrong(`${file}: has no users; add one with: htpasswd -nB NAME`);
  return hashes;
}

function parseLine(line: string, where: string): { user: string; hash: string } {
  const colon = line.indexOf(":");
  const hash = line.slice(colon + 1);
  const cost = BCRYPT.exec(hash)?.[1];
  if (colon < 1 || cost === undefined) throw wrong(`${where}: need user:hash with a bcrypt hash, as htpasswd -nB NAME prints it`);
  if (Number(cost) < MIN_COST || Number(cost) > MAX_COST) {
    throw wrong(`${where}: need a bcrypt cost from ${MIN_COST} to ${MAX_COST}, have ${Number(cost)}`);
  }
  return { user: line.slice(0, colon), hash };
}

function wrong(message: string): KmsError {
  return new KmsError("malformed.config", message);
}
