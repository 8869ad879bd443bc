/** The ACPI digests: loader and root pointer of three real machines, the arguments for the program, and the file of known digests. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type AcpiMachine, acpiMachineOf } from "../../kms/attestation/image/acpi.ts";
import { acpiArguments } from "../../kms/attestation/image/acpi-arguments.ts";
import { createAcpiData, recordOf } from "../../kms/attestation/image/acpi-data.ts";
import { acpiDigestsOf } from "../../kms/attestation/image/acpi-loader.ts";
import { sha384 } from "../../kms/attestation/image/registers.ts";
import { parseVmConfig } from "../../kms/attestation/image/vm-config.ts";
import { toHex } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import { acpiBlob, noise, quoteReportTables, type TableLengths } from "../support/launch-files.ts";
import { quoteReport, realJson } from "../support/real-evidence.ts";

const paths = { firmware: "/image/ovmf.fd", kernel: "/image/bzImage", initrd: "/image/initramfs.cpio.gz" };
const machine = (members: object = {}): AcpiMachine =>
  acpiMachineOf(parseVmConfig(JSON.stringify({ cpu_count: 2, memory_size: 2147483648, qemu_version: "9.2.1", ...members })));
const tablesOf = (dsdt: number, apic: number): TableLengths => [
  ["FACS", 64],
  ["DSDT", dsdt],
  ["FACP", 244],
  ["APIC", apic],
  ["MCFG", 60],
  ["WAET", 40],
  ["RSDT", 52],
];

interface AcpiDigest {
  readonly event_type: number;
  readonly digest: string;
}
/** What three real guests measured: loader, root pointer, tables. */
const measured = (log: string | readonly AcpiDigest[]): string[] =>
  (typeof log === "string" ? (JSON.parse(log) as AcpiDigest[]) : log)
    .filter(({ event_type }) => event_type === 10)
    .map(({ digest }) => digest);

describe("loader and root pointer, made from where the tables are, are those that were measured on", () => {
  test.each<[string, TableLengths, string[]]>([
    ["16 processors and a GPU", quoteReportTables, measured(realJson("dstack-quote-report.json")["event_log"] ?? "")],
    ["8 processors", tablesOf(8802, 286), measured(realJson("mpc-2026-08-tcb_info.json")["event_log"] ?? "")],
    ["2 processors, QEMU 8.2", tablesOf(8285, 238), measured(realJson("dstack-tdx-lite-getquote.json")["event_log"] ?? "")],
  ])("a machine of %s", (_name, tables, [loader, rsdp]) => {
    const blob = acpiBlob(tables);
    const digests = acpiDigestsOf(blob);
    expect([toHex(digests.loader), toHex(digests.rsdp)]).toEqual([loader, rsdp]);
    expect(digests.tables).toEqual(sha384(blob));
  });

  test("and one with huge pages, whose memory table is linked as well", () => {
    const [facs, dsdt, facp, apic, mcfg, waet] = quoteReportTables;
    if (!facs || !dsdt || !facp || !apic || !mcfg || !waet) throw new Error("the machine has these tables");
    const withSrat = acpiBlob([facs, dsdt, facp, apic, ["SRAT", 200], mcfg, waet, ["RSDT", 56]]);
    expect(toHex(acpiDigestsOf(withSrat).loader)).not.toBe(toHex(acpiDigestsOf(acpiBlob(quoteReportTables)).loader));
    const short = acpiBlob([facs, dsdt, facp, apic, ["SRAT", 200], mcfg, waet, ["RSDT", 52]]);
    expect(() => acpiDigestsOf(short)).toThrow(/RSDT: need 56 bytes, have 52/);
  });
});

