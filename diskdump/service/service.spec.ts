// Goal: from installation to a saved vmcore, as chapter 5 of the white paper tells it.
// Method: one machine is set up and crashes; a second one boots with the same disk and root file system.
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { bootTestMachine } from "../../kernel-sim/core/testing.ts";
import { dumpOutcome, diskdumpOf } from "../module/disk-dump.ts";
import { FakeAdapter } from "../module/fake-adapter.ts";
import { DEFAULT_OPTIONS } from "../module/parameters.ts";
import { crash, run } from "../module/spec-machine.ts";
import { PartitionStore } from "../userspace/partition-store.ts";
import { verifyPartition } from "../userspace/format.ts";
import { chkconfig, initialformat, optionsFor, rc, start, status, stop } from "./service.ts";
import { RootFiles, configuredDevices, installFiles, type DiskdumpSystem } from "./system.ts";

const START = 2048;
const SECTORS = (65 << 20) / 512;
let crashDirectory = "";
beforeEach(() => {
  crashDirectory = mkdtempSync(join(tmpdir(), "dumplab-"));
});
afterEach(() => rmSync(crashDirectory, { recursive: true }));

function boot(root: RootFiles, adapterOf: () => FakeAdapter, messages: string[] = []): DiskdumpSystem {
  const kernel = bootTestMachine();
  kernel.enter();
  const adapter = adapterOf();
  const store = new PartitionStore(adapter.disk, "sde1", START * 512, SECTORS * 512);
  return {
    kernel,
    root,
    partitions: [{ path: "/dev/sde1", target: adapter.target("sde1", START, SECTORS), store }],
    crashDirectory,
    onMessage: (line) => messages.push(line),
  };
}
const adapter = () => new FakeAdapter({ sectors: START + SECTORS });

describe("the diskdump service", () => {
  test("formats, starts, dumps at the panic, and saves the dump at the next boot", () => {
    const root = new RootFiles();
    installFiles(root, ["/dev/sde1"]);
    const first = boot(root, adapter);
    const [formatted] = initialformat(first, DEFAULT_OPTIONS);
    expect(formatted!.writtenBlocks).toBe(formatted!.deviceBlocks);
    chkconfig(first, true);
    let failed: unknown;
    run(first.kernel, function* () {
      failed = yield* start(first, optionsFor(first, DEFAULT_OPTIONS));
    });
    expect(failed).toEqual([]);
    expect(status(first)).toBe("diskdump enabled");
    expect(first.kernel.files.read("/proc/diskdump")).toBe(`/dev/sde1 ${START} ${SECTORS}\n`);
    crash(first.kernel);
    expect(dumpOutcome(first.kernel).result).toBe("complete");

    // The reboot: another kernel, the disk and the files as they were left.
    const { store } = first.partitions[0]!;
    const messages: string[] = [];
    const second = { ...boot(root, adapter, messages) };
    const partitions = [{ ...second.partitions[0]!, store }];
    let result: unknown;
    run(second.kernel, function* () {
      result = yield* rc({ ...second, partitions }, DEFAULT_OPTIONS);
    });
    expect(result).toMatchObject({
      saved: [{ device: "/dev/sde1", result: { outcome: "saved", resigned: true } }],
      failed: [],
    });
    const [directory] = readdirSync(crashDirectory);
    expect(directory).toMatch(/^127\.0\.0\.1-2004-12-01-00:00$/);
    expect(statSync(join(crashDirectory, directory!, "vmcore")).size).toBeGreaterThan(60 << 20);
    expect(verifyPartition(store).firstWrong).toBeUndefined();
    expect(status(second)).toBe("diskdump enabled");
  });

  test("takes the module's parameters from modprobe.conf", () => {
    const root = new RootFiles();
    installFiles(root, ["/dev/sde1"], ["option diskdump 'block_order=3' 'sample_rate=0'"]);
    const system = boot(root, adapter);
    run(system.kernel, function* () {
      yield* start(system, optionsFor(system, DEFAULT_OPTIONS));
    });
    expect(diskdumpOf(system.kernel)!.parameters).toMatchObject({ block_order: 3, sample_rate: 0 });
    expect(system.kernel.files.read("/sys/module/diskdump/parameters/block_order")).toBe("3\n");
  });

  test("stops: nothing is registered, no hook is left", () => {
    const root = new RootFiles();
    installFiles(root, ["/dev/sde1"]);
    const system = boot(root, adapter);
    run(system.kernel, function* () {
      yield* start(system, DEFAULT_OPTIONS);
      yield* stop(system);
    });
    expect(status(system)).toBe("diskdump not enabled");
    expect(system.kernel.crashdump.diskdump).toBeUndefined();
    expect(system.kernel.files.exists("/proc/diskdump")).toBe(false);
  });

  test("does nothing at boot unless it is switched on", () => {
    const root = new RootFiles();
    installFiles(root, ["/dev/sde1"]);
    const system = boot(root, adapter);
    run(system.kernel, function* () {
      yield* rc(system, DEFAULT_OPTIONS);
    });
    expect(status(system)).toBe("diskdump not enabled");
    chkconfig(system, true);
    run(system.kernel, function* () {
      yield* rc(system, DEFAULT_OPTIONS);
    });
    expect(status(system)).toBe("diskdump enabled");
  });

  test("names the file when no device is chosen, and the device when it is not there", () => {
    const root = new RootFiles();
    root.write("/etc/sysconfig/diskdump", "# nothing\n");
    expect(() => configuredDevices(root)).toThrow("/etc/sysconfig/diskdump: no DEVICE= line");
    installFiles(root, ["/dev/sdz9"]);
    const system = boot(root, adapter);
    expect(() => initialformat(system, DEFAULT_OPTIONS)).toThrow("/dev/sdz9: there is no such device");
  });
});
