/** BootInfo of real guests against the published numbers, in both modes, and the lengths that policy depends on. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { tdxBootInfo } from "../../kms/attestation/boot-info.ts";
import { decodeEvidence, type RuntimeEvent } from "../../kms/attestation/evidence.ts";
import type { VerifiedEvidence } from "../../kms/attestation/verifier.ts";
import { fromUtf8, toHex, utf8 } from "../../kms/bytes.ts";
import { quoteReport, realBytes, realCollateral, verifyReal } from "../support/real-evidence.ts";

const vectors = JSON.parse(readFileSync(new URL("../fixtures/vectors/kdf.json", import.meta.url), "utf8"));
const hash = new Uint8Array(32).fill(7);
const verified = verifyReal(quoteReport());

describe("a guest without owner registers", () => {
  test.each([
    [
      "runtime",
      "e1ae776a1492d4f87937b7e563d265c16300be4aba5d748207587023bb7dbb75",
      "233c659f83048505bb1ef7f105245aa80f5d04e3d096c329da272d7ee13fbf38",
    ],
    [
      "boottime",
      "3d124836c59609fdfdb93185f7d251268d7da9b3f95e9a43cee5c4edc10a5b5f",
      "f9a9159f75a175a0a65052b78f764a312456db56f5c397c600d08445ab68937b",
    ],
  ] as const)("has the published measurements at %s", (mode, mrSystem, mrAggregated) => {
    const info = tdxBootInfo(verified, hash, mode);
    expect([toHex(info.mrSystem), toHex(info.mrAggregated)]).toEqual([mrSystem, mrAggregated]);
    expect(info.keyProviderInfo.length).toBe(mode === "runtime" ? 92 : 0);
  });

  test("has the identities of its events and of its platform", () => {
    const info = tdxBootInfo(verified, hash, "runtime");
    expect(toHex(info.deviceId)).toBe("ea0ba482106a22ecb76b59b95fed32b5cc3a81534b27ee01a25a10a87cca7d03");
    expect(toHex(info.appId)).toBe("3763bc34552cf3a27ff71ad5f7a90471562a1a2d");
    expect(toHex(info.composeHash)).toBe("3763bc34552cf3a27ff71ad5f7a90471562a1a2df552dfc1998cba2d60da27e7");
    expect(toHex(info.instanceId)).toBe("c3714eb66990eace777b4e664c16e09375dec4c9");
    expect(fromUtf8(info.keyProviderInfo, "key provider", "fault.internal")).toMatch(/^\{"name":"local-sgx"/);
    expect([info.teeVariant, info.tcbStatus, info.advisoryIds, info.osImageHash]).toEqual(["dstack-tdx", "UpToDate", [], hash]);
  });
});

test("a guest with an owner register has all three in mrAggregated", () => {
  const evidence = decodeEvidence(realBytes("dstack-sim-attestation.bin"));
  const collateral = realCollateral("collateral-b0c06f-2026-08.json");
  const sample = verifyReal({ evidence, vmConfig: "", collateral, now: new Date("2026-08-20T00:00:00Z") });
  const [vector] = vectors.sample_attestation;
  for (const mode of ["runtime", "boottime"] as const) {
    const info = tdxBootInfo(sample, hash, mode);
    expect(toHex(info.mrSystem)).toBe(vector.mr_system[mode]);
    expect(toHex(info.mrAggregated)).toBe(vector.mr_aggregated[mode]);
  }
});

describe("events with values of the wrong length", () => {
  /** Past the replay check, which no such log of ours would pass: here only the reading of events is of interest. */
  function infoWith(name: string, payload: Uint8Array | undefined) {
    const original = verified.evidence.stack.runtimeEvents.filter(({ event }) => event !== name);
    const events: RuntimeEvent[] = payload === undefined ? [] : [{ event: name, payload, version: 1 }];
    const stack = { ...verified.evidence.stack, runtimeEvents: [...events, ...original] };
    return tdxBootInfo(
      { ...verified, evidence: { ...verified.evidence, stack } } as unknown as VerifiedEvidence,
      hash,
      "runtime",
    );
  }

  test.each<[string, Uint8Array | undefined]>([
    ["no app id", undefined],
    ["19 bytes", new Uint8Array(19)],
    ["21 bytes", new Uint8Array(21)],
    ["nothing", new Uint8Array(0)],
  ])("%s of app id are refused", (_name, payload) => {
    expect(() => infoWith("app-id", payload)).toThrow(
      expect.objectContaining({ code: "unproven.app-id", message: "app_id must be 20 bytes" }),
    );
  });

  test.each([
    ["compose-hash", 31],
    ["compose-hash", 33],
    ["instance-id", 19],
    ["instance-id", 32],
  ])("a %s of %i bytes is refused, never padded", (name, length) => {
    expect(() => infoWith(name, new Uint8Array(length))).toThrow(expect.objectContaining({ code: "malformed.length" }));
  });

  test.each(["compose-hash", "instance-id"])("a missing %s is empty", (name) => {
    const info = infoWith(name, undefined);
    expect(name === "compose-hash" ? info.composeHash : info.instanceId).toEqual(new Uint8Array(0));
  });

  test("without a key provider, mrSystem has 32 zero bytes in its place, as at boot time", () => {
    expect(infoWith("key-provider", undefined).mrSystem).toEqual(tdxBootInfo(verified, hash, "boottime").mrSystem);
    expect(infoWith("key-provider", utf8("x")).keyProviderInfo).toEqual(utf8("x"));
  });
});
