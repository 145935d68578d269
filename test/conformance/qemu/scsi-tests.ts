// What every SCSI driver of ours has to show on QEMU's model of its chip, up to a whole dump.
import { beforeAll, describe, expect, test } from "vitest";
import type { Running } from "../../../emulator/cpu/cpu.ts";
import { M } from "../../../kernel-sim/abi/ram.ts";
import { do_fork } from "../../../kernel-sim/core/fork.ts";
import { local_irq_disable, local_irq_enable } from "../../../kernel-sim/core/spinlock.ts";
import { msleep } from "../../../kernel-sim/core/timer.ts";
import { DEFAULT_LOAD, start_load, type Load } from "../../../kernel-sim/load/load.ts";
import { DMA_FROM_DEVICE, DMA_TO_DEVICE, SUCCESS, type scsi_cmnd } from "../../../kernel-sim/scsi/host.ts";
import { loadScenario } from "../../../tools/scenario/load.ts";
import { ERROR_HANDLERS, type ErrorHandler, type QemuAdapter } from "./adapter.ts";
import {
  commandFor,
  contents,
  fill,
  handle,
  polled,
  read10,
  roundTrip,
  send,
  takePages,
  transfer,
  transferAll,
  write10,
  type Piece,
} from "./io.ts";
import type { QemuRig } from "./rig.ts";
import type { Suite } from "./suite.ts";
import { wholeDump } from "./whole-dump.ts";

const MIB = 1 << 20;
/** So slow that commands pile up at the adapter. */
const SLOW = `,throttling.bps-total=${3 * MIB}`;

