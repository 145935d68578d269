// Goal: an IDE chip that is broken on purpose is noticed: by the driver above it, or by what the registers say.
// Method: the same exercise on the honest model and on each mutant. On the honest one it finds nothing.
import { afterEach, describe, expect, test, vi } from "vitest";
import { AtaDrive } from "../../emulator/disk/ata-drive.ts";
import { TaskFile } from "../../emulator/disk/ata-task-file.ts";
import { bytesOf, filledPages, makeIdeRig, onMedia, transfer, type IdeRig } from "./driver-testing.ts";
import { ATA } from "./registers.ts";
import { DATA, SpecIde, pattern } from "./spec-host.ts";

afterEach(() => void vi.restoreAllMocks());

/** Writes and reads through the kernel's driver; what it finds wrong. */
function driverExercise(line?: NonNullable<Parameters<typeof makeIdeRig>[0]>["line"]): string[] {
  const findings: string[] = [];
  let rig: IdeRig;
  try {
    rig = makeIdeRig(line ? { line } : {});
  } catch (error) {
    return [`probing: ${(error as Error).message}`];
  }
  const [drive] = rig.drives;
  if (!drive) return ["no drive was found"];
  for (const way of ["dma", "port"] as const) {
    if (way === "port") drive.s.using_dma = 0;
    const pages = filledPages(rig.kernel, 6, 1);
    const back = filledPages(rig.kernel, 6, 77);
    rig.run(function* () {
      if (!(yield* transfer(drive, true, 640, pages))) findings.push(`${way}: the write failed`);
      if (!(yield* transfer(drive, false, 640, back))) findings.push(`${way}: the read failed`);
    }, 3000);
    if (Buffer.compare(onMedia(rig.disks[0]!, 640, 6 * 4096), bytesOf(rig.kernel, pages)) !== 0)
      findings.push(`${way}: the media hold something else`);
    if (Buffer.compare(bytesOf(rig.kernel, back), bytesOf(rig.kernel, pages)) !== 0)
      findings.push(`${way}: memory holds something else`);
  }
  const complaint = /lost interrupt|bad DMA status|status=0x|timeout|reset|not ready/;
  return [...findings, ...rig.log().filter((text) => complaint.test(text)), ...rig.kernel.reports];
}

/** What the task file must say when a command stops at a bad sector; what is wrong with it. */
function errorExercise(): string[] {
  const ide = new SpecIde();
  ide.disks[0]!.media.store.write(300 * 512, pattern(8 * 512, 1));
  ide.disks[0]!.faults.lay({ kind: "media error", firstLba: 305 });
  const findings: string[] = [];
  for (const way of ["port", "dma"] as const) {
    const values = { lba: 300, sectors: 8 };
    if (way === "port") ide.pioIn({ ...values, command: 0x20 });
    else ide.dma({ ...values, command: 0xc8 }, [{ address: DATA, bytes: 8 * 512 }], true);
    const at = ide.inb(ATA.LbaLow) | (ide.inb(ATA.LbaMid) << 8);
    const left = ide.inb(ATA.SectorCount);
    if (at !== 305) findings.push(`${way}: stopped at ${at}, not at 305`);
    if (left !== 3) findings.push(`${way}: ${left} sectors left, not 3`);
    if ((ide.inb(ATA.Error) & 0x40) === 0) findings.push(`${way}: no UNC`);
  }
  return findings;
}

test("the honest model gives no cause for complaint", () => {
  expect(driverExercise()).toEqual([]);
  expect(errorExercise()).toEqual([]);
});

describe("a mutant is noticed that", () => {
  test("keeps every fifth interrupt to itself", () => {
    let raised = 0;
    const findings = driverExercise((_irq, asserted, pass) => {
      if (asserted && ++raised % 5 === 0) return;
      pass();
    });
    expect(findings).toContain("hda: lost interrupt");
  });

  test("moves one sector less than the command says", () => {
    const honest = TaskFile.prototype.sectors;
    vi.spyOn(TaskFile.prototype, "sectors").mockImplementation(function (this: TaskFile, extended) {
      const sectors = honest.call(this, extended);
      return extended && sectors > 1 && sectors < 65536 ? sectors - 1 : sectors;
    });
    // Neither the driver's status checks nor the bus master's see it: only the data do.
    expect(driverExercise()).toEqual([
      "dma: the media hold something else",
      "dma: memory holds something else",
      "port: the media hold something else",
      "port: memory holds something else",
    ]);
  });

  test("counts one sector too few as left over after an error", () => {
    const honest = TaskFile.prototype.setCount;
    vi.spyOn(TaskFile.prototype, "setCount").mockImplementation(function (this: TaskFile, sectors, extended) {
      honest.call(this, Math.max(0, sectors - 1), extended);
    });
    expect(errorExercise()).toEqual(["port: 2 sectors left, not 3", "dma: 2 sectors left, not 3"]);
  });

  test("forgets DRDY in its status", () => {
    const honest = Object.getOwnPropertyDescriptor(AtaDrive.prototype, "status")!.get!;
    vi.spyOn(AtaDrive.prototype, "status", "get").mockImplementation(function (this: AtaDrive) {
      return (honest.call(this) as number) & ~0x40;
    });
    expect(driverExercise().length).toBeGreaterThan(0);
  });

  test("shows DRQ after the last block", () => {
    const honest = AtaDrive.prototype.ended;
    vi.spyOn(AtaDrive.prototype, "ended").mockImplementation(function (this: AtaDrive, outcome, quietly) {
      honest.call(this, outcome, quietly);
      if (quietly) this.dataRequest(false);
    });
    expect(driverExercise().length).toBeGreaterThan(0);
  });

  test("ends a DMA command without the interrupt bit in BMISX", () => {
    const ide = new SpecIde();
    for (const channel of ide.chip.channels) vi.spyOn(channel.busMaster, "interrupted").mockImplementation(() => {});
    const { bm } = ide.dma({ command: 0xc8, lba: 0, sectors: 1 }, [{ address: DATA, bytes: 512 }], true);
    expect(bm).not.toBe(0x04);
  });
});
