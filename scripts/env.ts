/** The command `env`: encrypts an app's environment so that only the app's confidential VM reads it, and decrypts with the app's key. */
import { randomBytes } from "node:crypto";
import { open, stat, writeFile } from "node:fs/promises";
import { Command } from "commander";
import { fromHex, fromUtf8, toHex, utf8 } from "../kms/bytes.ts";
import { type Code, KmsError } from "../kms/errors.ts";
import { createRaTlsClient, needKmsUsage } from "../kms/ra-tls/client.ts";
import { type CommandResult, usageError } from "./lib/cli.ts";
import { maxSealedBytes, openEnv, sealEnv } from "./lib/env-cipher.ts";
import { encodeEnv, parseEnv, parseEnvJson } from "./lib/env-document.ts";
import { verifyEnvKey } from "./lib/env-key.ts";
import { parseHexOption, parseK256Option } from "./lib/hex-option.ts";
import { readInput, readInputText } from "./lib/input-file.ts";
import { rootCaOf, tunnelOf } from "./lib/kms-connection.ts";
import { runProgram, type Work, withHints } from "./lib/program.ts";

const maxInputBytes = 4 * 1024 * 1024;

const hints: Readonly<Partial<Record<Code, string>>> = {
  "unproven.env-key": "--k256-root is the contract's k256Pubkey; ask the KMS anew, and check this machine's clock",
  "unproven.server-identity": "--root-ca has to be the root-ca.crt of this trust domain",
  "unavailable.kms": "is the KMS up, and does this machine need --proxy URL?",
  "malformed.key": "--key names the output of get-keys, an .appkeys.json, or the env_crypt_key alone",
};

interface EncryptFlags {
  readonly appId: string;
  readonly k256Root: string;
  readonly kmsUrl?: string;
  readonly rootCa?: string;
  readonly proxy?: string;
  readonly answer?: string;
  readonly dangerouslyAcceptUntimedSignature?: true;
  readonly out?: string;
}

interface DecryptFlags {
  readonly key: string;
  readonly out?: string;
}

function createProgram(chosen: (work: Work) => void): Command {
  const program = new Command("env").description("Encrypt and decrypt the environment of an app.");
  program
    .command("encrypt")
    .summary("encrypt a .env file or JSON to an app")
    .description("Ask the KMS for the app's environment key, check who signed it and when, and encrypt to it. Prints hex.")
    .argument("<file>", 'lines of NAME=VALUE, or JSON: {"NAME":"VALUE"} or {"env":[{"key":"NAME","value":"VALUE"}]}')
    .requiredOption("--app-id <hex>", "the app, 20 bytes")
    .requiredOption("--k256-root <hex>", "the registered k256 root key, which has to have signed the environment key")
    .option("--kms-url <url>", "the KMS, https://host[:port]")
    .option("--root-ca <file>", "its root CA certificate, PEM")
    .option("--proxy <url>", "HTTP proxy to go through by CONNECT; default HTTPS_PROXY, unless NO_PROXY excepts the host")
    .option("--answer <file>", "in place of --kms-url: an answer of GetAppEnvEncryptPubKey, JSON, that somebody passed on")
    .option("--dangerously-accept-untimed-signature", "take the answer of a KMS before 0.5.6, which may be a replay")
    .option("--out <file>", "write the bytes there and print no hex")
    .option("--json", "one JSON document on stdout")
    .action((file: string, flags: EncryptFlags) => chosen(() => withHints(hints, () => encrypt(file, flags))));
  program
    .command("decrypt")
    .summary("decrypt with the app's env_crypt_key")
    .description("Decrypt an environment, bytes or hex. The output holds its secrets.")
    .argument("<file>", "what encrypt, or an SDK, wrote")
    .requiredOption("--key <file>", "env_crypt_key: hex, or JSON that has it, such as the output of get-keys")
    .option("--out <file>", "write to a new file that only its owner reads")
    .option("--json", "one JSON document on stdout")
    .action((file: string, flags: DecryptFlags) => chosen(() => withHints(hints, () => decrypt(file, flags))));
  return program;
}

