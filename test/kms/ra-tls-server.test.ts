/** The TLS server over real sockets, on both versions: who gets to a handler and who does not. */
import "reflect-metadata";
import { randomBytes } from "node:crypto";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { connect, type SecureVersion, TLSSocket } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { makeRootCa, makeRpcLeaf, makeTempCa } from "../../kms/ca/kms-certificates.ts";
import { type CertificateRequest, issueCertificate, spkiOf } from "../../kms/ca/profile.ts";
import { encodePkcs8, p256Spki } from "../../kms/keys/kdf.ts";
import { encodeKeyPem } from "../../kms/keys/key-pem.ts";
import { generateP256Scalar, generateRootKeys } from "../../kms/keys/root-keys.ts";
import { peerCertificateDer, refuseForeignCertificates, tlsServerOptions } from "../../kms/ra-tls/server.ts";

const random = (length: number) => new Uint8Array(randomBytes(length));
const now = new Date();
const day = 86_400_000;
const clientScalar = generateP256Scalar(random);
const clientKey = Buffer.from(encodeKeyPem(clientScalar));
const tempScalar = generateP256Scalar(random);
const foreignScalar = generateP256Scalar(random);

interface Ca {
  readonly pem: string;
  readonly scalar: Uint8Array;
}

let server: Server;
let port: number;
let rootPem: string;
let temp: Ca;
let foreign: Ca;
let otherName: Ca;
let handled: (Uint8Array | undefined)[] = [];

beforeAll(async () => {
  const root = generateRootKeys(random);
  const rpcScalar = generateP256Scalar(random);
  rootPem = await makeRootCa(root, now);
  temp = { scalar: tempScalar, pem: await makeTempCa(tempScalar, now) };
  foreign = { scalar: foreignScalar, pem: await makeTempCa(foreignScalar, now) };
  const pkcs8 = encodePkcs8(foreignScalar);
  const named = { subject: { commonName: "Other CA" }, spki: spkiOf(pkcs8), pathLength: 0 as const, now };
  otherName = { scalar: foreignScalar, pem: await issueCertificate(named, { certificate: "self", pkcs8 }) };
  const leaf = { root, rootCaCertPem: rootPem, rpcSpki: p256Spki(rpcScalar), domain: "kms.test", evidence: undefined, now };
  const tls = tlsServerOptions({ keyPem: encodeKeyPem(rpcScalar), certPem: await makeRpcLeaf(leaf), tempCaPem: temp.pem });
  server = createServer(tls, (request, response) => {
    handled.push(request.socket instanceof TLSSocket ? peerCertificateDer(request.socket) : undefined);
    response.end("reached");
  });
  refuseForeignCertificates(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as AddressInfo).port;
});

afterAll(() => new Promise((resolve) => server.close(resolve)));
beforeEach(() => {
  handled = [];
});

const leafOf = (ca: Ca, extra: Partial<CertificateRequest> = {}) => {
  const request = { subject: { commonName: "RA-TLS TEMP Cert" }, spki: p256Spki(clientScalar), now, ...extra };
  return issueCertificate(request, { certificate: ca.pem, pkcs8: encodePkcs8(ca.scalar) });
};
const selfSigned = () => {
  const pkcs8 = encodePkcs8(clientScalar);
  return issueCertificate({ subject: { commonName: "self" }, spki: spkiOf(pkcs8), now }, { certificate: "self", pkcs8 });
};

/** What comes back over one connection; empty when the server ends it. */
function get(version: SecureVersion, certificate: string | undefined): Promise<string> {
  const identity = certificate === undefined ? {} : { key: clientKey, cert: certificate };
  const trust = { ca: rootPem, servername: "kms.test", minVersion: version, maxVersion: version };
  return new Promise((resolve) => {
    let text = "";
    const socket = connect({ host: "127.0.0.1", port, ...trust, ...identity });
    socket.on("secureConnect", () => {
      expect(socket.authorized).toBe(true);
      socket.write("GET / HTTP/1.1\r\nHost: kms.test\r\nConnection: close\r\n\r\n");
    });
    socket.on("data", (chunk) => {
      text += chunk.toString();
    });
    socket.on("error", () => undefined).on("close", () => resolve(text));
  });
}

describe.each<SecureVersion>(["TLSv1.2", "TLSv1.3"])("on %s", (version) => {
  test("serves a caller without a certificate as anonymous", async () => {
    expect(await get(version, undefined)).toContain("reached");
    expect(handled).toEqual([undefined]);
  });

  test("hands a certificate of the temp CA to the handler", async () => {
    expect(await get(version, await leafOf(temp))).toContain("reached");
    expect(handled).toEqual([expect.any(Uint8Array)]);
  });

  test.each<[string, () => Promise<string>]>([
    ["another CA with the same name", () => leafOf(foreign)],
    ["another CA with another name", () => leafOf(otherName)],
    ["the temp CA that ended yesterday", () => leafOf(temp, { notAfter: new Date(now.getTime() - day) })],
    ["the temp CA that begins tomorrow", () => leafOf(temp, { notBefore: new Date(now.getTime() + day) })],
    ["the temp CA for servers only", () => leafOf(temp, { purposes: ["serverAuth"] })],
    ["nobody but itself", selfSigned],
  ])("ends the connection of a certificate of %s, and no handler runs", async (_name, certificate) => {
    expect(await get(version, await certificate())).not.toContain("reached");
    expect(handled).toEqual([]);
  });

  test("puts no evidence into a session ticket: what it gives is a short reference, or nothing", async () => {
    const evidence = { oid: "1.3.6.1.4.1.62397.1.8", value: new Uint8Array(20_000) };
    const identity = { key: clientKey, cert: await leafOf(temp, { extensions: [evidence] }) };
    const trust = { ca: rootPem, servername: "kms.test", minVersion: version, maxVersion: version };
    const socket = connect({ host: "127.0.0.1", port, ...trust, ...identity });
    const sizes: number[] = [];
    socket.on("session", () => sizes.push(socket.getTLSTicket()?.length ?? 0));
    await new Promise((resolve) => socket.once("secureConnect", resolve));
    socket.write("GET / HTTP/1.1\r\nHost: kms.test\r\nConnection: close\r\n\r\n");
    await new Promise((resolve) => socket.resume().once("close", resolve));
    expect(handled).toHaveLength(1);
    expect(Math.max(0, ...sizes)).toBeLessThanOrEqual(32);
  });
});

test("speaks nothing below TLS 1.2", async () => {
  const refused = new Promise<string>((resolve) => {
    connect({
      host: "127.0.0.1",
      port,
      rejectUnauthorized: false,
      minVersion: "TLSv1",
      maxVersion: "TLSv1.1",
      ciphers: "DEFAULT@SECLEVEL=0",
    })
      .on("error", (error) => resolve(error.message))
      .on("secureConnect", () => resolve("connected"));
  });
  expect(await refused).not.toBe("connected");
  expect(handled).toEqual([]);
});
