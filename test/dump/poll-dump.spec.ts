// Goal: the whole chain dumps by polling: kernel, diskdump, mptfusion driver, Fusion-MPT chip, SCSI disk.
// Method: a rig with a real chip and disk; a process panics, also while the disk is busy; the dump is read off the disk.
import { describe, expect, test } from "vitest";
import { SignatureBacking } from "../../diskdump/format/signature-backing.ts";
import { dumpOutcome } from "../../diskdump/module/disk-dump.ts";
import { init_diskdump } from "../../diskdump/module/init-diskdump.ts";
import { register_disk_dump_device } from "../../diskdump/module/registration.ts";
import { init_scsi_dump } from "../../diskdump/module/scsi-dump.ts";
import { openDump } from "../../diskdump/userspace/dump-image.ts";
import { PartitionStore } from "../../diskdump/userspace/partition-store.ts";
import { makeRig, type Rig, type RigOptions } from "../../hba/mptfusion/driver-testing.ts";
import { runKernel } from "../../kernel-sim/core/boot.ts";
import { panic } from "../../kernel-sim/core/panic.ts";
import { spin_lock } from "../../kernel-sim/core/spinlock.ts";
import type { Running } from "../../emulator/cpu/cpu.ts";

const START_SECT = 2048;
const BYTES = 66 << 20;

function dumpRig(options: RigOptions = {}): { rig: Rig; partition: PartitionStore } {
  const rig = makeRig({ ids: [0], ...options, disk: { sizeBytes: 80 << 20, ...options.disk } });
  const { store } = rig.disks[0]!.media;
  const firstPage = (START_SECT * 512) / 4096;
  const area = { formula: "paper" as const, firstPage, pages: BYTES / 4096, blockSize: 4096 };
  store.lay(new SignatureBacking(store.pool, area), firstPage, area.pages);
  const sdev = rig.hosts[0]!.devices[0]!;
  rig.run(function* () {
    const dd = (yield* init_diskdump({}))!;
    yield* init_scsi_dump(dd);
    yield* register_disk_dump_device(dd, {
      name: "sda1",
      device: sdev,
      start_sect: START_SECT,
      nr_sects: BYTES / 512,
    });
  });
  return { rig, partition: new PartitionStore(store, "sda1", START_SECT * 512, BYTES) };
}

const crash = (rig: Rig, program: () => Running): void => {
  runKernel(rig.kernel, program, 600e9);
};

describe("a panic on a machine with a Fusion-MPT adapter", () => {
  test.each(["53c1030", "sas1068"] as const)("is dumped through the %s by polling", (variant) => {
    const { rig, partition } = dumpRig({ variant });
    crash(rig, () => panic("test"));
    expect(dumpOutcome(rig.kernel)).toMatchObject({ result: "complete", frozenCpus: [1] });
    expect(openDump(partition).shortcomings).toEqual([]);
    expect(rig.kernel.reports).toEqual([]);
    expect(rig.kernel.machine.complaints).toEqual([]);
  });

  test("is refused while FreeQlock is held", () => {
    const { rig } = dumpRig();
    const lock = [...rig.kernel.locks].find(([name]) => name.includes("FreeQlock"))![1];
    crash(rig, function* () {
      yield* spin_lock(lock);
      yield* panic("test");
    });
    expect(dumpOutcome(rig.kernel)).toMatchObject({ result: "refused", reason: "adapter not sane", errno: -16 });
  });
});
