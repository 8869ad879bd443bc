/** What a refusal was, so that tests compare code and text in one line. */
import { KmsError } from "../../../kms/errors.ts";

/** Of work that is not waited for. */
export function codeOf(work: () => unknown): string | undefined {
  try {
    work();
  } catch (thrown) {
    if (thrown instanceof KmsError) return thrown.code;
    throw thrown;
  }
  return undefined;
}

export async function refusal(work: Promise<unknown> | (() => unknown)): Promise<{ code: string; message: string }> {
  try {
    await (typeof work === "function" ? work() : work);
  } catch (thrown) {
    if (thrown instanceof KmsError) return { code: thrown.code, message: thrown.message };
    throw thrown;
  }
  throw new Error("was not refused");
}
