/** The age file format around an archive: any of the recipients can open it, nobody can change it unnoticed. */
import { Decrypter, Encrypter } from "age-encryption";
import { KmsError } from "../errors.ts";

const maxRecipients = 20;
const identityLine = /^AGE-SECRET-KEY-(?:PQ-)?1[A-Z0-9]+$/;
const comment = /^\s*(?:#.*)?$/;

/** Recipients from arguments or the lines of a file, `#` begins a comment. */
export function parseRecipients(text: string): string[] {
  return text.split(/\r?\n/).filter((line) => !comment.test(line));
}

export async function encryptTo(recipients: readonly string[], plaintext: Uint8Array): Promise<Uint8Array> {
  const distinct = [...new Set(recipients)];
  if (distinct.length === 0 || distinct.length > maxRecipients) {
    throw new KmsError("malformed.usage", `need 1 to ${maxRecipients} recipients, have ${distinct.length}`);
  }
  const encrypter = new Encrypter();
  for (const recipient of distinct) addRecipient(encrypter, recipient);
  return encrypter.encrypt(plaintext);
}

function addRecipient(encrypter: Encrypter, recipient: string): void {
  // someone who pastes an identity here must not find it in a log
  if (!/^age1[a-z0-9]+$/.test(recipient)) throw new KmsError("malformed.usage", "recipient: need age1…, have something else");
  try {
    encrypter.addRecipient(recipient);
  } catch {
    throw new KmsError("malformed.usage", `recipient ${recipient.slice(0, 12)}…: is mistyped`);
  }
}

/** The file of `age-keygen`. The library takes identities as text, so these strings cannot be wiped. */
export function parseIdentities(text: string): string[] {
  const lines = text.split(/\r?\n/).filter((line) => !comment.test(line));
  if (lines.length > 0 && lines.every((line) => identityLine.test(line))) return lines;
  throw new KmsError("malformed.file", "identity file: need lines AGE-SECRET-KEY-1…, and comments");
}

export async function decryptWith(identities: readonly string[], ciphertext: Uint8Array): Promise<Uint8Array> {
  const decrypter = new Decrypter();
  try {
    for (const identity of identities) decrypter.addIdentity(identity);
  } catch {
    throw new KmsError("malformed.file", "identity file: an identity is mistyped"); // no cause: it may quote the line
  }
  try {
    return await decrypter.decrypt(ciphertext);
  } catch (cause) {
    throw new KmsError("malformed.backup", "backup: cannot be opened with these identities, or is damaged", { cause });
  }
}
