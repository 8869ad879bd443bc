/** The services as package.json starts them, so that whatever else starts one starts it as an operator does. */
import { join } from "node:path";
import packageJson from "../../package.json" with { type: "json" };

/** Arguments of node: its flags, the heap limits among them, and the program. */
export function nodeArguments(script: "auth-eth" | "kms"): { readonly flags: readonly string[]; readonly program: string } {
  const [, ...args] = packageJson.scripts[script].split(" ");
  return { flags: args.slice(0, -1), program: join(import.meta.dirname, "..", "..", args.at(-1) ?? "") };
}
