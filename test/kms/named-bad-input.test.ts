/** One table of hostile input, from quotes to the PCCS, each with its code; the files of each part test their decoders to the last limit. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { parseCompose } from "../../kms/attestation/compose.ts";
import { parseEventLog } from "../../kms/attestation/events.ts";
import { decodeEvidence } from "../../kms/attestation/evidence.ts";
import { unpackImage } from "../../kms/attestation/image/archive-unpack.ts";
import { parseVmConfig } from "../../kms/attestation/image/vm-config.ts";
import { scaleBytes, scaleCompact } from "../../kms/attestation/scale.ts";
import { type Collateral, parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { createCollateralStore } from "../../kms/attestation/tdx/collateral-store.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { parseTcbInfo } from "../../kms/attestation/tdx/tcb-info.ts";
import { intelSgxRootCa, loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { pckChainOf, verifyQuote } from "../../kms/attestation/tdx/verify.ts";
import { concat, utf8 } from "../../kms/bytes.ts";
import type { Code } from "../../kms/errors.ts";
import { GetAppKeyRequestSchema } from "../../kms/http/gen/kms_pb.ts";
import { decodeJson } from "../../kms/http/json-codec.ts";
import { createPlatform } from "../../scripts/devnet/platform.ts";
import { archiveOf, imageHashOf, type RawEntry, rawTar, smallImage } from "../support/image-archive.ts";
import { simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";
import { readCollateral, readQuote } from "../support/tdx-samples.ts";
import { refusal } from "./support/refusals.ts";
import { body, hang, routes, type SpoiledPccs, startPccs } from "./support/spoiled-pccs.ts";

const MIB = 1024 * 1024;

describe("a quote", () => {
  const quote = readQuote("tdx-v4-b0c06f-a.bin");
  const collateral = readCollateral("collateral-b0c06f-2025-06.json");
  const now = new Date("2025-07-01T00:00:00Z");
  const verify = (bytes: Uint8Array, change: Partial<Collateral> = {}) =>
    verifyQuote({ quote: parseQuote(bytes), collateral: { ...collateral, ...change }, anchor: intelSgxRootCa, now });
  /** Offsets of version 4: the auth data, the QE block in it, and in that the QE auth data and the certificates. */
  const pointingOutside = (offset: number, width: 2 | 4) => {
    const bytes = quote.slice();
    bytes.fill(0xff, offset, offset + width - 1);
    return bytes.fill(0x7f, offset + width - 1, offset + width);
  };
  const block = 636 + 134;
  const leaf = pckChainOf(parseQuote(quote)).split(/(?<=-----END CERTIFICATE-----\n)/)[0] ?? "";

  test("is good as it stands", () => {
    expect(verify(quote).status).toBe("UpToDate");
  });

  test.each<[string, () => unknown, Code]>([
    ["of 0 bytes", () => verify(new Uint8Array(0)), "malformed.quote"],
    ["of 1 byte", () => verify(quote.subarray(0, 1)), "malformed.quote"],
    ["of 632 bytes, the signed part alone", () => verify(quote.subarray(0, 632)), "malformed.quote"],
    ["of 16 MiB of zeros", () => verify(new Uint8Array(16 * MIB)), "malformed.quote"],
    ["padded to 16 MiB", () => verify(concat(quote, new Uint8Array(16 * MIB - quote.length))), "malformed.quote"],
    ["whose auth data reach outside", () => verify(pointingOutside(632, 4)), "malformed.quote"],
    ["whose QE block reaches outside", () => verify(pointingOutside(636 + 130, 4)), "malformed.quote"],
    ["whose QE auth data reach outside", () => verify(pointingOutside(block + 448, 2)), "malformed.quote"],
    ["whose certificates reach outside", () => verify(pointingOutside(block + 450 + 32 + 2, 4)), "malformed.quote"],
    ["with a chain of 200 certificates", () => verify(quote, { pckCertificateChain: leaf.repeat(200) }), "malformed.certificate"],
    ["under a TCB chain of 200", () => verify(quote, { tcbInfoIssuerChain: leaf.repeat(200) }), "malformed.certificate"],
  ])("%s", async (_name, work, code) => {
    expect((await refusal(work)).code).toBe(code);
  });
});