async function encrypt(file: string, flags: EncryptFlags): Promise<CommandResult> {
  const appId = parseHexOption(flags.appId, "--app-id", 20);
  const k256Root = parseK256Option(flags.k256Root, "--k256-root");
  const items = parseEnv(await readInputText(file, maxInputBytes), file);
  const acceptUntimed = flags.dangerouslyAcceptUntimedSignature === true;
  const publicKey = verifyEnvKey(await answerFor(flags, appId), { appId, k256Root, now: new Date(), acceptUntimed });
  const sealed = sealEnv(encodeEnv(items), publicKey, (length) => new Uint8Array(randomBytes(length)));
  if (flags.out !== undefined) await writeFile(flags.out, sealed);
  const json = { variables: items.length, publicKey: toHex(publicKey), encryptedEnv: toHex(sealed) };
  return { json, text: flags.out === undefined ? json.encryptedEnv : `${items.length} variables encrypted to ${flags.out}` };
}

async function answerFor({ kmsUrl, rootCa, proxy, answer }: EncryptFlags, appId: Uint8Array): Promise<unknown> {
  if (answer !== undefined && kmsUrl === undefined) return readJson(answer);
  if (answer !== undefined || kmsUrl === undefined || rootCa === undefined) {
    throw usageError("need --kms-url with --root-ca, or --answer", "./run env encrypt --help");
  }
  const flags = { kmsUrl, rootCa, ...(proxy === undefined ? {} : { proxy }) };
  const rootCaPem = await rootCaOf(flags);
  const settings = { baseUrl: kmsUrl, rootCaPem, checkServer: needKmsUsage, tunnel: tunnelOf(flags, process.env) };
  return createRaTlsClient(settings).call("GetAppEnvEncryptPubKey", { app_id: toHex(appId) });
}

async function decrypt(file: string, flags: DecryptFlags): Promise<CommandResult> {
  const plaintext = openEnv(await sealedFrom(file), await keyFrom(flags.key));
  const env = parseEnvJson(fromUtf8(plaintext, "decrypted environment", "malformed.file"), "decrypted environment");
  const text = JSON.stringify({ env });
  const notes = (await isOpenToOthers(flags.key)) ? [`${flags.key} can be read by others of this machine: chmod 600 it`] : [];
  if (flags.out === undefined) return { json: { env }, text, notes };
  await writeSecret(flags.out, text);
  const done = { variables: env.length, out: flags.out };
  return { json: done, text: `${env.length} variables decrypted to ${flags.out}`, notes };
}

/** Bytes as guests read them, or the hex that SDKs hand over. */
async function sealedFrom(file: string): Promise<Uint8Array> {
  const bytes = await readInput(file, 2 * maxSealedBytes + 16);
  const text = Buffer.from(bytes).toString("latin1").trim().replace(/^0x/, "");
  return /^(?:[0-9a-fA-F]{2})+$/.test(text) ? fromHex(text, file) : bytes;
}

/** From a file and never from the command line, which other users of the machine can read. */
async function keyFrom(file: string): Promise<Uint8Array> {
  const text = (await readInputText(file, maxInputBytes)).trim();
  const held: unknown = text.startsWith("{") ? envCryptKeyOf(parseJson(text, file)) : text;
  const digits = typeof held === "string" ? /^(?:0x)?([0-9a-fA-F]{64})$/.exec(held)?.[1] : undefined;
  if (digits === undefined) throw new KmsError("malformed.key", `${file}: need an env_crypt_key of 32 bytes in hex`);
  return fromHex(digits, file, 32);
}

function envCryptKeyOf(document: unknown): unknown {
  return typeof document === "object" && document !== null ? new Map(Object.entries(document)).get("env_crypt_key") : undefined;
}

async function readJson(file: string): Promise<unknown> {
  return parseJson(await readInputText(file, maxInputBytes), file);
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new KmsError("malformed.file", `${file}: not JSON, ${text.length} characters`); // no cause: it may quote a key
  }
}

async function isOpenToOthers(path: string): Promise<boolean> {
  return ((await stat(path)).mode & 0o077) !== 0;
}

async function writeSecret(path: string, text: string): Promise<void> {
  const file = await open(path, "wx", 0o600).catch((cause: unknown) => {
    throw new KmsError("malformed.file", `${path}: need a new file, this one exists or cannot be made`, { cause });
  });
  try {
    await file.writeFile(utf8(`${text}\n`));
  } finally {
    await file.close();
  }
}

await runProgram(createProgram, "./run env --help");
