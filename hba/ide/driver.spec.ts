// Goal: the IDE driver finds its drives, moves data by DMA and by port, and recovers from what drives and channels do wrong.
// Method: a booted machine with a PIIX function and real drives; bios go in, the media and the kernel's log are looked at.
import { describe, expect, test } from "vitest";
import { do_fork } from "../../kernel-sim/core/fork.ts";
import { kfunc } from "../../kernel-sim/core/kfunc.ts";
import { msleep } from "../../kernel-sim/core/timer.ts";
import { blkdev_issue_flush } from "../../kernel-sim/block/queue.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { bytesOf, filledPages, makeIdeRig, onMedia, transfer, type IdeRig } from "./driver-testing.ts";

const move = (rig: IdeRig, write: boolean, sector: number, pages: readonly number[], drive = 0): boolean => {
  let good = false;
  rig.run(function* () {
    good = yield* transfer(rig.drives[drive]!, write, sector, pages);
  });
  return good;
};
const lines = (rig: IdeRig, text: string): string[] => rig.log().filter((line) => line.includes(text));

describe("probing", () => {
  test("finds masters and slaves on both channels and names them by their place", () => {
    const rig = makeIdeRig({ ids: [0, 1, 3] });
    expect(rig.drives.map((drive) => drive.name)).toEqual(["hda", "hdb", "hdd"]);
    expect(rig.log()).toEqual(
      expect.arrayContaining([
        "PIIX4: IDE controller at PCI slot 0000:00:01.0",
        "hda: DUMPLAB VIRTUAL-36G-10K, ATA DISK drive",
        "ide0 at 0x1f0-0x1f7,0x3f6 on irq 14",
        "ide1 at 0x170-0x177,0x376 on irq 15",
        "hdd: 131072 sectors (67 MB) w/8192KiB Cache, CHS=130/16/63, UDMA(33)",
      ]),
    );
    expect(rig.kernel.reports).toEqual([]);
  });

  test("sets the chipset's timing: PIO 4 and UDMA 2 on a PIIX4, multiword DMA on a PIIX3", () => {
    const piix4 = makeIdeRig({ ids: [0, 1] });
    expect(piix4.chip.readConfig(0x40, 2) & 0xf3ff).toBe(0xe377);
    expect([piix4.chip.readConfig(0x48, 1), piix4.chip.readConfig(0x4a, 2)]).toEqual([0x03, 0x22]);
    const piix3 = makeIdeRig({ variant: "piix3" });
    expect([piix3.chip.readConfig(0x48, 1), piix3.drives[0]!.s.current_speed]).toEqual([0, 0x22]);
  });

  test("leaves a channel alone that the firmware has switched off", () => {
    const rig = makeIdeRig({ ids: [0, 2], firmware: (chip) => chip.writeConfig(0x42, 2, 0) });
    expect(rig.drives.map((drive) => drive.name)).toEqual(["hda"]);
    expect(lines(rig, "PIIX4: channel 1 is disabled")).toHaveLength(1);
  });
});

describe("data", () => {
  test.each(["dma", "multiple", "single"] as const)("goes both ways by %s", (way) => {
    const rig = makeIdeRig();
    const { s } = rig.drives[0]!;
    if (way !== "dma") s.using_dma = 0;
    if (way === "single") {
      s.mult_req = 0;
      s.mult_count = 0;
      s.special = 0;
    }
    const pages = filledPages(rig.kernel, 20, 3);
    expect(move(rig, true, 1000, pages)).toBe(true);
    expect(onMedia(rig.disks[0]!, 1000, 20 * 4096)).toEqual(bytesOf(rig.kernel, pages));
    const back = filledPages(rig.kernel, 20, 99);
    expect(move(rig, false, 1000, back)).toBe(true);
    expect(bytesOf(rig.kernel, back)).toEqual(bytesOf(rig.kernel, pages));
    expect(s.mult_count).toBe(way === "single" ? 0 : 16);
    expect(rig.kernel.reports).toEqual([]);
  });

  test("goes to a slave, to the second channel, and to a PIIX3", () => {
    const rig = makeIdeRig({ ids: [0, 1, 2], variant: "piix3" });
    for (const drive of [1, 2]) {
      const pages = filledPages(rig.kernel, 4, drive);
      expect(move(rig, true, 64, pages, drive)).toBe(true);
      expect(onMedia(rig.disks[drive]!, 64, 4 * 4096)).toEqual(bytesOf(rig.kernel, pages));
    }
  });

  test("for two drives of one cable takes turns: both make progress under load", () => {
    const rig = makeIdeRig({ ids: [0, 1] });
    const ends: number[] = [0, 0];
    const worker = kfunc("ide_test_worker", function* (which: number, pages: number[]) {
      for (let i = 0; i < 20; i++) yield* transfer(rig.drives[which]!, true, 2000 + i * 64, pages);
      ends[which] = K.machine.now();
    });
    const pages = [filledPages(rig.kernel, 8, 1), filledPages(rig.kernel, 8, 2)];
    rig.run(function* () {
      for (const which of [0, 1]) yield* do_fork(`worker${which}`, () => worker(which, pages[which]!), which);
      while (ends.includes(0)) yield* msleep(10);
    });
    for (const which of [0, 1])
      expect(onMedia(rig.disks[which]!, 2000 + 19 * 64, 8 * 4096)).toEqual(bytesOf(rig.kernel, pages[which]!));
    expect(rig.kernel.reports).toEqual([]);
  });

  test("in the drive's cache reaches the platters by a flush", () => {
    const rig = makeIdeRig({ disk: { writeCacheEnabled: true } });
    const [disk] = rig.disks;
    expect(move(rig, true, 500, filledPages(rig.kernel, 16, 7))).toBe(true);
    expect(disk!.volatileBytes).toBeGreaterThan(0);
    let errno = -1;
    rig.run(function* () {
      errno = yield* blkdev_issue_flush(rig.drives[0]!.queue!, rig.drives[0]!.disk!);
    });
    expect([errno, disk!.volatileBytes]).toEqual([0, 0]);
  });
});