describe("10 MiB of events", () => {
  const event = '{"imr":3,"event_type":134217729,"digest":"","event":"a","event_payload":""}';
  const envelope = () =>
    concat(Uint8Array.of(0, 0), scaleBytes(new Uint8Array(0)), scaleCompact(5 * MIB), new Uint8Array(10 * MIB - 20));

  test.each<[string, () => unknown, Code]>([
    [
      "as JSON",
      () =>
        parseEventLog(
          `[${Array(Math.floor((10 * MIB) / event.length))
            .fill(event)
            .join(",")}]`,
        ),
      "malformed.event-log",
    ],
    [
      "as one payload",
      () => parseEventLog(event.replace('payload":"', `payload":"${"0".repeat(10 * MIB)}`)),
      "malformed.event-log",
    ],
    ["in an envelope", () => decodeEvidence(envelope()), "malformed.envelope"],
    ["in an envelope over the limit", () => decodeEvidence(concat(envelope(), new Uint8Array(MIB))), "malformed.envelope"],
  ])("%s", async (_name, work, code) => {
    expect((await refusal(work)).code).toBe(code);
  });
});

describe("JSON", () => {
  const deep = (levels: number) => `${"[".repeat(levels)}${"]".repeat(levels)}`;
  const reference = readCollateral("collateral-b0c06f-2025-06.json").tcbInfo;
  const compose = '"manifest_version":2,"name":"a","runner":"docker-compose"';
  interface Reader {
    readonly name: string;
    readonly code: Code;
    readonly read: (text: string) => unknown;
    /** A document with the member put in front, and a number that is read as this one. */
    readonly document: (member: string) => string;
    readonly number: string;
  }
  const readers: readonly Reader[] = [
    {
      name: "collateral",
      code: "malformed.collateral",
      read: parseCollateral,
      document: (member) => `{${member}"root_ca_crl":"00","root_ca_crl":"00"}`,
      number: '"tcb_info":',
    },
    {
      name: "TCB info",
      code: "malformed.collateral",
      read: parseTcbInfo,
      document: (member) =>
        reference.replace("{", `{${member}`).replace('"version":3,', member.includes('"version"') ? "" : '"version":3,'),
      number: '"version":',
    },
    {
      name: "an event log",
      code: "malformed.event-log",
      read: parseEventLog,
      document: (member) => `[{${member}"event_type":1,"digest":"","event":"a","event_payload":""}]`,
      number: '"imr":',
    },
    {
      name: "a VM configuration",
      code: "malformed.vm-config",
      read: parseVmConfig,
      document: (member) => `{${member}"memory_size":1}`,
      number: '"cpu_count":',
    },
    {
      name: "an app-compose file",
      code: "malformed.compose",
      read: (text) => parseCompose(utf8(text)),
      document: (member) => `{${member}${compose}}`,
      number: '"x":',
    },
    {
      name: "a request",
      code: "malformed.request",
      read: (text) => decodeJson(GetAppKeyRequestSchema, utf8(text)),
      document: (member) => `{${member}"vm_config":""}`,
      number: '"api_version":',
    },
  ];
  const faults: readonly [string, (reader: Reader) => string][] = [
    ["a duplicate key", ({ document, number }) => document(`${number}1,${number}2,`)],
    ["nesting", ({ document }) => document(`"x":${deep(200)},`)],
    ["nesting without end", () => "[".repeat(1_000_000)],
    ["NaN", ({ document, number }) => document(`${number}NaN,`)],
    ["a huge number", ({ document, number }) => document(`${number}1e999,`)],
    ["a number of 10,000 digits", ({ document, number }) => document(`${number}${"9".repeat(10_000)},`)],
  ];

  describe.each(readers)("of $name", (reader) => {
    test.each(faults)("with %s", async (_fault, text) => {
      expect((await refusal(() => reader.read(text(reader)))).code).toBe(reader.code);
    });
  });
});

