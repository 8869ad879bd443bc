/** The SEV-SNP launch measurement by its definition. No release verifies SEV-SNP yet; the one that does is held against this. */
import { createHash } from "node:crypto";
import { concat, fromHex } from "../../../kms/bytes.ts";

export interface SnpLaunch {
  readonly base_cmdline: string;
  readonly ovmf_hash: string;
  readonly kernel_hash: string;
  readonly initrd_hash: string;
  readonly sev_hashes_table_gpa: number;
  readonly sev_es_reset_eip: number;
  readonly vcpus: number;
  readonly vcpu_type: string;
  readonly guest_features: number;
  readonly ovmf_sections: readonly { readonly gpa: number; readonly size: number; readonly type: number }[];
}

const pageBytes = 4096;
const sectionType = { memory: 1, secrets: 2, cpuid: 3, caa: 4, kernelHashes: 0x10 } as const;
const pageType = { normal: 1, vmsa: 2, zero: 3, secrets: 5, cpuid: 6 } as const;
const noContents = new Uint8Array(48);
const vmsaGpa = 0x0000_ffff_ffff_f000n;
const firstEip = 0xffff_fff0;
/** Family 23, model 1, stepping 2. */
const epycSignature = 0x0080_0f12n;

const sha = (name: "sha256" | "sha384", bytes: Uint8Array) => new Uint8Array(createHash(name).update(bytes).digest());

export function snpLaunchMeasurement(launch: SnpLaunch): Uint8Array {
  let digest = fromHex(launch.ovmf_hash, "ovmf_hash", 48);
  const update = (type: number, gpa: bigint, contents: Uint8Array) => {
    const record = new DataView(new ArrayBuffer(112));
    const bytes = new Uint8Array(record.buffer);
    bytes.set(digest);
    bytes.set(contents, 48);
    record.setUint16(96, 0x70, true);
    record.setUint8(98, type);
    record.setBigUint64(104, gpa, true);
    digest = sha("sha384", bytes);
  };
  for (const { gpa, size, type } of launch.ovmf_sections) {
    if (type === sectionType.memory || type === sectionType.caa) {
      for (let at = 0; at < size; at += pageBytes) update(pageType.zero, BigInt(gpa + at), noContents);
    } else if (type === sectionType.secrets) update(pageType.secrets, BigInt(gpa), noContents);
    else if (type === sectionType.cpuid) update(pageType.cpuid, BigInt(gpa), noContents);
    else if (type === sectionType.kernelHashes) update(pageType.normal, BigInt(gpa), sha("sha384", hashPage(launch)));
    else throw new Error(`section of type ${type}`);
  }
  for (let cpu = 0; cpu < launch.vcpus; cpu += 1) {
    const eip = cpu === 0 ? firstEip : launch.sev_es_reset_eip;
    update(pageType.vmsa, vmsaGpa, sha("sha384", vmsaPage(eip, launch)));
  }
  return digest;
}

function hashPage({ base_cmdline, initrd_hash, kernel_hash, sev_hashes_table_gpa }: SnpLaunch): Uint8Array {
  const entry = (id: string, length: number, ...content: Uint8Array[]) =>
    concat(fromHex(id, "entry", 16), Uint8Array.of(length, 0), ...content);
  const cmdline = sha("sha256", new TextEncoder().encode(`${base_cmdline.trim()}\0`));
  const table = concat(
    entry("06d63894224fc94cb479a793d411fd21", 168),
    entry("d82dd09720bd944caa78e7714d36ab2a", 50, cmdline),
    entry("31f7ba442f3ad74b9af141e29169781d", 50, fromHex(initrd_hash, "initrd_hash", 32)),
    entry("3794e74dd2ab7f42b835d5b172d2045b", 50, fromHex(kernel_hash, "kernel_hash", 32)),
  );
  const page = new Uint8Array(pageBytes);
  page.set(table, sev_hashes_table_gpa & (pageBytes - 1));
  return page;
}

function vmsaPage(eip: number, { vcpu_type, guest_features }: SnpLaunch): Uint8Array {
  if (!/^epyc(-v[1-4]|-ibpb)?$/.test(vcpu_type)) throw new Error(`vcpu ${vcpu_type}`);
  const view = new DataView(new ArrayBuffer(pageBytes));
  const segment = (at: number, selector: number, attributes: number, base = 0) => {
    view.setUint16(at, selector, true);
    view.setUint16(at + 2, attributes, true);
    view.setUint32(at + 4, 0xffff, true);
    view.setBigUint64(at + 8, BigInt(base), true);
  };
  for (const at of [0x000, 0x020, 0x030, 0x040, 0x050]) segment(at, 0, 0x93);
  segment(0x010, 0xf000, 0x9b, (eip & 0xffff0000) >>> 0);
  for (const [at, attributes] of [
    [0x060, 0],
    [0x070, 0x82],
    [0x080, 0],
    [0x090, 0x8b],
  ] as const)
    segment(at, 0, attributes);
  const words: readonly (readonly [number, bigint])[] = [
    [0x0d0, 0x1000n],
    [0x148, 0x40n],
    [0x158, 0x10n],
    [0x160, 0x400n],
    [0x168, 0xffff0ff0n],
    [0x170, 2n],
    [0x178, BigInt(eip & 0xffff)],
    [0x268, 0x0007040600070406n],
    [0x310, epycSignature],
    [0x3b0, BigInt(guest_features)],
    [0x3e8, 1n],
  ];
  for (const [at, value] of words) view.setBigUint64(at, value, true);
  view.setUint32(0x408, 0x1f80, true);
  view.setUint16(0x410, 0x037f, true);
  return new Uint8Array(view.buffer);
}
