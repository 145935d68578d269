import { describe, expect, test } from "vitest";
import { cpu, finished } from "../../emulator/cpu/cpu.ts";
import { M } from "../../kernel-sim/abi/ram.ts";
import { struct_scsi_cmnd } from "../../kernel-sim/abi/structs/scsi.ts";
import type { DumpMode } from "../../kernel-sim/core/dump-mode.ts";
import { do_fork } from "../../kernel-sim/core/fork.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import {
  irqs_disabled,
  local_irq_disable,
  local_irq_enable,
  spin_lock,
  spin_lock_irqsave,
  spin_unlock,
  spin_unlock_irqrestore,
} from "../../kernel-sim/core/spinlock.ts";
import { delayNs, msleep } from "../../kernel-sim/core/timer.ts";
import { DMA_TO_DEVICE, SUCCESS, scsi_cmnd } from "../../kernel-sim/scsi/host.ts";
import { makeRig, onDisk, scatteredPages, transfer, type Rig } from "./driver-testing.ts";
import { mptscsih_template } from "./driver.ts";
import type { MPT_SCSI_HOST } from "./driver-scsi-host.ts";

/** A dumper's delays, and a list of what it forbids. */
const dumpMode = (forbidden: string[]): DumpMode => ({
  modTimer: () => finished(0),
  delTimer: () => finished(0),
  taskletSchedule: () => finished(),
  scheduleWork: () => finished(0),
  scheduleTimeout: () => finished(0),
  msleep: (ms) => delayNs(ms * 1e6),
  mdelay: (ms) => delayNs(ms * 1e6),
  update: () => finished(),
  forbid: (what) => forbidden.push(what),
});

/** One polled write of 16 KiB; what a dumper's scsi_dump does. Returns the result, or -1 when nothing came in 5 s. */
function* polledWrite(
  rig: Rig,
  cmd: scsi_cmnd,
  lba: number,
  buffer: number,
  pollNs = 100_000,
): Generator<void, number, void> {
  const { device } = cmd;
  const { s } = cmd;
  M.u8.fill(0, cmd.cmnd, cmd.cmnd + 16);
  M.u8[cmd.cmnd] = 0x2a;
  M.view.setUint32(cmd.cmnd + 2, lba, false);
  M.view.setUint16(cmd.cmnd + 7, 32, false);
  s.cmd_len = 10;
  s.sc_data_direction = DMA_TO_DEVICE;
  s.request_buffer = buffer;
  s.request_bufflen = 16384;
  s.use_sg = 0;
  s.result = -1;
  let done = false;
  yield* spin_lock(device.host.host_lock);
  const refused = yield* mptscsih_template.queuecommand(cmd, () => {
    done = true;
    return finished();
  });
  spin_unlock(device.host.host_lock);
  expect(refused).toBe(0);
  for (const end = rig.kernel.machine.now() + 5e9; !done && rig.kernel.machine.now() < end;) {
    yield* mptscsih_template.dump_poll!(device);
    if (!done) yield* delayNs(pollNs);
  }
  return done ? s.result : -1;
}

const dumpCommand = (rig: Rig): scsi_cmnd =>
  new scsi_cmnd(rig.sds[0]!.device, rig.kernel.bootmem(rig.kernel.sizeOf(struct_scsi_cmnd)));
const hdOf = (rig: Rig): MPT_SCSI_HOST => rig.hosts[0]!.hostdata as MPT_SCSI_HOST;

