/** The rule for the DNS name a KMS is reached by, as bootstrap and the configuration check it. */
import { KmsError } from "./errors.ts";

const MAX_DOMAIN_BYTES = 253;
const LABEL = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;

/** Texts are the wire's: operators and the onboard page show them. */
export function parseDomain(text: string): string {
  const ascii = [...text].every((character) => character.charCodeAt(0) < 0x80);
  if (text.length === 0 || !ascii || text.length > MAX_DOMAIN_BYTES) {
    throw new KmsError("malformed.domain", `domain must be a non-empty ASCII DNS name of at most ${MAX_DOMAIN_BYTES} bytes`);
  }
  if (!text.split(".").every((label) => LABEL.test(label))) {
    throw new KmsError("malformed.domain", "domain contains an invalid DNS label");
  }
  return text;
}
