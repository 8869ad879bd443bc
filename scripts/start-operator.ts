/** The operator's part of the stack: the Hardhat tasks an owner runs, each as its own process, and the owner's view of the chain. */
import { join } from "node:path";
import { createPublicClient, http } from "viem";
import { z } from "zod";
import { fromHex, toHex } from "../kms/bytes.ts";
import { type Code, codes, KmsError } from "../kms/errors.ts";
import { issuerOf } from "./lib/app-keys.ts";
import { kmsAuthAbi } from "./lib/governance-abi.ts";
import type { Components } from "./start-components.ts";
import type { Deployment } from "./start-deploy.ts";
import type { AppKeys } from "./start-kms-calls.ts";

/** One `hardhat` command line, `--network localhost --json` added; gives the JSON that it prints. */
export type Operator = (...words: readonly string[]) => Promise<unknown>;

const hardhat = join(import.meta.dirname, "..", "node_modules", "hardhat", "dist", "src", "cli.js");
const codeSchema = z.string().refine((text): text is Code => Object.hasOwn(codes, text));
const refusalSchema = z.object({ ok: z.literal(false), code: codeSchema, message: z.string() });
const createdSchema = z.object({ appId: z.string() });

export function createOperator(components: Components, rpcUrl: string, kmsAuth: string): Operator {
  const env = { KEYWARD_LOCALHOST_RPC_URL: rpcUrl, KMS_CONTRACT_ADDR: kmsAuth };
  return async (...words) => {
    const name = `operator ${words.slice(0, 2).join(" ")}`;
    const ended = await components.run({ name, args: [hardhat, "--network", "localhost", ...words, "--json"], env });
    const line = ended.output.split("\n").findLast((text) => text.startsWith("{"));
    const answer = line === undefined ? undefined : JSON.parse(line);
    const refusal = refusalSchema.safeParse(answer);
    if (refusal.success) throw new KmsError(refusal.data.code, `${name}: ${refusal.data.message}`);
    if (!ended.isSuccess || answer === undefined) throw new KmsError("unavailable.component", `${name} failed: ${ended.how}`);
    return answer;
  };
}

export async function createApp(operator: Operator): Promise<`0x${string}`> {
  const { appId } = createdSchema.parse(await operator("app", "create", "--allow-any-device"));
  return `0x${appId.replace(/^0x/, "").toLowerCase()}`;
}

/** The k256 root key as the chain has it. */
export async function registeredK256Key(rpcUrl: string, { kmsAuth }: Deployment): Promise<string> {
  const client = createPublicClient({ transport: http(rpcUrl), cacheTime: 0 });
  const [k256Pubkey] = await client.readContract({ address: kmsAuth, abi: kmsAuthAbi, functionName: "kmsInfo" });
  return k256Pubkey.slice(2);
}

/** From the released key up to the chain: the app key's signature must recover to the registered root key. */
export function checkSignatureChain(keys: AppKeys, appId: string, registered: string): void {
  if (toHex(issuerOf(keys, fromHex(appId, "app id", 20))) !== registered) {
    throw new KmsError("unproven.server-identity", "the app key is not signed by the root key on the chain");
  }
}
