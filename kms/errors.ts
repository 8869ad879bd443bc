/** The one error class of Keyward and its closed catalogue of codes. The family, the part before the dot, decides status, exit code and retry. */

export const families = {
  malformed: { status: 400, exit: 2 },
  unproven: { status: 401, exit: 3 },
  denied: { status: 403, exit: 4 },
  unavailable: { status: 503, exit: 5 },
  fault: { status: 500, exit: 1 },
} as const;

export type Family = keyof typeof families;

/** Every code there is, with the sentence that tells an operator what it means. */
export const codes = {
  // what a caller sent or an operator wrote cannot be read
  "malformed.usage": "the command line is wrong",
  "malformed.request": "the request does not have the shape that the method expects",
  "malformed.body-too-large": "the request body is over the limit",
  "malformed.method": "no such method",
  "malformed.hex": "text that should be hex is not",
  "malformed.length": "a value of fixed length has another length",
  "malformed.quote": "the quote does not have the layout of its version",
  "malformed.envelope": "the attestation envelope cannot be decoded",
  "malformed.event-log": "the event log cannot be decoded",
  "malformed.archive": "the image archive is not made of plain files, or is larger than allowed",
  "malformed.os-image": "the image does not hold the files that its manifest lists",
  "malformed.firmware": "the firmware has no TDX metadata that can be read",
  "malformed.kernel": "the kernel is not one that the loader and the firmware accept",
  "malformed.compose": "the app-compose file cannot be decoded",
  "malformed.vm-config": "the VM configuration cannot be decoded",
  "malformed.csr": "the certificate request cannot be decoded, or asks for what no certificate may say",
  "malformed.certificate": "the certificate cannot be decoded, or carries an extension twice",
  "malformed.collateral": "the collateral cannot be decoded",
  "malformed.key": "key material has the wrong form or is out of range",
  "malformed.signature": "the signature has the wrong form or recovers no key",
  "malformed.config": "the configuration has errors",
  "malformed.domain": "the domain is not a DNS name",
  "malformed.file": "a file cannot be read as what it should be",
  "malformed.backup": "the backup cannot be opened with these identities, or is damaged",
  "malformed.api-version": "the API version is not supported",

  // evidence does not prove what it claims
  "unproven.no-evidence": "the caller sent no attestation",
  "unproven.report-data": "the evidence is bound to something else",
  "unproven.qe-vendor": "the quoting enclave is not Intel's",
  "unproven.tee-type": "TEE type and quote version do not belong together",
  "unproven.key-type": "the attestation key type is not supported",
  "unproven.certificate-chain": "a certificate chain does not lead to the trust anchor",
  "unproven.certificate-revoked": "a certificate is revoked",
  "unproven.crl": "a revocation list is missing, forged or out of date",
  "unproven.collateral-expired": "collateral is outside its validity window",
  "unproven.collateral-signature": "collateral is not signed by its issuer",
  "unproven.collateral-older": "collateral is older than what was accepted before",
  "unproven.qe-identity": "the quoting enclave does not match its identity",
  "unproven.qe-report": "the quoting enclave's report is not signed by the platform",
  "unproven.quote-signature": "the quote is not signed by its attestation key",
  "unproven.platform": "quote and collateral describe different platforms",
  "unproven.tcb-level": "no TCB level matches the platform",
  "unproven.tcb-revoked": "the TCB of the platform is revoked",
  "unproven.tdx-module": "the TDX module does not match its identity",
  "unproven.debug": "the TD runs in debug mode",
  "unproven.td-attributes": "the TD attributes are not acceptable",
  "unproven.service-td": "a service TD is bound",
  "unproven.event-log": "the event log does not replay to the quoted register",
  "unproven.event-duplicate": "an event that says who the guest is occurs twice",
  "unproven.event-order": "the events of the boot are not in the order in which a guest writes them",
  "unproven.app-id": "the evidence names no 20-byte app id",
  "unproven.os-image": "the measurements are not those of the claimed OS image",
  "unproven.key-provider": "the key provider is not the one that the boot mode needs",
  "unproven.platform-unsupported": "evidence of this platform is not supported by this release",
  "unproven.server-identity": "the server is not the KMS it should be",
  "unproven.csr-signature": "the certificate request is not signed by the key it names",
  "unproven.root-keys": "the root keys of a KMS are not those registered in the contract",
  "unproven.env-key": "the environment key is not signed by the root key, or not lately",
  "unproven.registration": "the bootstrap information does not prove its keys",

  // the policy owner said no
  "denied.policy": "the policy does not allow this boot",
  "denied.self": "the policy does not allow this KMS",
  "denied.already-bootstrapped": "this KMS already has keys",
  "denied.keys-registered": "the contract has the root keys of a KMS, so no others may be made",
  "denied.no-keys-registered": "the contract has no root keys with which those of another KMS could be compared",
  "denied.folder-not-empty": "a backup is restored into an empty folder only",
  "denied.transaction": "the contract refuses the transaction",
  "denied.role": "the sender does not hold the role that the call needs",
  "denied.delay": "the call has a delay that is not over",
  "denied.expired": "the scheduled operation was not executed in time",
  "denied.not-scheduled": "no such operation is scheduled",
  "denied.already-scheduled": "the operation is scheduled already",
  "denied.upgrade": "the upgrade would not be safe, or is not the sender's",
  "denied.upgrade-layout": "the proxy does not keep its storage where this version expects it",
  "denied.release-gate": "key release to this platform is switched off",

  // something we depend on does not answer
  "unavailable.webhook": "the authorization webhook gives no usable answer",
  "unavailable.collateral": "collateral cannot be fetched",
  "unavailable.collateral-store": "another process writes to the collateral folder",
  "unavailable.os-image": "the OS image cannot be downloaded",
  "unavailable.acpi-tables": "no source of the ACPI digests of this machine is at hand",
  "unavailable.guest-agent": "the guest agent gives no usable answer",
  "unavailable.chain": "the chain gives no usable answer",
  "unavailable.kms": "the KMS gives no usable answer",
  "unavailable.key-store": "another process uses the certificate folder",
  "unavailable.overloaded": "too many requests are running",
  "unavailable.timeout": "the work takes longer than a caller waits",
  "unavailable.component": "a component of the stack ended or did not start",

  // ours to mend, or the operator's
  "fault.key-store": "the certificate folder is not in a usable state",
  "fault.collateral-store": "the collateral folder is not in a usable state",
  "fault.start": "the process cannot start",
  "fault.upgrade": "the upgrade changed more than the implementation",
  "fault.internal": "unexpected error",
} as const;

export type Code = keyof typeof codes;

/** A refusal or failure with a closed code. `cause` is for the log and never for the caller. */
export class KmsError extends Error {
  readonly code: Code;

  constructor(code: Code, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "KmsError";
    this.code = code;
  }

  get family(): Family {
    return familyOf(this.code);
  }
}

export function familyOf(code: Code): Family {
  return code.slice(0, code.indexOf(".")) as Family;
}

/** Anything thrown, as a KmsError: a foreign error becomes `fault.internal` and keeps its text in the cause only. */
export function asKmsError(thrown: unknown): KmsError {
  return thrown instanceof KmsError ? thrown : new KmsError("fault.internal", "internal error", { cause: thrown });
}

/** What the system, or a library of Node, says of a failure. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** The same error with context in front, as the reference joins it: outermost first, separated by `: `. */
export function inContext(context: string, thrown: unknown): KmsError {
  const inner = asKmsError(thrown);
  return new KmsError(inner.code, `${context}: ${inner.message}`, { cause: inner.cause ?? inner });
}
