/** The command `compose`: hashes an app-compose file as guests do, and writes the KMS's own. */
import { Command, Option } from "commander";
import { composeHash, defaultAppId, MAX_COMPOSE_BYTES, parseCompose } from "../kms/attestation/compose.ts";
import { kmsManifest } from "../kms/attestation/compose-manifest.ts";
import { mrConfigIdV1 } from "../kms/attestation/mr-config.ts";
import { toHex } from "../kms/bytes.ts";
import { composeHashResult, type HashFlags, requireClean } from "./compose-hash.ts";
import { composeWarnings, warningText } from "./compose-lint.ts";
import type { CommandResult } from "./lib/cli.ts";
import { parseHexOption } from "./lib/hex-option.ts";
import { readInput, readInputText } from "./lib/input-file.ts";
import { type Occupied, writeOutput } from "./lib/output-file.ts";
import { runProgram, type Work } from "./lib/program.ts";

const HASH_DESCRIPTION = `Print the compose hash and what follows from it.

The hash is over the bytes of FILE as they are delivered to the guest: two files that differ in white space are different apps.
Images of the docker-compose file that are not named by digest can change under the same hash; they are pointed out on stderr.`;

const MANIFEST_DESCRIPTION = `Write the app-compose.json of a KMS whose disk is sealed by the local key provider.

The file has the form of the VMM client, so that its hash is the one the guest measures. Its key-provider event will name the
enclave that sealed the disk: pin it with --key-provider-id, and check it with ./run evidence key-provider.`;

interface ManifestFlags {
  readonly dockerCompose: string;
  readonly out: string;
  readonly name?: string;
  readonly keyProviderId?: string;
  readonly preLaunchScript?: string;
  readonly swapSize?: string;
  readonly eventLogVersion?: "1" | "2";
  readonly secureTime: boolean;
  readonly force?: true;
  readonly strict?: true;
}

function createProgram(chosen: (work: Work) => void): Command {
  const program = new Command("compose").description("Hash app-compose files, and write the KMS's own.");
  program
    .command("hash")
    .summary("print the compose hash, the app id and the hashes of both normal forms")
    .description(HASH_DESCRIPTION)
    .argument("<file>", "app-compose.json")
    .option("--app-id <hex>", "the app id, if one is given at deployment; default the first 20 bytes of the hash")
    .option("--expect <hash>", "refuse any other compose hash, and say whether only the spelling differs")
    .option("--strict", "refuse what is otherwise a warning")
    .option("--json", "one JSON document on stdout")
    .action((file: string, flags: HashFlags) =>
      chosen(async () => composeHashResult(await readInput(file, MAX_COMPOSE_BYTES), flags)),
    );
  program
    .command("manifest")
    .summary("write the KMS's own app-compose.json")
    .description(MANIFEST_DESCRIPTION)
    .requiredOption("--docker-compose <file>", "the docker-compose file of the KMS")
    .requiredOption("--out <file>", "where to write app-compose.json")
    .option("--name <name>", "name of the app", "kms")
    .option("--key-provider-id <hex>", "MRENCLAVE of the only key provider that the guest accepts")
    .option("--pre-launch-script <file>", "script that the guest runs before the containers")
    .option("--swap-size <size>", 'swap, such as "4G"')
    .addOption(new Option("--event-log-version <n>", "form of the events that the guest measures").choices(["1", "2"]))
    .option("--no-secure-time", "do not wait for authenticated time")
    .option("--force", "write over an existing file")
    .option("--strict", "refuse what is otherwise a warning")
    .option("--json", "one JSON document on stdout")
    .action((flags: ManifestFlags) => chosen(() => manifest(flags)));
  return program;
}

async function manifest(flags: ManifestFlags): Promise<CommandResult> {
  const file = kmsManifest({
    dockerComposeFile: await readInputText(flags.dockerCompose, MAX_COMPOSE_BYTES),
    secureTime: flags.secureTime,
    ...given("name", flags.name),
    ...given("keyProviderId", flags.keyProviderId && toHex(parseHexOption(flags.keyProviderId, "--key-provider-id", 32))),
    ...given("preLaunchScript", flags.preLaunchScript && (await readInputText(flags.preLaunchScript, MAX_COMPOSE_BYTES))),
    ...given("swapSize", flags.swapSize),
    ...given("eventLogVersion", flags.eventLogVersion === undefined ? undefined : flags.eventLogVersion === "2" ? 2 : 1),
  });
  const warnings = composeWarnings(parseCompose(file));
  if (flags.strict === true) requireClean(warnings);
  await writeOutput(flags.out, file, flags.force === true, occupied);
  const hash = composeHash(file);
  const report = {
    file: flags.out,
    composeHash: toHex(hash),
    appId: toHex(defaultAppId(hash)),
    mrConfigId: toHex(mrConfigIdV1(hash)),
  };
  const text = Object.entries(report).map(([name, value]) => `${name.padEnd(12)} ${value}`);
  return {
    json: { ...report, warnings },
    text: text.join("\n"),
    notes: warnings.map((warning) => `warning: ${warningText(warning)}`),
  };
}

function given<K extends string, V>(name: K, value: V | undefined): Partial<Record<K, V>> {
  return value === undefined ? {} : ({ [name]: value } as Record<K, V>);
}

/** The file that is deployed already is another app: losing it would lose what its hash stands for. */
const occupied: Occupied = { code: "malformed.file", problem: "exists already", hint: "pass --force to write over it" };

await runProgram(createProgram, "./run compose --help");
