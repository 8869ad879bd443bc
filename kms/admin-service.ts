/** The admin service beside the main one: its credentials, read before anything else starts, and its listener. */
import { readFile } from "node:fs/promises";
import type { ServerOptions } from "node:https";
import type { AdminSettings, ServerTlsFiles } from "./config-admin.ts";
import { KmsError } from "./errors.ts";
import { createAdminApp } from "./http/admin-app.ts";
import type { AdminCredentials } from "./http/admin-auth.ts";
import { parseHtpasswd } from "./http/htpasswd.ts";
import { type Listener, listen } from "./http/listeners.ts";
import type { Log } from "./http/log.ts";
import { createPasswordCheck } from "./http/password-check.ts";
import type { Rpc } from "./http/rpc.ts";

/** An admin and his tools, not a fleet. */
const CONNECTIONS = 64;

export interface AdminService {
  serve(rpcs: readonly Rpc[], log: Log): Promise<Listener>;
}

/** Undefined where the service is off. A file that cannot be used is an error here, before keys are made or served. */
export async function prepareAdminService(settings: AdminSettings | undefined): Promise<AdminService | undefined> {
  if (settings === undefined) return undefined;
  const credentials = await loadCredentials(settings);
  const tls = await loadServerTls(settings.tls, "core.admin.tls");
  const { address: hostname, port } = settings;
  return {
    serve(rpcs, log) {
      const app = createAdminApp({ rpcs, credentials, log });
      return listen(app, { hostname, port, log, limits: { connections: CONNECTIONS }, ...(tls === undefined ? {} : { tls }) });
    },
  };
}

async function loadCredentials({ noAuth, tokenHash, htpasswdFile }: AdminSettings): Promise<AdminCredentials> {
  if (htpasswdFile === undefined) return { noAuth, tokenHash, passwords: undefined };
  const bytes = await readFile(htpasswdFile).catch((cause: unknown) => {
    throw new KmsError("malformed.config", `core.admin.htpasswd_file: cannot read ${htpasswdFile}`, { cause });
  });
  const hashes = parseHtpasswd(new Uint8Array(bytes), htpasswdFile);
  return { noAuth, tokenHash, passwords: createPasswordCheck({ hashes, now: () => performance.now() }) };
}

/** TLS of a listener that asks for no client certificate. */
export async function loadServerTls(files: ServerTlsFiles | undefined, where: string): Promise<ServerOptions | undefined> {
  if (files === undefined) return undefined;
  try {
    const [key, cert] = await Promise.all([readFile(files.keyFile), readFile(files.certFile)]);
    return { key, cert, minVersion: "TLSv1.2" };
  } catch (cause) {
    throw new KmsError("malformed.config", `${where}: a file cannot be read`, { cause });
  }
}
