/** The TLS side of the main listener: a client certificate is asked for, not demanded, and one that is not of the temp CA ends the connection. */
import { constants } from "node:crypto";
import type { Server, ServerOptions } from "node:https";
import type { TLSSocket } from "node:tls";

export interface TlsServerInput {
  /** PKCS#8 PEM. */
  readonly keyPem: Uint8Array;
  readonly certPem: string;
  readonly tempCaPem: string;
}

/**
 * Session tickets would carry the client certificate, tens of kilobytes of evidence, in every connection; renegotiation could exchange
 * the certificate of a connection after it was looked at.
 */
const secureOptions = constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION;

export function tlsServerOptions({ keyPem, certPem, tempCaPem }: TlsServerInput): ServerOptions {
  return {
    key: Buffer.from(keyPem),
    cert: certPem,
    ca: [tempCaPem],
    requestCert: true,
    rejectUnauthorized: false, // true would refuse anonymous callers; refuseForeignCertificates does the rest
    minVersion: "TLSv1.2",
    maxVersion: "TLSv1.3",
    secureOptions,
  };
}

/** Must be called before the server listens. On TLS 1.3 Node hands over a connection whose client certificate did not verify. */
export function refuseForeignCertificates(server: Server, onRefused?: () => void): void {
  server.prependListener("secureConnection", (socket: TLSSocket) => {
    if (socket.authorized || socket.getPeerX509Certificate() === undefined) return;
    socket.destroy();
    onRefused?.();
  });
}

/** The client's leaf, only where it verified under the temp CA. That authenticates nobody; the evidence inside does. */
export function peerCertificateDer(socket: TLSSocket): Uint8Array | undefined {
  const certificate = socket.authorized ? socket.getPeerX509Certificate() : undefined;
  return certificate === undefined ? undefined : new Uint8Array(certificate.raw);
}
