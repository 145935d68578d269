// Goal: the whole chain dumps to an IDE disk by polled port I/O: kernel, diskdump, ide_dump, PIIX function, ATA drive.
// Method: a rig with a real chip and drive; a process panics, whatever the channel is doing; the dump is read off the disk.
import { describe, expect, test } from "vitest";
import type { Running } from "../../emulator/cpu/cpu.ts";
import { SignatureBacking } from "../../diskdump/format/signature-backing.ts";
import { dumpOutcome } from "../../diskdump/module/disk-dump.ts";
import { init_ide_dump } from "../../diskdump/module/ide-dump.ts";
import { init_diskdump } from "../../diskdump/module/init-diskdump.ts";
import { register_disk_dump_device } from "../../diskdump/module/registration.ts";
import { openDump } from "../../diskdump/userspace/dump-image.ts";
import { PartitionStore } from "../../diskdump/userspace/partition-store.ts";
import { filledPages, makeIdeRig, transfer, type IdeRig, type IdeRigOptions } from "../../hba/ide/driver-testing.ts";
import { runKernel } from "../../kernel-sim/core/boot.ts";
import { do_fork } from "../../kernel-sim/core/fork.ts";
import { armProbe, kfunc } from "../../kernel-sim/core/kfunc.ts";
import { panic } from "../../kernel-sim/core/panic.ts";
import { spin_lock } from "../../kernel-sim/core/spinlock.ts";
import { msleep } from "../../kernel-sim/core/timer.ts";

const START_SECT = 2048;
const BYTES = 66 << 20;

function dumpRig(options: IdeRigOptions = {}): { rig: IdeRig; partition: PartitionStore } {
  const rig = makeIdeRig({ ...options, disk: { sizeBytes: 80 << 20, writeCacheEnabled: true, ...options.disk } });
  const { store } = rig.disks[0]!.media;
  const firstPage = (START_SECT * 512) / 4096;
  const area = { formula: "paper" as const, firstPage, pages: BYTES / 4096, blockSize: 4096 };
  store.lay(new SignatureBacking(store.pool, area), firstPage, area.pages);
  rig.run(function* () {
    const dd = (yield* init_diskdump({}))!;
    yield* init_ide_dump(dd);
    yield* register_disk_dump_device(dd, {
      ...{ name: "hda1", device: rig.drives[0]!, start_sect: START_SECT, nr_sects: BYTES / 512 },
    });
  });
  return { rig, partition: new PartitionStore(store, "hda1", START_SECT * 512, BYTES) };
}

const crash = (rig: IdeRig, program: () => Running, seconds = 600): void => {
  runKernel(rig.kernel, program, seconds * 1e9);
};

/** Keeps the drive busy, outside the dump partition. */
const writer = kfunc("ide_dump_test_writer", function* (rig: IdeRig, pages: number[]) {
  for (let i = 0; ; i = (i + 1) % 8) yield* transfer(rig.drives[0]!, true, 8 + i * 64, pages);
});

describe("a panic on a machine with an IDE disk", () => {
  test.each(["piix4", "piix3"] as const)("is dumped through a %s by polling, without an interrupt", (variant) => {
    const { rig, partition } = dumpRig({ variant });
    crash(rig, () => panic("test"));
    expect(dumpOutcome(rig.kernel)).toMatchObject({ result: "complete", frozenCpus: [1] });
    expect(openDump(partition).shortcomings).toEqual([]);
    expect(rig.disks[0]!.volatileBytes).toBe(0);
    expect([rig.kernel.reports, rig.kernel.machine.complaints]).toEqual([[], []]);
  });

  test.each(["ide_do_request", "ide_dma_setup", "ide_dma_start", "ide_intr", "ide_dma_intr", "ide_end_request"])(
    "is dumped when it comes in %s, with a request under way",
    (name) => {
      const { rig, partition } = dumpRig();
      const pages = filledPages(rig.kernel, 8, 1);
      crash(rig, function* () {
        yield* do_fork("writer", () => writer(rig, pages), 0);
        if (!armProbe(name, 5, () => panic("test"))) throw new Error(`no function ${name}`);
        yield* msleep(10_000);
      });
      expect(dumpOutcome(rig.kernel)).toMatchObject({ result: "complete" });
      expect(openDump(partition).shortcomings).toEqual([]);
    },
  );

  test("needs neither ide_lock nor a group that is not busy: polled ports go past both", () => {
    const { rig } = dumpRig();
    const { hwgroup } = rig.drives[0]!.hwif;
    crash(rig, function* () {
      yield* spin_lock(rig.kernel.ide!.ide_lock);
      hwgroup.s.busy = 1;
      yield* panic("test");
    });
    expect(dumpOutcome(rig.kernel)).toMatchObject({ result: "complete" });
  });

  test("is refused while the drive is suspended", () => {
    const { rig } = dumpRig();
    rig.drives[0]!.s.suspend_reset = 1;
    crash(rig, () => panic("test"));
    expect(dumpOutcome(rig.kernel)).toMatchObject({ result: "refused", reason: "adapter not sane", errno: -5 });
  });

  test("is refused when the drive does not come out of its reset", () => {
    const { rig } = dumpRig();
    rig.disks[0]!.faults.lay({ kind: "device gone" });
    // Nobody drives the cable: BSY never shows, and the error register is not 1.
    crash(rig, () => panic("test"));
    expect(dumpOutcome(rig.kernel)).toMatchObject({ result: "refused", reason: "adapter reset failed" });
  });

  test("fails at a sector that cannot be written, with the block's number", () => {
    const { rig } = dumpRig({ disk: { writeCacheEnabled: false } });
    rig.disks[0]!.faults.lay({ kind: "media error", on: "write", firstLba: START_SECT + 8 * 100 + 3 });
    crash(rig, () => panic("test"));
    expect(dumpOutcome(rig.kernel)).toMatchObject({ result: "incomplete", reason: "write error", errno: -5 });
  });

  test("fails when a write is never ended, and does not wait for ever", () => {
    const { rig } = dumpRig();
    rig.disks[0]!.faults.lay({ kind: "lost completion", on: "write", firstLba: START_SECT + 8 * 200, count: 1 });
    crash(rig, () => panic("test"));
    expect(dumpOutcome(rig.kernel)).toMatchObject({ result: "incomplete", reason: "write error" });
  });

  test("is refused when a module byte has changed since registration", () => {
    const { rig } = dumpRig();
    const { core } = rig.kernel.modules.loaded.get("ide_dump")!;
    rig.kernel.machine.memory.pool.u8[core + 40]! ^= 1;
    crash(rig, () => panic("test"));
    expect(dumpOutcome(rig.kernel)).toMatchObject({ result: "refused", reason: "ide_dump module damaged" });
  });
});
