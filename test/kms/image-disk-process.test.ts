/** OS images on disks that are full or read-only: named in the refusal with what mends them, and no half image is left. */
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { toHex } from "../../kms/bytes.ts";
import { type ArchiveServer, startArchiveServer } from "../support/archive-server.ts";
import { archiveOf, imageHashOf, smallImage } from "../support/image-archive.ts";
import { mayMount, mountingShell } from "./support/mounts.ts";

const driver = fileURLToPath(new URL("./support/image-disk-driver.ts", import.meta.url));
const image = smallImage();
const kernelBytes = image["bzImage"]?.length;
const hash = toHex(imageHashOf(image));
let dir: string;
let server: ArchiveServer;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "kms-image-disk-"));
  server = await startArchiveServer({ [`/${hash}`]: archiveOf(image) });
});
afterEach(async () => {
  await server.close();
  rmSync(dir, { recursive: true, force: true });
});

/** `$OPEN` in the script opens the image below `$DIR`; each prints a line. */
async function inShell(script: string): Promise<{ outcomes: unknown[]; left: string[] }> {
  const [program, ...args] = mountingShell;
  const open = `${process.execPath} ${driver} ${dir} ${server.url}/{OS_IMAGE_HASH} ${hash}`;
  const env = { PATH: process.env["PATH"], DIR: dir, OPEN: open };
  const { stdout } = await promisify(execFile)(program, [...args, `${script}; echo; find $DIR -type f`], { env });
  const lines = stdout.replaceAll("}{", "}\n{").split("\n");
  return {
    outcomes: lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line)),
    left: lines.filter((line) => line.startsWith("/")),
  };
}

describe.skipIf(!mayMount())("an image", () => {
  test("on a full disk is not kept, and nothing of it stays", async () => {
    const { outcomes, left } = await inShell("mount -t tmpfs -o size=32k tmpfs $DIR && $OPEN");
    expect(outcomes).toEqual([
      {
        code: "unavailable.os-image",
        message: expect.stringMatching(/cannot be kept in core\.image\.cache_dir: no room on its disk: df -h/),
      },
    ]);
    expect(left).toEqual([]);
  });

  test("on a read-only disk cannot be downloaded, and can be used where it is already", async () => {
    const readOnly = "mount -o remount,ro $DIR";
    const refused = await inShell(`mount -t tmpfs tmpfs $DIR && ${readOnly} && $OPEN`);
    expect(refused.outcomes).toEqual([
      {
        code: "unavailable.os-image",
        message: expect.stringMatching(/cache_dir: read-only: mount .* for writing, or put the image there/),
      },
    ]);
    const { outcomes } = await inShell(`mount -t tmpfs tmpfs $DIR && $OPEN && rm -r $DIR/measurements && ${readOnly} && $OPEN`);
    expect(outcomes).toEqual([
      { kernelBytes, isKept: true },
      { kernelBytes, isKept: false },
    ]);
  });
});

test("a process that is killed in the middle leaves nothing but scratch, which the next one removes", async () => {
  const half = Promise.withResolvers<void>();
  const archive = archiveOf(image);
  server.answers[`/${hash}`] = (_request, response) => {
    response.write(archive.subarray(0, archive.length / 2), () => half.resolve());
  };
  const args = [driver, dir, `${server.url}/{OS_IMAGE_HASH}`, hash];
  const child = spawn(process.execPath, args, { stdio: "ignore" });
  const ended = new Promise((resolve) => child.once("close", resolve));
  await half.promise;
  await expect.poll(() => readdirSync(join(dir, "images", "tmp"), { recursive: true }).length).toBeGreaterThan(2);
  child.kill("SIGKILL");
  await ended;
  expect(readdirSync(join(dir, "images"))).toEqual(["tmp"]);
  server.answers[`/${hash}`] = archive;
  const { stdout } = await promisify(execFile)(process.execPath, args);
  expect(JSON.parse(stdout)).toEqual({ kernelBytes, isKept: true });
  expect(readdirSync(join(dir, "images", "tmp"))).toEqual([]);
});
