/** Who may use the admin service: the four credentials of the protocol, in its order; the first rule that decides, decides. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { PasswordCheck } from "./password-check.ts";

export interface AdminCredentials {
  /** `insecure_no_auth`: everyone may. */
  readonly noAuth: boolean;
  /** SHA-256 of the token, as hex; undefined where there is none. */
  readonly tokenHash: string | undefined;
  /** Undefined without an htpasswd file. */
  readonly passwords: PasswordCheck | undefined;
}

/** `as` is for the log. */
export type AdminVerdict =
  | { readonly allowed: true; readonly as: string }
  | { readonly allowed: false; readonly reason: "no-credential" | "wrong-credential" | "too-many" };

export interface AdminClaim {
  readonly adminToken: string | undefined;
  readonly authorization: string | undefined;
  /** The address of the connection. */
  readonly from: string;
}

const SCHEME = /^(\S+) +(.*)$/s;
const wrong: AdminVerdict = { allowed: false, reason: "wrong-credential" };

export async function authorizeAdmin(credentials: AdminCredentials, claim: AdminClaim): Promise<AdminVerdict> {
  if (credentials.noAuth) return { allowed: true, as: "anyone" };
  const isToken = (text: string) => credentials.tokenHash !== undefined && isSame(text, credentials.tokenHash);
  if (claim.adminToken !== undefined && isToken(claim.adminToken)) return { allowed: true, as: "token" };
  const [, scheme = "", value = ""] = SCHEME.exec(claim.authorization ?? "") ?? [];
  switch (scheme.toLowerCase()) {
    case "bearer":
      return isToken(value.trim()) ? { allowed: true, as: "token" } : wrong;
    case "basic":
      return checkBasic(value.trim(), isToken, credentials.passwords, claim.from);
    default:
      return claim.adminToken === undefined ? { allowed: false, reason: "no-credential" } : wrong;
  }
}

/** The token stands for a password of any user, or for the user of an empty password. */
async function checkBasic(
  encoded: string,
  isToken: (text: string) => boolean,
  passwords: PasswordCheck | undefined,
  from: string,
): Promise<AdminVerdict> {
  const basic = decodeBasic(encoded);
  if (basic === undefined) return wrong;
  const { user, password } = basic;
  if (isToken(password) || (password === "" && isToken(user))) return { allowed: true, as: "token" };
  const verdict = (await passwords?.check(user, password, from)) ?? "wrong";
  if (verdict === "too-many") return { allowed: false, reason: "too-many" };
  return verdict === "right" ? { allowed: true, as: `user ${user}` } : wrong;
}

function decodeBasic(encoded: string): { user: string; password: string } | undefined {
  const bytes = Buffer.from(encoded, "base64");
  const padded = bytes.toString("base64");
  if (encoded !== padded && encoded !== padded.replaceAll("=", "")) return undefined;
  const text = bytes.toString("utf8");
  const colon = text.indexOf(":");
  return colon === -1 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** Over hashes, so that neither content nor length shows in the time. */
function isSame(text: string, hash: string): boolean {
  return timingSafeEqual(createHash("sha256").update(text).digest(), Buffer.from(hash, "hex"));
}
