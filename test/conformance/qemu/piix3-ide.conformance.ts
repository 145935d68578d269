// Goal: our IDE driver and dump type are right about the hardware, not only about our own model of it. Method: the code as it is
// runs on QEMU's PIIX3 and its ide-hd; what it wrote is read off QEMU's disk images.
import { closeSync, openSync, readSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { init_ide_dump } from "../../../diskdump/module/ide-dump.ts";
import { init_diskdump } from "../../../diskdump/module/init-diskdump.ts";
import { READ, WRITE } from "../../../diskdump/module/disk-dump.ts";
import { register_disk_dump_device } from "../../../diskdump/module/registration.ts";
import type { Running } from "../../../emulator/cpu/cpu.ts";
import { loadPiixIde, piix_ide_init } from "../../../hba/ide/driver.ts";
import { bytesOf, filledPages, transfer } from "../../../hba/ide/driver-testing.ts";
import { blkdev_issue_flush } from "../../../kernel-sim/block/queue.ts";
import type { Kernel } from "../../../kernel-sim/core/kernel.ts";
import { bootTestMachine, runToEnd } from "../../../kernel-sim/core/testing.ts";
import type { ide_drive_t } from "../../../kernel-sim/ide/ide.ts";
import { conformanceCell } from "../cell.ts";
import { loadScenario } from "../../../tools/scenario/load.ts";
import { piix3Ide, plugPiix3 } from "./piix3-ide.ts";
import type { QemuFunction } from "./qemu-function.ts";
import { QemuMachine } from "./qemu-machine.ts";
import { QEMU_PACKAGE, qemuInstalled } from "./qtest.ts";
import { temporaryFolder } from "./temporary.ts";
import { wholeDump } from "./whole-dump.ts";

const MIB = 1 << 20;
const BAD_SECTOR = 20_000;

describe("our driver on QEMU's piix3-ide", () => {
  const cell = conformanceCell("ide", "qemu");
  const runs = qemuInstalled();
  let folder: string | undefined;
  let images: string[];
  let kernel: Kernel;
  let qemu: QemuMachine | undefined;
  let fn: QemuFunction;
  let drives: readonly ide_drive_t[];

  const run = (program: () => Running): void => runToEnd(kernel, program, 300, () => fn.disappointments);
  const log = (): string => kernel.console.lines.map((line) => line.text).join("\n");
  const onImage = (disk: number, sector: number, bytes: number): Buffer => {
    const into = Buffer.alloc(bytes);
    const descriptor = openSync(images[disk]!, "r");
    readSync(descriptor, into, 0, bytes, sector * 512);
    closeSync(descriptor);
    return into;
  };

  beforeAll(async () => {
    if (!runs) return;
    const here = (folder = temporaryFolder("qemu"));
    images = ["hda", "hdb"].map((name) => join(here, `${name}.img`));
    for (const image of images) {
      writeFileSync(image, "");
      truncateSync(image, 64 * MIB);
    }
    // blkdebug fails one sector of the first disk, for ever.
    const rules = `[inject-error]\nevent = "read_aio"\nerrno = "5"\nsector = "${BAD_SECTOR}"\n`;
    writeFileSync(join(here, "rules"), rules);
    kernel = bootTestMachine({});
    const drive = (unit: number, file: string): string[] => [
      ...["-drive", `if=none,id=drive${unit},file=${file},format=raw`],
      ...["-device", `ide-hd,bus=ide.0,unit=${unit},drive=drive${unit}`],
    ];
    qemu = await QemuMachine.start(kernel.machine.memory, [
      ...drive(0, `blkdebug:${join(here, "rules")}:${images[0]!}`),
      ...drive(1, images[1]!),
    ]);
    fn = plugPiix3(kernel.machine, qemu, "piix3-ide").fn;
    loadPiixIde();
    run(function* () {
      yield* piix_ide_init();
    });
    drives = kernel.ide!.hwifs[0]!.drives;
  });
  beforeEach((context) => {
    if (!runs) cell.skip(context, `QEMU is missing; "apt-get install -y ${QEMU_PACKAGE}" lets this run`);
  });
  afterAll(async () => {
    await qemu?.stop();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  test("finds master and slave by reset, signature and IDENTIFY, and nothing on the second cable", () => {
    expect(drives.map(({ s }) => [s.present, s.addressing, s.capacity64])).toEqual([
      [1, 1, 131072],
      [1, 1, 131072],
    ]);
    expect(kernel.ide!.hwifs[1]!.s.present).toBe(0);
    expect(log()).toContain("hdb: QEMU HARDDISK, ATA DISK drive");
    cell.exercised("probe");
  });

  test.each([
    ["DMA", 0],
    ["DMA", 1],
    ["port", 0],
    ["port", 1],
  ] as const)("writes and reads by %s on drive %i, and flushes", (way, disk) => {
    const drive = drives[disk]!;
    drive.s.using_dma = way === "DMA" ? 1 : 0;
    const sector = way === "DMA" ? 640 : 9000;
    const pages = filledPages(kernel, 20, sector + disk);
    const back = filledPages(kernel, 20, 50);
    const results: unknown[] = [];
    run(function* () {
      results.push(yield* transfer(drive, true, sector, pages));
      results.push(yield* blkdev_issue_flush(drive.queue!, drive.disk!));
      results.push(yield* transfer(drive, false, sector, back));
    });
    expect(results).toEqual([true, 0, true]);
    expect(Buffer.compare(onImage(disk, sector, 20 * 4096), bytesOf(kernel, pages))).toBe(0);
    expect(Buffer.compare(bytesOf(kernel, back), bytesOf(kernel, pages))).toBe(0);
    expect([kernel.reports, fn.disappointments]).toEqual([[], []]);
    cell.exercised(`${way === "DMA" ? "48-bit DMA" : "48-bit MULTIPLE"} both ways`, "flush");
  });

  test.each(["DMA", "port"] as const)("fails what lies on a bad sector by %s, and goes on", (way) => {
    const [drive] = drives;
    drive!.s.using_dma = way === "DMA" ? 1 : 0;
    const results: boolean[] = [];
    const pages = filledPages(kernel, 1, 3);
    run(function* () {
      for (const sector of [BAD_SECTOR - 8, BAD_SECTOR, BAD_SECTOR + 8]) {
        results.push(yield* transfer(drive!, false, sector - (sector % 8), pages));
      }
    });
    expect(results).toEqual([true, false, true]);
    expect(log()).toMatch(/hda: .*status=0x.. \{ .*Error \}/);
    cell.exercised("error");
  });

  test("finds an interrupt that was lost on the way", () => {
    const [drive] = drives;
    drive!.s.using_dma = 1;
    let lost = 0;
    fn.patienceMs = 100;
    fn.mischief = { interrupt: (raised) => !raised || ++lost > 1 };
    const pages = filledPages(kernel, 4, 9);
    let good = false;
    run(function* () {
      good = yield* transfer(drive!, true, 4096, pages);
    });
    fn.mischief = {};
    expect(good).toBe(true);
    expect(Buffer.compare(onImage(0, 4096, 4 * 4096), bytesOf(kernel, pages))).toBe(0);
    expect(log()).toContain("hda: lost interrupt");
    cell.exercised("lost interrupt");
  });

  test("dumps blocks by polling and reads them back: reset with nIEN, SET MULTIPLE, 32-bit ports, flush", () => {
    const drive = drives[1]!;
    const buffer = kernel.bootmem(4 * 4096, 4096);
    const { u8 } = kernel.machine.memory.pool;
    for (let i = 0; i < 4 * 4096; i++) u8[buffer + i] = (i * 11 + (i >> 8)) & 0xff;
    const written = Buffer.from(u8.slice(buffer, buffer + 4 * 4096));
    const results: number[] = [];
    const interruptsBefore = { count: 0 };
    run(function* () {
      const dd = (yield* init_diskdump({}))!;
      yield* init_ide_dump(dd);
      const target = { name: "hdb1", device: drive, start_sect: 2048, nr_sects: 32 * 2048 };
      results.push(yield* register_disk_dump_device(dd, target));
      const [partition] = dd.partitions;
      const { device } = partition!;
      results.push(yield* device.ops.sanity_check(device));
      results.push(yield* device.ops.quiesce!(device));
      interruptsBefore.count = fn.interrupts;
      results.push(yield* device.ops.rw_block(partition!, WRITE, 5, buffer, 4));
      u8.fill(0, buffer, buffer + 4 * 4096);
      results.push(yield* device.ops.rw_block(partition!, READ, 5, buffer, 4));
      results.push(yield* device.ops.shutdown!(device));
    });
    expect(results).toEqual([0, 0, 0, 0, 0, 0]);
    expect(drive.s.mult_count).toBe(16);
    expect(Buffer.compare(onImage(1, 2048 + 5 * 8, 4 * 4096), written)).toBe(0);
    expect(Buffer.compare(Buffer.from(u8.slice(buffer, buffer + 4 * 4096)), written)).toBe(0);
    expect(fn.interrupts).toBe(interruptsBefore.count);
    cell.exercised("ide_dump: reset, blocks by polled ports, no interrupt");
  });

  test("a whole dump after INIT under load goes through its ports, and savecore opens the image", async () => {
    // Word by word over a socket: the machine is as small as the load lets it be.
    const sets = [...piix3Ide.scenario, "memory.size=16MiB"];
    const { dumpedPages } = await wholeDump(piix3Ide, loadScenario("learn", sets, undefined, "ide"));
    cell.exercised(`os_init under load, ${dumpedPages} pages dumped by port, saved and compared`);
  });
});
