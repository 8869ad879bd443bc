/** Which source this program is: told by whoever built the image, else read from the clone that it runs in. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** What is written where neither knows. */
const UNKNOWN_REVISION = "unknown";

const REVISION = /^[0-9a-f]{7,64}$/;
const SHOWN_DIGITS = 12;

/** `told` is for images, which hold no history. Never an error: a header is no reason not to start. In a clone it is the commit that was checked out, whatever was edited since. */
export async function readRevision(root: string, told: string | undefined): Promise<string> {
  const found = told?.trim().toLowerCase() || (await checkedOut(join(root, ".git")).catch(() => undefined));
  return found !== undefined && REVISION.test(found) ? found.slice(0, SHOWN_DIGITS) : UNKNOWN_REVISION;
}

async function checkedOut(gitDir: string): Promise<string | undefined> {
  const head = (await readFile(join(gitDir, "HEAD"), "utf8")).trim();
  const branch = /^ref: (refs\/[\w./-]+)$/.exec(head)?.[1];
  if (branch === undefined) return head;
  if (branch.split("/").includes("..")) return undefined;
  try {
    return (await readFile(join(gitDir, branch), "utf8")).trim();
  } catch {
    const lines = (await readFile(join(gitDir, "packed-refs"), "utf8")).split("\n");
    return lines.find((line) => line.endsWith(` ${branch}`))?.split(" ")[0];
  }
}
