/** Settings of the admin service: off, or with at least one way to know the admin. */
import { createHash } from "node:crypto";
import type { Config } from "./config-schema.ts";

export interface AdminSettings {
  readonly address: string;
  readonly port: number;
  readonly tls: ServerTlsFiles | undefined;
  /** SHA-256 as hex, so that nothing which prints settings prints the token. */
  readonly tokenHash: string | undefined;
  readonly htpasswdFile: string | undefined;
  readonly noAuth: boolean;
}

/** For the listeners that speak plain HTTP unless told otherwise. */
export interface ServerTlsFiles {
  readonly keyFile: string;
  readonly certFile: string;
}

type Environment = Readonly<Record<string, string | undefined>>;
type AdminConfig = Config["core"]["admin"];

/** Below this many characters a token can be guessed over the network. */
const MIN_TOKEN_CHARACTERS = 16;

export function adminSettings(admin: AdminConfig, env: Environment, file: (path: string) => string): AdminSettings | undefined {
  if (!admin.enabled) return undefined;
  const token = adminToken(admin, env);
  return {
    address: admin.address,
    port: admin.port,
    tls: serverTlsFiles(admin.tls, file),
    tokenHash: token === "" ? undefined : createHash("sha256").update(token).digest("hex"),
    htpasswdFile: admin.htpasswd_file === "" ? undefined : file(admin.htpasswd_file),
    noAuth: admin.insecure_no_auth,
  };
}

export function serverTlsFiles(
  tls: { readonly key: string; readonly certs: string } | undefined,
  file: (path: string) => string,
): ServerTlsFiles | undefined {
  return tls === undefined ? undefined : { keyFile: file(tls.key), certFile: file(tls.certs) };
}

export function adminProblems(admin: AdminConfig, env: Environment): string[] {
  const isLocked = admin.insecure_no_auth || admin.htpasswd_file !== "" || adminToken(admin, env) !== "";
  if (!admin.enabled || isLocked) return [];
  const ways = "core.admin.auth_token, core.admin.htpasswd_file or DSTACK_KMS_ADMIN_TOKEN in the environment";
  return [`core.admin.enabled: needs a credential in ${ways}`];
}

/** Switches of the admin service that weaken something. */
export function adminWeaknesses(admin: AdminConfig, env: Environment): [boolean, string][] {
  const { length } = adminToken(admin, env);
  return [
    [admin.enabled && admin.insecure_no_auth, "core.admin.insecure_no_auth = true: everyone who reaches the listener is admin"],
    [
      admin.enabled && length > 0 && length < MIN_TOKEN_CHARACTERS,
      `core.admin: the token has ${length} characters, want at least ${MIN_TOKEN_CHARACTERS}`,
    ],
  ];
}

function adminToken(admin: AdminConfig, env: Environment): string {
  const configured = [admin.auth_token, env["DSTACK_KMS_ADMIN_TOKEN"], env["ADMIN_API_TOKEN"]];
  return configured.map((token) => (token ?? "").trim()).find((token) => token !== "") ?? "";
}
