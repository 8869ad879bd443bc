/** The options by which a command reaches a KMS: URL, root certificate, proxy. */
import type { Command } from "commander";
import { createTunnel, type ProxyVariables, proxyFor, type Tunnel } from "../../kms/ra-tls/tunnel.ts";
import { usageError } from "./cli.ts";
import { readInputText } from "./input-file.ts";

const maxCertificateBytes = 64 * 1024;

export interface ConnectionFlags {
  readonly kmsUrl: string;
  readonly rootCa: string;
  readonly proxy?: string;
}

export function connectionOptions(command: Command): Command {
  return command
    .requiredOption("--kms-url <url>", "the KMS, https://host[:port]")
    .requiredOption("--root-ca <file>", "its root CA certificate, PEM")
    .option("--proxy <url>", "HTTP proxy to go through by CONNECT; default HTTPS_PROXY, unless NO_PROXY excepts the host");
}

export function rootCaOf({ rootCa }: ConnectionFlags): Promise<string> {
  return readInputText(rootCa, maxCertificateBytes);
}

/** The way to an https URL; undefined is the direct one. */
export function tunnelTo(url: URL, proxy: string | undefined, variables: ProxyVariables): Tunnel | undefined {
  const chosen = proxy ?? proxyFor(url, variables);
  return chosen === undefined ? undefined : createTunnel(chosen);
}

export function tunnelOf({ kmsUrl, proxy }: ConnectionFlags, variables: ProxyVariables): Tunnel | undefined {
  const url = URL.canParse(kmsUrl) ? new URL(kmsUrl) : undefined;
  if (url?.protocol === "https:") return tunnelTo(url, proxy, variables);
  throw usageError(`--kms-url: need https://host[:port], have ${kmsUrl}`, "a KMS that answers http only is not onboarded yet");
}
