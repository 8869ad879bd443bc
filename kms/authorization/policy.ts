/** The owner's policy as the webhook answers it; a denial and an answer that could not be had are kept apart. */
import { type AuthClient, AuthClientError, type BootResponse } from "../../auth-eth/api.ts";
import { type BootInfo, type BootInfoHex, bootInfoHex } from "../attestation/boot-info.ts";
import { KmsError } from "../errors.ts";
import type { Role } from "./authorized-boot.ts";

export type Decision =
  | { readonly allowed: true; readonly gatewayAppId: string }
  | { readonly allowed: false; readonly reason: string; readonly unavailable: boolean };

/** Public root keys as lower-case hex. They are compared only: a form that no key has is simply another key. */
export interface RegisteredKeys {
  readonly k256Pubkey: string;
  readonly caPubkey: string;
}

export interface PolicyInfo {
  readonly isDev: boolean;
  readonly gatewayAppId: string;
  readonly kmsContractAddress: string | undefined;
  readonly chainId: bigint | undefined;
  readonly appImplementation: string | undefined;
  readonly ethRpcUrl: string | undefined;
  /** What the contract has; null while it has none; undefined where the webhook does not say. */
  readonly registeredKeys: RegisteredKeys | null | undefined;
}

export interface Policy {
  ask(role: Role, info: BootInfo): Promise<Decision>;
  info(): Promise<PolicyInfo>;
}

/** What webhooks answer, with status 200, when they cannot read the chain: all there is to see where they give no code. */
const UNAVAILABLE_REASON = "authorization backend unavailable";

export function createWebhookPolicy(client: AuthClient): Policy {
  /** Questions as they are written, never answers: a known caller's is asked again at every release. */
  const questions = new WeakMap<BootInfo, BootInfoHex>();
  return {
    async ask(role, info) {
      const question = questions.get(info) ?? bootInfoHex(info);
      questions.set(info, question);
      return decisionOf(await asked(client.boot(role, question)));
    },
    async info() {
      const info = await asked(client.info());
      return {
        isDev: false,
        gatewayAppId: info.gatewayAppId,
        kmsContractAddress: info.kmsContractAddr,
        chainId: BigInt(info.chainId),
        appImplementation: info.appImplementation,
        ethRpcUrl: info.ethRpcUrl,
        registeredKeys: info.kmsInfo && registeredKeys(info.kmsInfo),
      };
    },
  };
}

/** Allows everyone. The configuration admits it only under a key that begins with `dangerously`. */
export function createDevPolicy(gatewayAppId: string): Policy {
  const chain = { kmsContractAddress: undefined, chainId: undefined, appImplementation: undefined, ethRpcUrl: undefined };
  return {
    ask: async () => ({ allowed: true, gatewayAppId }),
    info: async () => ({ isDev: true, gatewayAppId, ...chain, registeredKeys: undefined }),
  };
}

/** The code, where there is one, is believed over the reason: an app contract can return any words. */
function decisionOf(response: BootResponse): Decision {
  if (response.isAllowed) return { allowed: true, gatewayAppId: response.gatewayAppId };
  const unavailable = response.code?.startsWith("unavailable.") ?? response.reason === UNAVAILABLE_REASON;
  return { allowed: false, reason: response.reason, unavailable };
}

/** Two empty values are what an untouched contract returns. */
function registeredKeys(info: RegisteredKeys): RegisteredKeys | null {
  const plain = (text: string) => text.replace(/^0x/, "").toLowerCase();
  const keys = { k256Pubkey: plain(info.k256Pubkey), caPubkey: plain(info.caPubkey) };
  return keys.k256Pubkey === "" && keys.caPubkey === "" ? null : keys;
}

async function asked<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (cause) {
    if (cause instanceof AuthClientError) throw new KmsError("unavailable.webhook", cause.message, { cause });
    throw cause;
  }
}
