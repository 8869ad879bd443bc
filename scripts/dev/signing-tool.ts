/** osslsigncode, whose Authenticode digests ours are compared with: the installed one, or Debian's package in a cache. No root needed. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cacheFolder, fillCache, runFetchCommand, unavailable, unpackPackage } from "./debian-packages.ts";

const usage = `usage: node scripts/dev/signing-tool.ts [--json]

Finds osslsigncode, or downloads Debian's package of it: apt-get download, unpacked with dpkg-deb. Prints its path; a second run
finds what the first one made. The tests of the kernel's digest compare with it, and skip that where it is not found.

  --json      machine-readable output
  -h, --help  print this
`;

const cacheName = "signing-tool";
const cached = join(cacheFolder(cacheName), "usr", "bin", "osslsigncode");

/** What starts: a package for another system may be there and not run. */
export function foundSigningTool(): string | undefined {
  return ["osslsigncode", cached].find((path) => spawnSync(path, ["--version"]).error === undefined);
}

async function download(): Promise<string> {
  await fillCache(cacheName, (scratch, target) => unpackPackage("osslsigncode", scratch, target));
  const found = foundSigningTool();
  if (found === undefined) throw unavailable(`${cached} does not start`);
  return found;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await runFetchCommand(usage, async () => {
    const path = foundSigningTool() ?? (await download());
    return { json: { path }, text: path };
  });
}
