/** What a refusal was, so that tests compare code and text in one line. */
import { KmsError } from "../../../kms/errors.ts";

/** Of work that is not waited for; `accepted` where it was not refused. */
export function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (thrown) {
    if (thrown instanceof KmsError) return thrown.code;
    throw thrown;
  }
  return "accepted";
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