describe("a tables blob is refused when", () => {
  const without = (name: string) => quoteReportTables.filter(([signature]) => signature !== name);
  test.each<[string, Uint8Array, RegExp]>([
    ["it is empty", new Uint8Array(0), /no /],
    ["it is zeros", new Uint8Array(131072), /no /],
    ["it is too large", new Uint8Array(4 * 1024 * 1024 + 1), /at most/],
    ...["DSDT", "FACP", "APIC", "MCFG", "WAET", "RSDT"].map((name): [string, Uint8Array, RegExp] => [
      `${name} is missing`,
      acpiBlob(without(name)),
      new RegExp(`no ${name}`),
    ]),
    ["a table stands there twice", acpiBlob([...quoteReportTables, ["WAET", 40]]), /WAET stands there twice/],
    ["a table is unknown", acpiBlob([...quoteReportTables, ["HPET", 56]]), /an unknown table at 9798/],
    [
      "FACP is short",
      acpiBlob(quoteReportTables.map(([name, length]) => [name, name === "FACP" ? 147 : length])),
      /FACP: need 148/,
    ],
    ["a table has no length", Uint8Array.from([...Buffer.from("FACS"), 0, 0, 0, 0, ...noise(64)]), /a table of 0 bytes/],
    [
      "a table is longer than the blob",
      Uint8Array.from([...Buffer.from("FACS"), 0xff, 0xff, 0xff, 0xff]),
      /a table of 4294967295/,
    ],
  ])("%s", (_name, blob, message) => {
    expect(() => acpiDigestsOf(blob)).toThrow(
      expect.objectContaining({ code: "unavailable.acpi-tables", message: expect.stringMatching(message) }),
    );
  });

  test("but not when its last table ends with it, or a table is only a header", () => {
    const least = quoteReportTables.map(([name, length]): [string, number] => [name, name === "WAET" ? 36 : length]);
    expect(() => acpiDigestsOf(acpiBlob(least, 9794))).not.toThrow();
    expect(() => acpiDigestsOf(acpiBlob(quoteReportTables).slice(0, 9797))).toThrow(/a table of 52 bytes at 9746 of 9797/);
    expect(() => acpiDigestsOf(acpiBlob(quoteReportTables, 4 * 1024 * 1024))).not.toThrow();
  });

  test("random bytes stand in it, without another error", () => {
    const blob = acpiBlob(quoteReportTables, 12288);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(9797), fc.nat(255)), { maxLength: 4 }), (changes) => {
        const bytes = blob.slice();
        for (const [offset, value] of changes) bytes[offset] = value;
        try {
          acpiDigestsOf(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(KmsError);
        }
      }),
    );
  });
});

const disk = (id: string) =>
  `-drive file=/image/ovmf.fd,if=none,id=${id},format=raw,readonly=on -device virtio-blk-pci,drive=${id}`;
const base = "-cpu qemu64 -smp 2 -m 2048M -nographic -nodefaults -serial stdio";
const files = "-bios /image/ovmf.fd -kernel /image/bzImage -initrd /image/initramfs.cpio.gz";
const nic = "-netdev user,id=net0 -device virtio-net-pci,netdev=net0";
const fixed = "-object tdx-guest,id=tdx -device vhost-vsock-pci,guest-cid=3";
const shared = "-virtfs local,path=/image,mount_tag=host-shared,readonly=on,security_model=none,id=virtfs0";
const q35 = "-machine q35,kernel-irqchip=split,confidential-guest-support=tdx,hpet=off,smm=off,pic=off";
const port = (number: number, bus = "pcie.0") =>
  `-device pcie-root-port,id=pci.${number},bus=${bus},chassis=${number} -device vfio-pci,host=00:00.0,bus=pci.${number},iommufd=iommufd0`;
const huge =
  "-numa node,nodeid=0,cpus=0-1,memdev=mem0 -object memory-backend-file,id=mem0,size=2048M,mem-path=/dev/hugepages,share=on,prealloc=no,host-nodes=0,policy=bind";
const nodeBus = "-device pxb-pcie,id=pcie.node0,bus=pcie.0,addr=10,numa_node=0,bus_nr=5";
const plain = [base, files, disk("hd1"), nic, fixed, shared, disk("hd0"), q35];
const iommu = "-object iommufd,id=iommufd0";