describe("dump hooks", () => {
  test("the sanity check refuses while FreeQlock is held, and only then", () => {
    const rig = makeRig();
    const { FreeQlock } = hdOf(rig).ioc;
    const sdev = rig.sds[0]!.device;
    const verdicts: number[] = [];
    rig.run(function* () {
      verdicts.push(yield* mptscsih_template.dump_sanity_check!(sdev));
      const flags = yield* spin_lock_irqsave(FreeQlock);
      verdicts.push(yield* mptscsih_template.dump_sanity_check!(sdev));
      yield* spin_unlock_irqrestore(FreeQlock, flags);
      verdicts.push(yield* mptscsih_template.dump_sanity_check!(sdev));
      sdev.host.hostdata = undefined;
      verdicts.push(yield* mptscsih_template.dump_sanity_check!(sdev));
    });
    expect(verdicts).toEqual([0, -16, 0, -6]);
  });

  test("a polled write completes with interrupts off and IntMask closed", () => {
    const rig = makeRig();
    const buffer = rig.kernel.bootmem(16384, 4096);
    for (let i = 0; i < 16384; i++) M.u8[buffer + i] = i & 0xff;
    let result = -1;
    rig.run(function* () {
      local_irq_disable();
      hdOf(rig).ioc.chip.writel(0xffffffff, 0x34);
      result = yield* polledWrite(rig, dumpCommand(rig), 2048, buffer);
      expect(irqs_disabled()).toBe(true);
      yield* local_irq_enable();
    });
    expect(result).toBe(0);
    expect(Buffer.compare(onDisk(rig.disks[0]!, 2048, 16384), M.u8.subarray(buffer, buffer + 16384))).toBe(0);
  });

  test("a host reset in dump mode gives up what was under way and leaves an adapter that works, without enabling interrupts", () => {
    const rig = makeRig({ cpus: 2 });
    const forbidden: string[] = [];
    const buffer = rig.kernel.bootmem(16384, 4096);
    const pages = scatteredPages(rig.kernel, 4);
    rig.disks[0]!.faults.lay({ kind: "timeout", on: "write", count: 1 });
    let result = -1;
    let reset = 0;
    let enabled = false;
    rig.run(function* () {
      // A write of the kernel's is with the adapter when the dump begins.
      yield* startWrite(rig, pages);
      local_irq_disable();
      const outstanding = hdOf(rig).lookup.filter((cmd) => cmd !== undefined).length;
      expect(outstanding).toBe(1);
      K.dumpMode = dumpMode(forbidden);
      const dumper = cpu.id;
      K.onIrqEnable = () => {
        if (cpu.id === dumper) enabled = true;
      };
      const cmd = dumpCommand(rig);
      const { host_lock } = cmd.device.host;
      yield* spin_lock(host_lock);
      reset = yield* mptscsih_template.eh_host_reset_handler!(cmd);
      spin_unlock(host_lock);
      yield* delayNs(5e9);
      // The first command after the reset meets the unit attention that the bus reset left.
      const first = yield* polledWrite(rig, cmd, 4096, buffer);
      expect(first).toBe(2);
      expect(M.u8[cmd.sense_buffer + 2]! & 0xf).toBe(6);
      result = yield* polledWrite(rig, cmd, 4096, buffer);
      expect(hdOf(rig).lookup.every((entry) => entry === undefined)).toBe(true);
      K.onIrqEnable = undefined;
    });
    expect(reset).toBe(SUCCESS);
    expect(result).toBe(0);
    expect(enabled).toBe(false);
    expect(forbidden).toEqual([]);
  });

  test("a crash in the middle of a host reset leaves diagPending, and the dump's own reset does nothing", () => {
    const rig = makeRig();
    let rc = -1;
    rig.run(function* () {
      hdOf(rig).ioc.s.diagPending = 1;
      const cmd = dumpCommand(rig);
      const flags = yield* spin_lock_irqsave(cmd.device.host.host_lock);
      const { count } = hdOf(rig).ioc.chip;
      rc = yield* mptscsih_template.eh_host_reset_handler!(cmd);
      expect(hdOf(rig).ioc.chip.count).toBe(count);
      yield* spin_unlock_irqrestore(cmd.device.host.host_lock, flags);
    });
    expect(rc).toBe(SUCCESS);
  });

  test("the n-th register access can be waited for", () => {
    const rig = makeRig();
    const { chip } = hdOf(rig).ioc;
    const from = chip.count;
    const seen: number[] = [];
    chip.atAccess(2, (count) => seen.push(count - from));
    const buffer = rig.kernel.bootmem(16384, 4096);
    rig.run(function* () {
      local_irq_disable();
      yield* polledWrite(rig, dumpCommand(rig), 0, buffer);
      yield* local_irq_enable();
    });
    expect(seen).toEqual([2]);
  });
});

/** Starts a write that will not end, from another process. */
function* startWrite(rig: Rig, pages: number[]): Generator<void, void, void> {
  yield* do_fork("writer", () => transferQuietly(rig, pages), 1);
  yield* msleep(5);
}
function* transferQuietly(rig: Rig, pages: number[]): Generator<void, void, void> {
  yield* transfer(rig.sds[0]!, true, 64, pages);
}
