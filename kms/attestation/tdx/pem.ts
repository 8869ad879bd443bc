/** PEM certificate lists as PCK chains and collateral carry them: text outside the blocks is ignored, their number is bounded. */
import { fromUtf8 } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";

/** A leaf, six intermediates and the root. */
export const MAX_CHAIN_CERTIFICATES = 8;
export const MAX_PEM_CHARACTERS = 128 * 1024;

const BEGIN = "-----BEGIN CERTIFICATE-----";
const END = "-----END CERTIFICATE-----";

/** Base64 of every certificate of a PEM text, in order and without line ends; not decoded yet. */
export function certificateTexts(pem: string): string[] {
  if (pem.length > MAX_PEM_CHARACTERS) throw refuse(`at most ${MAX_PEM_CHARACTERS} characters, have ${pem.length}`);
  const blocks = pem.split(BEGIN).slice(1);
  if (blocks.length > MAX_CHAIN_CERTIFICATES) {
    throw refuse(`at most ${MAX_CHAIN_CERTIFICATES} certificates, have ${blocks.length}`);
  }
  return blocks.map(textOfBlock);
}

/** DER from base64 that has no line ends and no second spelling. */
export function derFromBase64(base64: string): Uint8Array {
  const bytes = Buffer.from(base64, "base64");
  if (bytes.toString("base64") !== base64) throw refuse("a certificate block is not base64");
  return new Uint8Array(bytes);
}

/** The one certificate of a DER or PEM file; nothing but white space may follow. */
export function derFromPem(bytes: Uint8Array): Uint8Array {
  if (bytes[0] === 0x30) return bytes;
  const text = fromUtf8(bytes, "certificate", "malformed.certificate").trim();
  const [base64, ...more] = certificateTexts(text);
  if (base64 === undefined) throw refuse("neither DER nor PEM");
  if (more.length > 0) throw refuse("need one certificate, have more");
  if (!text.endsWith(END)) throw refuse("text after the certificate");
  return derFromBase64(base64);
}

function textOfBlock(block: string): string {
  const end = block.indexOf(END);
  if (end < 0) throw refuse("a certificate block does not end");
  return block.slice(0, end).replace(/[\r\n\t ]+/g, "");
}

function refuse(detail: string): KmsError {
  return new KmsError("malformed.certificate", `pem: ${detail}`);
}