describe("an archive", () => {
  const image = smallImage();
  const parent = mkdtempSync(join(tmpdir(), "kms-named-"));
  afterAll(() => rmSync(parent, { recursive: true, force: true }));
  const unpack = async (archive: Uint8Array) => {
    const folder = mkdtempSync(join(parent, "image-"));
    const bytes = (async function* () {
      yield archive;
    })();
    const limits = { entries: 40, fileBytes: MIB, totalBytes: 2 * MIB };
    await unpackImage({
      archive: { bytes, isPlain: false },
      folder,
      osImageHash: imageHashOf(image),
      limits,
      signal: undefined,
    });
    return readdirSync(folder).sort();
  };
  const packed = (...entries: RawEntry[]) => new Uint8Array(gzipSync(rawTar(...entries)));
  const { bzImage: _kernel, ...incomplete } = image;
  const zeros = new Uint8Array(MIB);

  test.each<[string, Uint8Array, Code]>([
    ["with a symbolic link", packed({ name: "bzImage", type: "2", link: "/etc/passwd" }), "malformed.archive"],
    ["with a hard link", packed({ name: "bzImage", type: "1", link: "ovmf.fd" }), "malformed.archive"],
    ["with a path that leads out", packed({ name: "../outside", content: "x" }), "malformed.archive"],
    ["with an absolute path", packed({ name: "/tmp/outside", content: "x" }), "malformed.archive"],
    ["that is a bomb", packed(...["a", "b", "c"].map((name) => ({ name, content: zeros }))), "malformed.archive"],
    ["without a file of the manifest", archiveOf(incomplete), "malformed.os-image"],
    ["with another file under a name of the manifest", archiveOf({ ...image, bzImage: utf8("other") }), "malformed.os-image"],
  ])("%s", async (_name, archive, code) => {
    expect((await refusal(unpack(archive))).code).toBe(code);
    expect(readdirSync(parent)).not.toContain("outside");
  });

  test("with a file that the manifest does not list is unpacked without it", async () => {
    expect(await unpack(archiveOf(image, [{ name: "stranger", content: "x" }]))).toEqual(Object.keys(image).sort());
  });
});

describe("a PCCS that", () => {
  const start = new Date("2026-06-15T00:00:00Z");
  const platform = simulatedPlatform();
  const anchor = loadTrustAnchor(platform.rootDer);
  const quote = parseQuote(simulatedTd({ platform }).quote(new Uint8Array(64)));
  const chain = (pem: string) => ({ "TCB-Info-Issuer-Chain": encodeURIComponent(pem) });
  const answer = ({ tcbInfo, tcbInfoSignature }: ReturnType<typeof platform.collateral>) =>
    `{"tcbInfo":${tcbInfo},"signature":"${Buffer.from(tcbInfoSignature).toString("hex")}"}`;
  const honest = platform.collateral(start);
  const elsewhere = simulatedPlatform({ fmspcInTcbInfo: "00906ED50000" }).collateral(start);
  const stranger = createPlatform(new Uint8Array(32).fill(9)).collateral(start);
  let pccs: SpoiledPccs | undefined;
  afterEach(() => pccs?.stop());

  test.each<[string, Parameters<SpoiledPccs["spoil"]>[1], Code]>([
    ["hangs", hang, "unavailable.collateral"],
    ["answers HTML", body("<html>welcome</html>", chain(honest.tcbSigningChain)), "unavailable.collateral"],
    ["serves another FMSPC", body(answer(elsewhere), chain(honest.tcbSigningChain)), "unproven.platform"],
    ["serves a chain to another root", body(answer(stranger), chain(stranger.tcbSigningChain)), "unproven.certificate-chain"],
  ])("%s", async (_name, spoil, code) => {
    pccs = await startPccs(start);
    pccs.spoil(routes.tcb, spoil);
    const store = createCollateralStore({ pccsUrl: pccs.url, anchor, now: () => start, timeoutMs: 1_000 });
    expect((await refusal(store.collateralFor(quote))).code).toBe(code);
  });

  test("serves an older issue", async () => {
    const hour = 60 * 60 * 1000;
    let now = start;
    pccs = await startPccs(start, { evaluationNumber: 20, crlNumber: 9, crlNextUpdate: new Date(start.getTime() + hour) });
    const store = createCollateralStore({ pccsUrl: pccs.url, anchor, now: () => now, timeoutMs: 1_000 });
    await store.collateralFor(quote);
    pccs.publish({ evaluationNumber: 20, crlNumber: 8 });
    now = new Date(start.getTime() + 2 * hour);
    expect((await refusal(store.collateralFor(quote))).code).toBe("unproven.collateral-older");
  });
});