describe("the arguments for the program", () => {
  test.each<[string, object, string[]]>([
    ["a plain machine", {}, plain],
    ["9p by its name", { host_share_mode: "9p" }, plain],
    ["a shared disk of vvfat", { host_share_mode: "vvfat" }, plain.with(5, disk("hd2"))],
    ["a shared disk of vhd", { host_share_mode: "vhd" }, plain.with(5, disk("hd2"))],
    ["pic", { pic: true }, plain.with(7, q35.replace("pic=off", "pic=on"))],
    ["QEMU 8, which has pic", { qemu_version: "8.2.2" }, plain.with(7, q35.replace("pic=off", "pic=on"))],
    ["QEMU 8 without", { qemu_version: "8.2.2", pic: false }, plain],
    ["verity volumes", { num_verity_volumes: 2 }, plain.toSpliced(3, 0, disk("vol0"), disk("vol1"))],
    ["no network", { num_nics: 0 }, plain.toSpliced(3, 1)],
    ["three networks", { num_nics: 3 }, plain.toSpliced(4, 0, ...[1, 2].map((at) => nic.replaceAll("net0", `net${at}`)))],
    ["memory of half a MiB more", { memory_size: 2147483648 + 524288 }, plain],
    ["huge pages", { hugepages: true }, [...plain, huge]],
    ["two GPUs", { num_gpus: 2 }, [...plain, iommu, port(0), port(1)]],
    ["GPUs on huge pages", { num_gpus: 1, hugepages: true }, [...plain, huge, iommu, nodeBus, port(0, "pcie.node0")]],
    ["a GPU and two switches", { num_gpus: 1, num_nvswitches: 2 }, [...plain, iommu, port(0), port(1), port(2)]],
    [
      "switches on the first bus, whatever that of GPUs",
      { num_gpus: 1, num_nvswitches: 1, hugepages: true },
      [...plain, huge, iommu, nodeBus, port(0, "pcie.node0"), port(1)],
    ],
    ["switches alone", { num_nvswitches: 1 }, [...plain, port(0)]],
    ["no hot plugging", { hotplug_off: true }, [...plain, "-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]],
    ["a window of 16 TiB", { pci_hole64_size: 17592186044416 }, [...plain, "-global q35-pcihost.pci-hole64-size=0x100000000000"]],
  ])("for %s", (_name, members, groups) => {
    expect(acpiArguments(machine(members), paths)).toEqual(groups.join(" ").split(" "));
  });

  test("are made for as many processors and devices as are allowed", () => {
    expect(() => acpiArguments(machine({ cpu_count: 4096, num_gpus: 64, num_nics: 64 }), paths)).not.toThrow();
  });

  test("keep a comma in a path within its option", () => {
    const odd = { ...paths, firmware: "/a,b/o,vmf.fd" };
    const list = acpiArguments(machine(), odd);
    expect(list).toContain("file=/a,,b/o,,vmf.fd,if=none,id=hd1,format=raw,readonly=on");
    expect(list).toContain("local,path=/a,,b,mount_tag=host-shared,readonly=on,security_model=none,id=virtfs0");
    expect(list[list.indexOf("-bios") + 1]).toBe("/a,b/o,vmf.fd");
  });

  test.each([
    ["ovmf.fd", "."],
    ["/ovmf.fd", "/"],
    ["images/ovmf.fd", "images"],
  ])("share the folder of %s, which is %s", (firmware, folder) => {
    const list = acpiArguments(machine(), { ...paths, firmware });
    expect(list[list.indexOf("-virtfs") + 1]).toMatch(new RegExp(`^local,path=${folder === "." ? "\\." : folder},`));
  });

  test.each<[string, object, RegExp]>([
    ["a software TPM", { swtpm: true }, /swtpm/],
    ["no processor", { cpu_count: 0 }, /cpu_count: need at least 1/],
    ["too many processors", { cpu_count: 4097 }, /cpu_count: need at most 4096/],
    ["too many GPUs", { num_gpus: 65 }, /num_gpus: need at most 64/],
    ["billions of disks", { num_verity_volumes: 4294967295 }, /num_verity_volumes: need at most 64/],
    ["too many networks", { num_nics: 65 }, /num_nics/],
    ["too many switches", { num_nvswitches: 65 }, /num_nvswitches/],
    ["another share mode", { host_share_mode: "nfs" }, /host_share_mode/],
    ["another QEMU version", { qemu_version: "nine" }, /qemu_version/],
  ])("are not made for %s", (_name, members, message) => {
    expect(() => machine(members)).toThrow(
      expect.objectContaining({ code: "malformed.vm-config", message: expect.stringMatching(message) }),
    );
  });
});

describe("a file of known digests", () => {
  const digests = { loader: "1a".repeat(48), rsdp: "2b".repeat(48), tables: "3c".repeat(48) };
  const entry = (members: object = {}) => ({ machine: recordOf(machine(members)), ...digests });
  const file = (...entries: readonly object[]) => JSON.stringify({ version: 1, entries });

  test("knows the two real machines by their configuration", async () => {
    const report = quoteReport();
    const config = parseVmConfig(report.vmConfig);
    const [loader, rsdp, tables] = measured(realJson("dstack-quote-report.json")["event_log"] ?? "");
    const source = createAcpiData(file(entry(), { machine: recordOf(acpiMachineOf(config)), loader, rsdp, tables }));
    const found = await source.digestsOf(acpiMachineOf(config), paths);
    expect([found.loader, found.rsdp, found.tables].map(toHex)).toEqual([loader, rsdp, tables]);
  });

  test("takes a default for what it stands for", async () => {
    const source = createAcpiData(file(entry({ qemu_version: "9.1.0", pic: false, host_share_mode: "9p", num_nics: 1 })));
    const config = parseVmConfig('{"cpu_count":2,"memory_size":2147483648}');
    expect(toHex((await source.digestsOf(acpiMachineOf(config), paths)).loader)).toBe(digests.loader);
  });

  test.each<[string, object]>([
    ["cpu_count", { cpu_count: 3 }],
    ["memory_size", { memory_size: 2147483649 }],
    ["qemu_version", { qemu_version: "9.2.0" }],
    ["pic", { pic: true }],
    ["pci_hole64_size", { pci_hole64_size: 1 }],
    ["hugepages", { hugepages: true }],
    ["num_gpus", { num_gpus: 1 }],
    ["num_nvswitches", { num_nvswitches: 1 }],
    ["num_nics", { num_nics: 2 }],
    ["num_verity_volumes", { num_verity_volumes: 1 }],
    ["hotplug_off", { hotplug_off: true }],
    ["host_share_mode", { host_share_mode: "vhd" }],
  ])("does not serve a machine with another %s", async (_name, members) => {
    const source = createAcpiData(file(entry()));
    await expect(source.digestsOf(machine(members), paths)).rejects.toThrow(
      expect.objectContaining({ code: "unavailable.acpi-tables" }),
    );
    await expect(createAcpiData(file(entry(members))).digestsOf(machine(members), paths)).resolves.toBeDefined();
  });

  test.each<[string, string]>([
    ["no JSON", "{"],
    ["a member that stands there twice", '{"version":1,"entries":[],"entries":[]}'],
    ["more than it may have", " ".repeat(16 * 1024 * 1024 + 1)],
    ["another version", JSON.stringify({ version: 2, entries: [] })],
    ["an unknown member", JSON.stringify({ version: 1, entries: [], more: 1 })],
    ["an unknown member of an entry", file({ ...entry(), more: 1 })],
    ["an unknown member of a machine", file({ ...entry(), machine: { ...entry().machine, swtpm: false } })],
    ["a machine with a member missing", file({ ...entry(), machine: { ...entry().machine, pic: undefined } })],
    ["a digest in upper case", file({ ...entry(), rsdp: "2B".repeat(48) })],
    ["a digest of 47 bytes", file({ ...entry(), tables: "3c".repeat(47) })],
    ["a machine with two entries", file(entry(), { ...entry(), rsdp: "00".repeat(48) })],
    ["a share mode of the launcher", file({ ...entry(), machine: { ...entry().machine, host_share_mode: "vhd" } })],
  ])("is refused for %s", (_name, text) => {
    expect(() => createAcpiData(text)).toThrow(expect.objectContaining({ code: "malformed.file" }));
  });

  test("is not read at all when it is larger than it may be", () => {
    const text = `${" ".repeat(16 * 1024 * 1024)}{"version":1,"entries":[]}`;
    expect(() => createAcpiData(text)).toThrow(/^ACPI data: need at most 16777216 characters/);
    expect(() => createAcpiData(text.slice(26))).not.toThrow();
    expect(() => createAcpiData("{")).toThrow(/^ACPI data/);
  });
});
