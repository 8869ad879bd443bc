/** The address of the KMS whose keys are taken, as the operator or the onboard page writes it. */
import { KmsError } from "../errors.ts";

/** With or without `/prpc`, with or without slashes at the end; the RA-TLS client evens these out. */
export function parseSourceUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.hostname === "") {
    throw new KmsError("malformed.request", `source_url: need https://host[:port], have ${text.length} characters that are not`);
  }
  // the text is the wire's: whoever speaks no TLS has no certificate either
  if (url.protocol !== "https:") throw noCertificate();
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw new KmsError("malformed.request", "source_url: need https://host[:port] without credentials, query and fragment");
  }
  return `${url.origin}${url.pathname}`;
}

export function noCertificate(): KmsError {
  return new KmsError("unproven.server-identity", "Source KMS did not present a TLS certificate");
}