describe("recovery", () => {
  test("a bad sector fails the page it is in and no other, and is named", () => {
    const rig = makeIdeRig();
    rig.disks[0]!.faults.lay({ kind: "media error", on: "read", firstLba: 808 });
    expect(move(rig, false, 800, filledPages(rig.kernel, 1, 0))).toBe(true);
    expect(move(rig, false, 808, filledPages(rig.kernel, 1, 0))).toBe(false);
    expect(move(rig, false, 816, filledPages(rig.kernel, 1, 0))).toBe(true);
    expect(lines(rig, "UncorrectableError")[0]).toContain("LBAsect=808, sector=808");
    expect(lines(rig, "end_request: I/O error, dev hda, sector 808")).toHaveLength(1);
  });

  test("a lost interrupt is found by the timer, and nothing else is lost", () => {
    let lose = 0;
    const rig = makeIdeRig({ line: (_irq, asserted, pass) => (asserted && lose-- > 0 ? undefined : pass()) });
    lose = 1;
    const pages = filledPages(rig.kernel, 4, 5);
    expect(move(rig, true, 100, pages)).toBe(true);
    expect(lines(rig, "hda: lost interrupt")).toHaveLength(1);
    expect(onMedia(rig.disks[0]!, 100, 4 * 4096)).toEqual(bytesOf(rig.kernel, pages));
  });

  test("a command that the drive swallows ends in a reset, is done again by port, and DMA comes back", () => {
    const rig = makeIdeRig();
    const pages = filledPages(rig.kernel, 4, 5);
    rig.disks[0]!.faults.lay({ kind: "timeout", on: "write", count: 1 });
    expect(move(rig, true, 100, pages)).toBe(true);
    expect(onMedia(rig.disks[0]!, 100, 4 * 4096)).toEqual(bytesOf(rig.kernel, pages));
    expect(lines(rig, "dma_timer_expiry").length).toBeGreaterThan(0);
    expect(lines(rig, "ide0: reset: success")).toHaveLength(1);
    expect([rig.drives[0]!.s.using_dma, rig.drives[0]!.s.state]).toEqual([1, 0]);
  });

  test("a drive that cannot write says so, is reset, tried again, and given up", () => {
    const rig = makeIdeRig();
    rig.disks[0]!.faults.lay({ kind: "media error", on: "write", firstLba: 100 });
    expect(move(rig, true, 100, filledPages(rig.kernel, 1, 5))).toBe(false);
    expect(lines(rig, "DeviceFault").length).toBeGreaterThan(1);
    expect(lines(rig, "reset: success").length).toBeGreaterThan(0);
    expect(lines(rig, "end_request: I/O error, dev hda, sector 100")).toHaveLength(1);
  });

  test("a cable that hangs comes back with SRST", () => {
    const rig = makeIdeRig();
    rig.disks[0]!.faults.lay({ kind: "bus hang", count: 1 });
    const pages = filledPages(rig.kernel, 2, 6);
    expect(move(rig, true, 40, pages)).toBe(true);
    expect(onMedia(rig.disks[0]!, 40, 2 * 4096)).toEqual(bytesOf(rig.kernel, pages));
  });
});
