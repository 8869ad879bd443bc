/** The command `get-keys`: gets an app's keys from a KMS with the evidence of the machine it runs on. */
import { existsSync } from "node:fs";
import { Command } from "commander";
import { createCollateralStore } from "../kms/attestation/tdx/collateral-store.ts";
import { DEFAULT_PCCS_URL } from "../kms/attestation/tdx/pccs.ts";
import { intelSgxRootCa, loadTrustAnchor } from "../kms/attestation/tdx/trust-anchor.ts";
import { createVerifier, type Verifier } from "../kms/attestation/verifier.ts";
import { toHex } from "../kms/bytes.ts";
import { agentAddress } from "../kms/config.ts";
import type { Code } from "../kms/errors.ts";
import { createGuestAgent } from "../kms/ra-tls/guest-agent.ts";
import { type KeyRelease, requestKeys } from "./get-keys-flow.ts";
import type { CommandResult } from "./lib/cli.ts";
import { parseHexOption, parseK256Option } from "./lib/hex-option.ts";
import { readInput } from "./lib/input-file.ts";
import { type ConnectionFlags, connectionOptions, rootCaOf, tunnelOf, tunnelTo } from "./lib/kms-connection.ts";
import { runProgram, type Work, withHints } from "./lib/program.ts";
import { proxiedFetch } from "./lib/proxied-fetch.ts";

const DESCRIPTION = `Get an app's keys from a KMS, as a guest does at boot.

The evidence comes from the guest agent of this machine. Both connections trust the given root CA alone; the server's leaf has to be a KMS's, and evidence in it has to verify.

The output holds the keys: send it where only their user reads.`;

const maxAnchorBytes = 64 * 1024;

const hints: Readonly<Partial<Record<Code, string>>> = {
  "unavailable.guest-agent": "pass --agent unix:/path or http://host:port; in a container, mount the agent's socket",
  "unavailable.kms": "is the KMS up, and does this machine need --proxy URL?",
  "unavailable.collateral": "pass --pccs URL of a collateral server that this machine reaches",
  "unproven.server-identity": "--root-ca has to be the root-ca.crt of this trust domain, and --k256-root its registered key",
  "unproven.platform-unsupported":
    "--dangerously-skip-server-evidence goes by --root-ca alone where the KMS is on another platform than TDX",
  "unproven.app-id": "--app-id has to be the app of this machine",
  "unproven.certificate-chain": "pass --tdx-root FILE if the KMS runs on another root, such as a simulator's",
  "denied.policy": "the app's owner allows it: ./run hardhat app allow-compose",
};

interface Flags extends ConnectionFlags {
  readonly appId: string;
  readonly k256Root?: string;
  readonly agent?: string;
  readonly pccs: string;
  readonly tdxRoot?: string;
  readonly dangerouslySkipServerEvidence?: true;
}

function createProgram(chosen: (work: Work) => void): Command {
  return connectionOptions(new Command("get-keys").description(DESCRIPTION))
    .requiredOption("--app-id <hex>", "the app, 20 bytes")
    .option("--k256-root <hex>", "the registered k256 root key, which has to have signed the app's key")
    .option("--agent <address>", "guest agent, unix:/path or http://host:port; default DSTACK_AGENT_ADDRESS, else its socket")
    .option("--pccs <url>", "collateral server for the evidence of the KMS", DEFAULT_PCCS_URL)
    .option("--tdx-root <file>", "trust anchor of that evidence, DER or PEM, in place of Intel's root")
    .option("--dangerously-skip-server-evidence", "do not verify the evidence of the KMS; its root CA alone decides")
    .option("--json", "one JSON document in one line, with `ok`")
    .action((flags: Flags) => chosen(() => withHints(hints, () => getKeys(flags))));
}

async function getKeys(flags: Flags): Promise<CommandResult> {
  const request = {
    kmsUrl: flags.kmsUrl,
    rootCaPem: await rootCaOf(flags),
    appId: parseHexOption(flags.appId, "--app-id", 20),
    k256Root: flags.k256Root === undefined ? undefined : parseK256Option(flags.k256Root, "--k256-root"),
  };
  const release = await requestKeys(request, {
    agent: createGuestAgent(addressOf(flags.agent)),
    verifier: flags.dangerouslySkipServerEvidence ? undefined : await verifierOf(flags),
    tunnel: tunnelOf(flags, process.env),
    now: () => new Date(),
  });
  const document = walkthroughDocument(release);
  const more = { gateway_app_id: release.keys.gateway_app_id, k256_root: `0x${toHex(release.issuer)}` };
  return { json: { ...document, ...more }, text: JSON.stringify(document, undefined, 2), notes: notesOn(release, flags) };
}

/** Field for field what existing scripts read: hex with 0x, PEM as it came. */
function walkthroughDocument({ keys }: KeyRelease) {
  return {
    ca_cert: keys.ca_cert,
    disk_crypt_key: `0x${keys.disk_crypt_key}`,
    env_crypt_key: `0x${keys.env_crypt_key}`,
    k256_key: `0x${keys.k256_key}`,
    k256_signature: `0x${keys.k256_signature}`,
  };
}

function notesOn({ issuer, isServerAttested }: KeyRelease, flags: Flags): string[] {
  const notes = [];
  if (!isServerAttested) notes.push("the KMS did not prove that it runs in a confidential VM; its root CA alone vouches for it");
  if (flags.k256Root === undefined)
    notes.push(`k256_key is signed by ${toHex(issuer)}; --k256-root compares it with the registered key`);
  return notes;
}

/** A bare path is a socket, as in the SDKs' own variable. */
function addressOf(option: string | undefined): string {
  const address = agentAddress(option ?? process.env["DSTACK_AGENT_ADDRESS"], existsSync);
  return address.startsWith("/") ? `unix:${address}` : address;
}

async function verifierOf({ pccs, tdxRoot, proxy }: Flags): Promise<Verifier> {
  const anchor = tdxRoot === undefined ? intelSgxRootCa : loadTrustAnchor(await readInput(tdxRoot, maxAnchorBytes));
  const now = () => new Date();
  const reach = proxiedFetch((url) => tunnelTo(url, proxy, process.env));
  return createVerifier({
    tdxRoot: anchor,
    collateral: createCollateralStore({ pccsUrl: pccs, anchor, now, fetch: reach }),
    now,
  });
}

await runProgram(createProgram, "./run get-keys --help");
