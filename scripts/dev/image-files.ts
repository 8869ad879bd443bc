/** Real files of an OS image for tests and trials: Debian's firmware and cloud kernel, and an initrd made of what comes with them. No root needed. */
import { existsSync } from "node:fs";
import { readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { concat, utf8 } from "../../kms/bytes.ts";
import { apt, cacheFolder, fillCache, runFetchCommand, unavailable, unpackPackage } from "./debian-packages.ts";

export interface RealImageFiles {
  readonly firmware: string;
  readonly kernel: string;
  readonly initrd: string;
}

const usage = `usage: node scripts/dev/image-files.ts [--json]

Finds the real firmware, kernel and initrd that the image tests use, or downloads them: apt-get download of Debian's packages
ovmf and linux-image-cloud-amd64, unpacked with dpkg-deb. Prints their paths; a second run finds what the first one made.

  --json      machine-readable output
  -h, --help  print this

They are kept in $XDG_CACHE_HOME/keyward/image-files, or in node_modules/.cache/keyward/image-files.
`;

const cacheName = "image-files";
const folder = cacheFolder(cacheName);
const names = { firmware: "ovmf.fd", kernel: "bzImage", initrd: "initramfs.cpio.gz" } as const;

/** What an earlier run left, whole or not at all. */
export function foundImageFiles(): RealImageFiles | undefined {
  const files = {
    firmware: join(folder, names.firmware),
    kernel: join(folder, names.kernel),
    initrd: join(folder, names.initrd),
  };
  return Object.values(files).every((path) => existsSync(path)) ? files : undefined;
}

async function download(): Promise<RealImageFiles> {
  await fillCache(cacheName, async (scratch, target) => {
    const unpacked = join(scratch, "root");
    for (const name of ["ovmf", await kernelPackage(scratch)]) await unpackPackage(name, scratch, unpacked);
    await install(unpacked, target);
  });
  const found = foundImageFiles();
  if (found === undefined) throw new Error(`${folder}: not what was written`);
  return found;
}

/** The package of this name only depends on the one that has the kernel. */
async function kernelPackage(scratch: string): Promise<string> {
  const { stdout } = await apt("apt-cache", ["show", "linux-image-cloud-amd64"], scratch);
  const name = /^Depends: (linux-image-[0-9a-z.+-]+)/m.exec(stdout)?.[1];
  if (name === undefined) throw unavailable("linux-image-cloud-amd64 names no kernel package");
  return name;
}

async function install(unpacked: string, target: string): Promise<void> {
  const boot = join(unpacked, "boot");
  const kernel = (await readdir(boot)).find((entry) => entry.startsWith("vmlinuz-"));
  if (kernel === undefined) throw unavailable("the kernel package has no kernel");
  await rename(join(boot, kernel), join(target, names.kernel));
  await rename(join(unpacked, "usr/share/ovmf/OVMF.fd"), join(target, names.firmware));
  const content = await Promise.all([
    filesBelow(unpacked, "boot"),
    filesBelow(unpacked, "lib/modules"),
    filesBelow(unpacked, "usr/lib/modules"),
  ]);
  await writeFile(join(target, names.initrd), gzipSync(cpioOf(content.flat())));
}

type CpioEntry = readonly [name: string, content: Uint8Array | undefined];

/** Folders before what is in them, as a kernel unpacks them; of the modules, those of file systems are enough. */
async function filesBelow(root: string, start: string): Promise<CpioEntry[]> {
  if (!existsSync(join(root, start))) return [];
  const found = await readdir(join(root, start), { recursive: true, withFileTypes: true });
  const paths = found.map((entry) => ({ path: relative(root, join(entry.parentPath, entry.name)), entry }));
  const wanted = paths.filter(({ path }) => start === "boot" || /\/modules\/[^/]+(?:\/kernel(?:\/fs(?:\/.*)?)?)?$/.test(path));
  const entries = wanted
    .sort((a, b) => (a.path < b.path ? -1 : 1))
    .flatMap(({ path, entry }): Promise<CpioEntry>[] => {
      if (entry.isDirectory()) return [Promise.resolve([path, undefined])];
      return entry.isFile() ? [readFile(join(root, path)).then((bytes) => [path, new Uint8Array(bytes)])] : [];
    });
  const parents = start.split("/").map((_, index, parts): CpioEntry => [parts.slice(0, index + 1).join("/"), undefined]);
  return [...parents, ...(await Promise.all(entries))];
}

/** The archive that kernels take as their first file system: newc, and the same bytes every time. */
function cpioOf(entries: readonly CpioEntry[]): Uint8Array {
  const padded = (bytes: Uint8Array) => concat(bytes, new Uint8Array((4 - (bytes.length % 4)) % 4));
  const all: CpioEntry[] = [...entries, ["TRAILER!!!", new Uint8Array(0)]];
  return concat(
    ...all.map(([name, content], index) => {
      const mode = content === undefined ? 0o040755 : 0o100644;
      const fields = [index + 1, mode, 0, 0, 1, 0, content?.length ?? 0, 0, 0, 0, 0, name.length + 1, 0];
      const head = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}${name}\0`;
      return concat(padded(utf8(head)), padded(content ?? new Uint8Array(0)));
    }),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await runFetchCommand(usage, async () => {
    const files = foundImageFiles() ?? (await download());
    return { json: { ...files }, text: Object.values(files).join("\n") };
  });
}