/** The tests of a describe block. */
export function testScsiDriver(adapter: QemuAdapter, { cell, runs, start }: Suite): void {
  let rig: QemuRig;
  beforeAll(async () => {
    if (!runs) return;
    rig = await start({
      cpus: 4,
      disks: [
        { id: 0, sizeBytes: 64 * MIB },
        { id: 3, sizeBytes: 96 * MIB },
        { id: 6, sizeBytes: 32 * MIB, drive: SLOW },
      ],
    });
  });

  test("finds the disks by their target ids, with their sizes, and queues deep", () => {
    rig.kernel.enter();
    expect(rig.sds.map((sd) => [sd.disk.name, sd.device.id, sd.disk.capacity])).toEqual([
      ["sda", 0, 131072],
      ["sdb", 3, 196608],
      ["sdc", 6, 65536],
    ]);
    expect(rig.sds[0]!.device.s.queue_depth).toBe(adapter.queueDepth);
    expect(rig.log().join("\n")).toContain("Vendor: QEMU      Model: QEMU HARDDISK");
    expect(rig.kernel.reports).toEqual([]);
    cell.exercised("probe");
  });

  test("writes and reads what it was given, in one piece and in many", () => {
    for (const count of [1, 4, 5, 6, 7, 16, 17, 27, 40]) {
      expect([count, roundTrip(rig, 0, count * 1000, count)]).toEqual([
        count,
        { wrote: true, onDisk: true, read: true, same: true },
      ]);
    }
    cell.exercised("scatter-gather lists");
  });

  test("moves 12 MiB on three disks at once, with many commands at the adapter", () => {
    let most = 0;
    rig.adapter.mischief = {
      beforeWrite: (_bar, _offset, value) => {
        most = Math.max(most, adapter.held(rig.hosts[0]!).length);
        return value;
      },
    };
    const pieces: Piece[] = Array.from({ length: 48 }, (_, i) => ({
      disk: i % 3,
      sector: 8192 + i * 640,
      pages: takePages(rig, 32),
    }));
    for (const { sector, pages } of pieces) fill(rig, pages, sector);
    const { interrupts } = rig.adapter;
    expect(transferAll(rig, true, pieces)).toEqual([]);
    for (const { disk, sector, pages } of pieces) {
      expect(contents(rig, pages).equals(rig.onDisk(disk, sector, pages.length * 4096))).toBe(true);
    }
    const wanted = pieces.map(({ pages }) => contents(rig, pages));
    for (const { pages } of pieces) fill(rig, pages, 0);
    expect(transferAll(rig, false, pieces)).toEqual([]);
    expect(pieces.every(({ pages }, i) => contents(rig, pages).equals(wanted[i]!))).toBe(true);
    rig.adapter.mischief = {};
    expect(most).toBeGreaterThan(4);
    expect(rig.adapter.interrupts).toBeGreaterThan(interrupts);
    expect(rig.adapter.disappointments).toEqual([]);
    expect(rig.qemu.ram.lentBuffers).toBe(0);
    cell.exercised(`6 MiB written and read back on 3 disks`, "queue depth > 4");
  });

  test("a command that fails comes back with its sense data", () => {
    rig.kernel.enter();
    // READ(10) of the sector behind the last one: ILLEGAL REQUEST, LBA out of range.
    const cdb = [0x28, 0, 0, 2, 0, 0, 0, 0, 1, 0];
    expect(send(rig, rig.sds[0]!.device, cdb, 512, DMA_FROM_DEVICE)).toMatchObject({ sense: [5, 0x21, 0] });
    cell.exercised("error with sense");
  });

  test("polls to the end of a command with interrupts off", () => {
    const sdev = rig.sds[1]!.device;
    const buffer = rig.kernel.bootmem(16384, 4096);
    const results: number[] = [];
    const { interrupts } = rig.adapter;
    rig.run(function* () {
      const cmd = commandFor(sdev);
      local_irq_disable();
      adapter.mask?.(rig.hosts[0]!, true);
      for (let i = 0; i < 64; i++) {
        for (let at = 0; at < 16384; at += 4) M.u32[(buffer + at) >>> 2] = at ^ Math.imul(i + 1, 0x01000193);
        results.push(yield* polled(cmd, write10(40_000 + i * 32, 32), buffer, 16384, DMA_TO_DEVICE));
        const wanted = Buffer.from(M.u8.slice(buffer, buffer + 16384));
        M.u8.fill(0, buffer, buffer + 16384);
        results.push(yield* polled(cmd, read10(40_000 + i * 32, 32), buffer, 16384, DMA_FROM_DEVICE));
        expect(wanted.equals(M.u8.subarray(buffer, buffer + 16384))).toBe(true);
        expect(wanted.equals(rig.onDisk(1, 40_000 + i * 32, 16384))).toBe(true);
      }
      adapter.mask?.(rig.hosts[0]!, false);
      yield* local_irq_enable();
    });
    expect(results.every((result) => result === 0)).toBe(true);
    if (adapter.mask) expect(rig.adapter.interrupts).toBe(interrupts);
    cell.exercised("poll mode, 2 MiB");
  });

  describe.each(Object.entries(ERROR_HANDLERS) as [ErrorHandler, string][])("%s", (hook, what) => {
    test("ends a command that the disk works on, once; sent again, it arrives", async () => {
      // The first transfer fills the bucket, the second one waits half a second in QEMU.
      const write = adapter.interruptible === "write";
      const drive = `,throttling.bps-${adapter.interruptible}=262144`;
      const slow = await start({ disks: [{ id: 2, sizeBytes: 8 * MIB, drive }] });
      const pages = takePages(slow, 44);
      const last = pages.slice(40);
      fill(slow, pages, 7);
      let said = -1;
      let ended = -1;
      const good: boolean[] = [];
      slow.run(function* () {
        if (!write) good.push(yield* transfer(slow.sds[0]!, true, 2048, last));
        fill(slow, last, write ? 7 : 8);
        good.push(yield* transfer(slow.sds[0]!, write, 0, pages.slice(0, 40)));
        const before = good.length;
        yield* do_fork("second", () => noting(good, transfer(slow.sds[0]!, write, 2048, last)), 1);
        yield* msleep(5);
        const cmd = adapter.held(slow.hosts[0]!)[0]!;
        const ends = countEnds(cmd);
        said = yield* handle(cmd, hook);
        ended = ends();
        while (good.length === before) yield* msleep(10);
        // A mid-layer that has not asked for the abort may fail the command for it. The next one goes through in any case.
        if (hook === "eh_abort_handler") good.pop();
        good.push(yield* transfer(slow.sds[0]!, write, 2048, last));
      });
      expect({ said, ended, good: good.every(Boolean) }).toEqual({ said: SUCCESS, ended: 1, good: true });
      expect(slow.log().join("\n")).toContain(adapter.says[hook]);
      expect(contents(slow, last).equals(slow.onDisk(0, 2048, 4 * 4096))).toBe(true);
      expect(slow.qemu.ram.lentBuffers).toBe(0);
      expect(slow.adapter.disappointments).toEqual([]);
      cell.exercised(what);
    });
  });

  test("retries what the disk aborts once, and fails what it always fails", async (context) => {
    if (adapter.lateErrorsFail) cell.skip(context, adapter.lateErrorsFail);
    const broken = await start({
      disks: [
        {
          id: 0,
          sizeBytes: 8 * MIB,
          blkdebug: [
            ...["[inject-error]", 'event = "write_aio"', 'errno = "5"', 'sector = "2048"', 'once = "on"'],
            ...["[inject-error]", 'event = "read_aio"', 'iotype = "read"', 'errno = "5"', 'sector = "4096"'],
          ],
        },
      ],
    });
    expect(roundTrip(broken, 0, 2048, 4)).toEqual({ wrote: true, onDisk: true, read: true, same: true });
    expect(roundTrip(broken, 0, 4096, 4)).toMatchObject({ wrote: true, onDisk: true, read: false });
    expect(roundTrip(broken, 0, 6144, 4)).toMatchObject({ read: true, same: true });
    cell.exercised("I/O errors");
  });

  test("keeps what processes were promised, under a load of buffered and direct I/O", async () => {
    const busy = await start({ cpus: 4, disks: [0, 1].map((id) => ({ id, sizeBytes: 32 * MIB })) });
    let load: Load | undefined;
    busy.run(function* () {
      load = yield* start_load({ ...DEFAULT_LOAD, processes: 6, devices: ["sda", "sdb"], fileBytes: 4 * MIB });
      while (load.calls < 300) yield* msleep(10);
      load.stopping = true;
      while (load.running > 0) yield* msleep(10);
    });
    expect(load!.calls).toBeGreaterThanOrEqual(300);
    expect(load!.complaints).toEqual([]);
    const read = (disk: string, sector: number, into: Uint8Array): void =>
      into.set(busy.onDisk(disk === "sda" ? 0 : 1, sector, into.length));
    expect(load!.verify("acknowledged", read)).toEqual([]);
    expect(busy.qemu.ram.strayPages()).toEqual([]);
    cell.exercised("I/O load of 6 processes");
  });

  test.each(["os_init", "panic"])(
    "a whole dump after %s under load goes through it, and savecore opens the image",
    async (trigger) => {
      const scenario = loadScenario("learn", [...adapter.scenario, `crash.trigger=${trigger}`]);
      const { dumpedPages } = await wholeDump(adapter, scenario);
      cell.exercised(`${trigger} under load, ${dumpedPages} pages dumped, saved and compared`);
    },
  );
}

/** Counts how often the driver gives the command back from now on. */
function countEnds(cmd: scsi_cmnd): () => number {
  let ends = 0;
  const done = cmd.scsi_done!;
  cmd.scsi_done = (ended) => {
    ends++;
    return done(ended);
  };
  return () => ends;
}

function* noting(into: boolean[], running: Running<boolean>): Generator<void, void, void> {
  into.push(yield* running);
}
