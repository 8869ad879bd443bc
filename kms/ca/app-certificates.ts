/** The certificates of apps: the app's own CA under the root of the KMS, made anew each time, and the leaf that the app asked for. */
import { utf8 } from "../bytes.ts";
import { encodePkcs8, wipe } from "../keys/kdf.ts";
import type { RootKeys } from "../keys/root-keys.ts";
import { type AppInfo, encodeAppInfo } from "../ra-tls/app-info.ts";
import type { CsrConfig } from "../ra-tls/csr.ts";
import { oidOf, privateExtension } from "../ra-tls/extensions.ts";
import { issueCertificate, type PrivateExtension, type Signer, spkiOf } from "./profile.ts";

const caUsage = utf8("app:ca");
/** Never `kms:rpc`: by this mark clients tell a KMS from the apps that the same root certified. */
const leafUsage = utf8("app:custom");

export interface AppCertificateInput {
  readonly root: RootKeys;
  /** As stored: its subject becomes the issuer, byte for byte, and it ends the chain. */
  readonly rootCaCertPem: string;
  /** The app's CA key, derived from the root; the caller wipes it. */
  readonly appCaScalar: Uint8Array;
  readonly appId: Uint8Array;
  readonly spki: Uint8Array;
  readonly config: CsrConfig;
  readonly appInfo: AppInfo | undefined;
  /** The reduced envelope. */
  readonly evidence: Uint8Array | undefined;
  readonly now: Date;
}

/** Leaf, app CA, root. */
export async function issueAppChain(input: AppCertificateInput): Promise<string[]> {
  const pkcs8 = encodePkcs8(input.appCaScalar);
  try {
    const appCa = await issueAppCa(input, spkiOf(pkcs8));
    const leaf = await issueAppLeaf(input, { certificate: appCa, pkcs8 });
    return [leaf, appCa, input.rootCaCertPem];
  } finally {
    wipe(pkcs8);
  }
}

async function issueAppCa({ root, rootCaCertPem, appId, now }: AppCertificateInput, spki: Uint8Array): Promise<string> {
  const pkcs8 = encodePkcs8(root.caScalar);
  try {
    const extensions = [privateExtension(oidOf.appId, appId), privateExtension(oidOf.usage, caUsage)];
    const subject = { organization: "Dstack", commonName: "Dstack App CA" };
    return await issueCertificate({ subject, spki, pathLength: 0, extensions, now }, { certificate: rootCaCertPem, pkcs8 });
  } finally {
    wipe(pkcs8);
  }
}

function issueAppLeaf(input: AppCertificateInput, signer: Signer): Promise<string> {
  const { spki, config, now } = input;
  const { organization, subject, altNames, serverAuth, clientAuth, notBefore, notAfter } = config;
  const request = {
    subject: { commonName: subject, ...(organization === undefined ? {} : { organization }) },
    spki,
    altNames,
    purposes: [...(serverAuth ? (["serverAuth"] as const) : []), ...(clientAuth ? (["clientAuth"] as const) : [])],
    extensions: leafExtensions(input),
    now,
    ...(notBefore === undefined ? {} : { notBefore }),
    ...(notAfter === undefined ? {} : { notAfter }),
  };
  return issueCertificate(request, signer);
}

function leafExtensions({ appId, appInfo, evidence }: AppCertificateInput): PrivateExtension[] {
  return [
    privateExtension(oidOf.appId, appId),
    ...(appInfo === undefined ? [] : [privateExtension(oidOf.appInfo, encodeAppInfo(appInfo))]),
    privateExtension(oidOf.usage, leafUsage),
    ...(evidence === undefined ? [] : [privateExtension(oidOf.attestation, evidence)]),
  ];
}
