/** OS images on disk: downloaded once for all who wait, proved on every use, and nothing left of what went wrong. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createImageStore, type ImageStoreSettings } from "../../kms/attestation/image/cache-images.ts";
import { loadImage } from "../../kms/attestation/image/cache-load.ts";
import { sha384 } from "../../kms/attestation/image/registers.ts";
import { toHex, utf8 } from "../../kms/bytes.ts";
import { type ArchiveServer, startArchiveServer } from "../support/archive-server.ts";
import { archiveOf, imageCmdline, imageHashOf, smallImage } from "../support/image-archive.ts";
import { noise } from "../support/launch-files.ts";
import { testAuthority } from "../support/test-certificates.ts";

const image = smallImage();
const osImageHash = imageHashOf(image);
const name = toHex(osImageHash);
const path = `/${name}.tar.gz`;
const initrd = image["initramfs.cpio.gz"] ?? new Uint8Array(0);
const isRoot = process.getuid?.() === 0;
let dir: string;
let server: ArchiveServer;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "kms-images-"));
  server = await startArchiveServer({ [path]: archiveOf(image) });
});
afterEach(async () => {
  await server.close();
  rmSync(dir, { recursive: true, force: true });
});

function store(change: Partial<ImageStoreSettings> = {}) {
  return createImageStore({ cacheDir: dir, downloadUrl: `${server.url}/{OS_IMAGE_HASH}.tar.gz`, timeoutMs: 10_000, ...change });
}

const inCache = (...names: string[]) => join(dir, "images", ...names);
const scratch = () => (existsSync(inCache("tmp")) ? readdirSync(inCache("tmp")) : []);
const refusal = (code: string, message: RegExp) => ({ code, message: expect.stringMatching(message) });

describe("an image", () => {
  test("is downloaded once, and the files that are measured are read from it", async () => {
    const images = store();
    const files = await (await images.open(osImageHash)).files();
    expect(files).toEqual({
      firmware: image["ovmf.fd"],
      kernel: image["bzImage"],
      initrd: { size: initrd.length, sha384: sha384(initrd) },
      cmdline: imageCmdline,
      ovmfVariant: undefined,
      paths: { firmware: inCache(name, "ovmf.fd"), kernel: inCache(name, "bzImage"), initrd: inCache(name, "initramfs.cpio.gz") },
    });
    expect(await (await images.open(osImageHash)).files()).toBe(files);
    expect(readdirSync(inCache(name)).sort()).toEqual(Object.keys(image).sort());
    expect(scratch()).toEqual([]);
    await (await store({ downloadUrl: "http://127.0.0.1:1/" }).open(osImageHash)).prove();
    expect(server.asked).toEqual([path]);
    expect(images.counts()).toEqual({ downloads: 1, failures: 0 });
  });

  test("is downloaded once for all who ask at the same time", async () => {
    const images = store();
    await Promise.all(Array.from({ length: 20 }, () => images.open(osImageHash)));
    expect(server.asked).toEqual([path]);
  });

  test("goes on being downloaded when its callers leave", async () => {
    const gate = Promise.withResolvers<void>();
    server.answers[path] = (_request, response) => void gate.promise.then(() => response.end(archiveOf(image)));
    const images = store({ patienceMs: 50 });
    await expect(images.open(osImageHash)).rejects.toMatchObject(
      refusal("unavailable.os-image", /being downloaded, .* try again/),
    );
    gate.resolve();
    await expect.poll(() => existsSync(inCache(name, "metadata.json"))).toBe(true);
    await images.open(osImageHash);
    expect(server.asked).toEqual([path]);
  });

  test("replaces what is left of another under its name", async () => {
    mkdirSync(inCache(name, "deeper"), { recursive: true });
    writeFileSync(inCache(name, "bzImage"), "old");
    await store().open(osImageHash);
    expect(readdirSync(inCache(name)).sort()).toEqual(Object.keys(image).sort());
    expect(scratch()).toEqual([]);
  });

  test("that was cleared is downloaded again", async () => {
    const images = store();
    const files = await (await images.open(osImageHash)).files();
    rmSync(inCache(), { recursive: true });
    const again = await (await images.open(osImageHash)).files();
    expect(again).toEqual(files);
    expect(images.counts()).toEqual({ downloads: 2, failures: 0 });
  });

  test("that an operator put there himself needs no server and no writing", async () => {
    mkdirSync(inCache(name), { recursive: true });
    for (const [file, bytes] of Object.entries(image)) writeFileSync(inCache(name, file), bytes);
    chmodSync(inCache(), 0o500);
    const files = await (await store({ downloadUrl: "http://127.0.0.1:1/" }).open(osImageHash)).files();
    chmodSync(inCache(), 0o700);
    expect(await loadImage(inCache(name))).toEqual({ osImageHash, files });
  });

  test("of a hash of another length is refused before a URL or a path is made of it", async () => {
    for (const length of [0, 20, 31, 33, 64]) {
      await expect(store().open(new Uint8Array(length))).rejects.toMatchObject({ code: "unproven.os-image" });
    }
    expect(server.asked).toEqual([]);
    expect(readdirSync(dir)).toEqual([]);
  });
});

describe("a cached image that was changed on disk is refused and not mended silently:", () => {
  const change = (file: string) => {
    const bytes = readFileSync(inCache(name, file));
    bytes[10] = (bytes[10] ?? 0) ^ 1;
    writeFileSync(inCache(name, file), bytes);
  };

  test.each([
    ["ovmf.fd", "malformed.os-image", /^ovmf\.fd mismatch: expected=.*ClearImageCache with image_hash [0-9a-f]{64}\)$/],
    ["bzImage", "malformed.os-image", /^bzImage mismatch/],
    ["initramfs.cpio.gz", "malformed.os-image", /^initramfs\.cpio\.gz mismatch/],
    ["metadata.json", "malformed.os-image", /^metadata\.json mismatch/],
    ["sha256sum.txt", "unproven.os-image", /^legacy TDX attestation requires os_image_hash = sha256\(sha256sum\.txt\)/],
  ])("%s", async (file, code, message) => {
    const images = store();
    await (await images.open(osImageHash)).prove();
    await (await images.open(osImageHash)).files();
    change(file);
    for (const use of [store(), images]) {
      const files = async () => (await use.open(osImageHash)).files();
      const prove = async () => (await use.open(osImageHash)).prove();
      await expect(files()).rejects.toMatchObject(refusal(code, message));
      await expect(prove()).rejects.toMatchObject(refusal(code, message));
    }
    expect(server.asked).toEqual([path]);
  });

  test("a file that is gone, a file that is a folder", async () => {
    const images = store();
    await images.open(osImageHash);
    rmSync(inCache(name, "bzImage"));
    const files = async () => (await images.open(osImageHash)).files();
    await expect(files()).rejects.toMatchObject(refusal("malformed.os-image", /^bzImage: cannot be read: ENOENT/));
    mkdirSync(inCache(name, "bzImage"));
    await expect(files()).rejects.toMatchObject(refusal("malformed.os-image", /^bzImage: cannot be read: EISDIR/));
  });
});

describe("a download is refused when the server", () => {
  const answers: [string, ArchiveServer["answers"][string], string, RegExp, Partial<ImageStoreSettings>?][] = [
    ["does not have it", (_, response) => response.writeHead(404).end("no"), "unavailable.os-image", /status 404/],
    ["is broken", (_, response) => response.writeHead(500).end(), "unavailable.os-image", /status 500/],
    ["answers with nothing", (_, response) => response.writeHead(204).end(), "unavailable.os-image", /status 204/],
    ["ends the connection", (request) => request.socket.destroy(), "unavailable.os-image", /cannot be reached/],
    [
      "ends the connection in the middle",
      (request, response) => {
        response.writeHead(200, { "content-length": 100_000 }).write(archiveOf(image).subarray(0, 1000));
        setTimeout(() => request.socket.destroy(), 20);
      },
      "unavailable.os-image",
      /connection ended/,
    ],
    ["never answers", () => undefined, "unavailable.os-image", /not done within 100 ms/, { timeoutMs: 100 }],
    [
      "stops in the middle",
      (_, response) => void response.writeHead(200).write(archiveOf(image).subarray(0, 1000)),
      "unavailable.os-image",
      /not done within 200 ms \(core\.image\.download_timeout\)/,
      { timeoutMs: 200 },
    ],
    ["answers with a page", utf8("<html></html>"), "malformed.archive", /not gzip/],
    ["announces too much", noise(2000), "malformed.archive", /more than 1000 bytes/, { limits: { archiveBytes: 1000 } }],
    [
      "sends too much",
      (_, response) => {
        response.write(archiveOf(image));
        response.end();
      },
      "malformed.archive",
      /more than 1000 bytes/,
      { limits: { archiveBytes: 1000 } },
    ],
    ["has another image", archiveOf(smallImage({ bzImage: noise(3) })), "unavailable.os-image", /another image/],
    ["has a changed image", archiveOf({ ...image, bzImage: noise(3) }), "malformed.os-image", /^bzImage mismatch/],
    [
      "redirects for ever",
      (_, response) => response.writeHead(302, { location: path }).end(),
      "unavailable.os-image",
      /5 redirects/,
    ],
    [
      "redirects to a file",
      (_, response) => response.writeHead(302, { location: "file:///etc/passwd" }).end(),
      "unavailable.os-image",
      /no https URL/,
    ],
    [
      "redirects to a user whose name is no percent-encoding",
      (_, response) => response.writeHead(302, { location: "http://%zz:%@127.0.0.1:1/" }).end(),
      "unavailable.os-image",
      /cannot be reached/,
    ],
    [
      "redirects to no URL",
      (_, response) => response.writeHead(301, { location: "http://" }).end(),
      "unavailable.os-image",
      /no https URL/,
    ],
  ];
  test.each(answers)("%s", async (_name, answer, code, message, change = {}) => {
    server.answers[path] = answer;
    const images = store(change);
    await expect(images.open(osImageHash)).rejects.toMatchObject(refusal(code, message));
    expect(existsSync(inCache(name))).toBe(false);
    expect(scratch()).toEqual([]);
    expect(images.counts()).toEqual({ downloads: 1, failures: 1 });
    server.answers[path] = archiveOf(image);
    await store({ timeoutMs: 10_000 }).open(osImageHash);
  });

  test("is not asked over and over for what is no good", async () => {
    server.answers[path] = archiveOf({ ...image, bzImage: noise(3) });
    const images = store();
    for (let call = 0; call < 6; call += 1)
      await expect(images.open(osImageHash)).rejects.toMatchObject(refusal("malformed.os-image", /^bzImage mismatch/));
    expect(server.asked).toEqual([path, path, path]);
    expect(images.counts()).toEqual({ downloads: 3, failures: 3 });
  });

  test("is not there at all", async () => {
    const images = store({ downloadUrl: "http://127.0.0.1:1/{OS_IMAGE_HASH}?token=secret" });
    const thrown: unknown = await images.open(osImageHash).catch((problem: unknown) => problem);
    expect(thrown).toMatchObject({ code: "unavailable.os-image" });
    expect(String(thrown)).not.toContain("secret"); // callers read the message
  });
});

describe("over https", () => {
  test("a server that nobody vouches for, and a way down to http, are refused", async () => {
    const { issue } = await testAuthority("authority that is not installed");
    const { certPem, keyPem } = await issue("mirror", ["127.0.0.1"]);
    const secure = createServer({ cert: certPem, key: keyPem }, (_request, response) => response.end(archiveOf(image)));
    await new Promise<void>((resolve) => secure.listen(0, "127.0.0.1", resolve));
    const downloadUrl = `https://127.0.0.1:${(secure.address() as AddressInfo).port}/{OS_IMAGE_HASH}`;
    await expect(store({ downloadUrl }).open(osImageHash)).rejects.toMatchObject(
      refusal("unavailable.os-image", /cannot be reached/),
    );
    await new Promise((resolve) => secure.close(resolve));
    const fetch = async () => new Response(null, { status: 302, headers: { location: `${server.url}${path}` } });
    const down = store({ downloadUrl: "https://mirror.example/{OS_IMAGE_HASH}", fetch });
    await expect(down.open(osImageHash)).rejects.toMatchObject(refusal("unavailable.os-image", /no https URL/));
    expect(server.asked).toEqual([]);
  });
});

describe("a server may", () => {
  test("redirect, and ask for a password that goes to no other", async () => {
    const other = await startArchiveServer({ "/there": archiveOf(image) });
    const seen: (string | undefined)[] = [];
    server.answers[path] = (request, response) => {
      seen.push(request.headers.authorization);
      response.writeHead(302, { location: "/here" }).end();
    };
    server.answers["/here"] = (request, response) => {
      seen.push(request.headers.authorization);
      response.writeHead(307, { location: `${other.url}/there` }).end();
    };
    other.answers["/there"] = (request, response) => {
      seen.push(request.headers.authorization);
      response.end(archiveOf(image));
    };
    const downloadUrl = `${server.url.replace("//", "//user:p%40ss@")}/{OS_IMAGE_HASH}.tar.gz`;
    await store({ downloadUrl }).open(osImageHash);
    const basic = `Basic ${Buffer.from("user:p@ss").toString("base64")}`;
    expect(seen).toEqual([basic, basic, undefined]);
    await other.close();
  });

  test("call the compression a coding of the transfer", async () => {
    server.answers[path] = (_request, response) => response.writeHead(200, { "content-encoding": "gzip" }).end(archiveOf(image));
    await store().open(osImageHash);
  });
});

describe("the disk", () => {
  test("is rid at start of what a crash left", async () => {
    mkdirSync(inCache("tmp", "image-abc", "new"), { recursive: true });
    writeFileSync(inCache("tmp", "image-abc", "new", "bzImage"), "half");
    await store().recover();
    expect(existsSync(inCache("tmp"))).toBe(false);
    rmSync(inCache(), { recursive: true });
    await store().recover();
  });

  test.skipIf(isRoot)("that may not be written is named, with what to do", async () => {
    mkdirSync(inCache(), { recursive: true });
    chmodSync(inCache(), 0o500);
    await expect(store().open(osImageHash)).rejects.toMatchObject(refusal("unavailable.os-image", /not this user's: ls -ld/));
    chmodSync(inCache(), 0o700);
  });

  test("where a file has the folder's name is named", async () => {
    writeFileSync(inCache(), "");
    const problem = refusal("unavailable.os-image", /cannot be kept in core\.image\.cache_dir: (EEXIST|ENOTDIR)/);
    await expect(store().open(osImageHash)).rejects.toMatchObject(problem);
  });

  test("that loses the scratch folder in the middle keeps no half image", async () => {
    const started = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    server.answers[path] = (_request, response) => {
      started.resolve();
      void gate.promise.then(() => response.end(archiveOf(image)));
    };
    const images = store();
    const opened = images.open(osImageHash).catch((problem: unknown) => problem);
    await started.promise;
    renameSync(inCache("tmp"), inCache("gone"));
    gate.resolve();
    expect(await opened).toMatchObject({ code: "unavailable.os-image" });
    expect(existsSync(inCache(name))).toBe(false);
  });
});

test("the end of a download is reported, also when nobody waits for it", async () => {
  const reports: [string, boolean][] = [];
  const report = (image: string, problem: unknown) => void reports.push([image, problem === undefined]);
  const answer = server.answers[path] ?? noise(1);
  delete server.answers[path];
  await expect(store({ report }).open(osImageHash)).rejects.toMatchObject({ code: "unavailable.os-image" });
  server.answers[path] = answer;
  await expect(store({ report, patienceMs: 0 }).open(osImageHash)).rejects.toMatchObject({ code: "unavailable.os-image" });
  await expect
    .poll(() => reports)
    .toEqual([
      [name, false],
      [name, true],
    ]);
});

test("a time limit of a year is one", async () => {
  await store({ timeoutMs: 365 * 24 * 60 * 60 * 1000 }).open(osImageHash);
});

test("more images at once than there are places wait in line, and more callers than may wait are sent away", async () => {
  const gate = Promise.withResolvers<void>();
  const others = Array.from({ length: 70 }, (_, at) => smallImage({ bzImage: noise(100, at) }));
  let most = 0;
  let now = 0;
  for (const other of others) {
    server.answers[`/${toHex(imageHashOf(other))}.tar.gz`] = (_request, response) => {
      now += 1;
      most = Math.max(most, now);
      void gate.promise.then(() => {
        now -= 1;
        response.end(archiveOf(other));
      });
    };
  }
  const images = store();
  const opened = others.map((other) =>
    images.open(imageHashOf(other)).then(
      () => "opened",
      (problem: { code: string }) => problem.code,
    ),
  );
  await expect.poll(() => now).toBe(2);
  gate.resolve();
  const outcomes = await Promise.all(opened);
  expect(outcomes.filter((outcome) => outcome === "opened")).toHaveLength(64);
  expect(outcomes.filter((outcome) => outcome === "unavailable.overloaded")).toHaveLength(6);
  expect(most).toBe(2);
});
