// Goal: the dump hooks do what RHEL4's do: a sane adapter says so, a polled reset and polled writes work with interrupts off.
import { describe, expect, test } from "vitest";
import { cpu, finished } from "../../emulator/cpu/cpu.ts";
import { M } from "../../kernel-sim/abi/ram.ts";
import { struct_scsi_cmnd } from "../../kernel-sim/abi/structs/scsi.ts";
import type { DumpMode } from "../../kernel-sim/core/dump-mode.ts";
import { do_fork } from "../../kernel-sim/core/fork.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { local_irq_disable, spin_lock, spin_unlock } from "../../kernel-sim/core/spinlock.ts";
import { delayNs, msleep } from "../../kernel-sim/core/timer.ts";
import { DMA_TO_DEVICE, SUCCESS, scsi_cmnd } from "../../kernel-sim/scsi/host.ts";
import { onDisk, scatteredPages, transfer } from "../mptfusion/driver-testing.ts";
import { sym53c8xx_template } from "./driver.ts";
import { sym_timer } from "./driver-reset.ts";
import { makeRig, type Rig } from "./driver-testing.ts";

/** A dumper's delays, and a list of what it forbids. Timers run when `update` is called, as the dumper's library has it. */
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

/** One polled write of 16 KiB. Returns the result, or -1 when nothing came in 5 s. */
function* polledWrite(rig: Rig, cmd: scsi_cmnd, lba: number, buffer: number): Generator<void, number, void> {
  const { device, s } = cmd;
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
  const refused = yield* sym53c8xx_template.queuecommand(cmd, () => {
    done = true;
    return finished();
  });
  spin_unlock(device.host.host_lock);
  expect(refused).toBe(0);
  for (const end = rig.kernel.machine.now() + 5e9; !done && rig.kernel.machine.now() < end;) {
    yield* sym53c8xx_template.dump_poll!(device);
    if (!done) yield* delayNs(100_000);
  }
  return done ? s.result : -1;
}

describe.each(["53c895a", "53c875", "53c1010"] as const)("the dump hooks on a %s", (variant) => {
  test("the sanity check has no lock of its own to look at; without an adapter it refuses", () => {
    const rig = makeRig({ variant });
    const sdev = rig.sds[0]!.device;
    const verdicts: number[] = [];
    rig.run(function* () {
      verdicts.push(yield* sym53c8xx_template.dump_sanity_check!(sdev));
      sdev.host.hostdata = undefined;
      verdicts.push(yield* sym53c8xx_template.dump_sanity_check!(sdev));
    });
    expect(verdicts).toEqual([0, -6]);
  });

  test("in dump mode the host reset gives up what was under way, settles by polling, and leaves an adapter that works", () => {
    const rig = makeRig({ variant, cpus: 2 });
    const forbidden: string[] = [];
    const buffer = rig.kernel.bootmem(16384, 4096);
    const pages = scatteredPages(rig.kernel, 4);
    for (let i = 0; i < 16384; i++) M.u8[buffer + i] = (i * 3) & 0xff;
    rig.disks[0]!.faults.lay({ kind: "timeout", on: "write", count: 1 });
    const results: number[] = [];
    let enabled = false;
    rig.run(function* () {
      // A write of the kernel's is with the disk when the dump begins.
      yield* do_fork(
        "writer",
        function* () {
          yield* transfer(rig.sds[0]!, true, 64, pages);
        },
        1,
      );
      yield* msleep(5);
      local_irq_disable();
      expect(rig.np.s.busy_ccbs).toBe(1);
      K.dumpMode = dumpMode(forbidden);
      const dumper = cpu.id;
      K.onIrqEnable = () => {
        if (cpu.id === dumper) enabled = true;
      };
      const cmd = new scsi_cmnd(rig.sds[0]!.device, rig.kernel.bootmem(rig.kernel.sizeOf(struct_scsi_cmnd)));
      const { host_lock } = cmd.device.host;
      yield* spin_lock(host_lock);
      results.push(yield* sym53c8xx_template.eh_host_reset_handler!(cmd));
      spin_unlock(host_lock);
      expect(rig.np.s.settle_time_valid).toBe(1);
      expect(rig.targets[0]!.agreement).toMatchObject({ width: 0, offset: 0, doubleTransition: false });
      // What diskdump_update does: time goes on, the driver's timer runs.
      for (let i = 0; i < 5; i++) {
        yield* delayNs(1e9);
        K.time.jiffies += K.hz;
        yield* sym_timer(rig.np);
      }
      expect(rig.np.s.settle_time_valid).toBe(0);
      // The first command meets the unit attention of the reset; its sense data comes by REQUEST SENSE, polled as well.
      results.push(yield* polledWrite(rig, cmd, 4096, buffer));
      expect(M.u8[cmd.sense_buffer + 2]! & 0xf).toBe(6);
      results.push(yield* polledWrite(rig, cmd, 4096, buffer));
      K.onIrqEnable = undefined;
    });
    expect(results).toEqual([SUCCESS, 2, 0]);
    expect(rig.targets[0]!.agreement).toMatchObject({ width: 1, doubleTransition: variant === "53c1010" });
    expect(rig.kernel.machine.complaints).toEqual([]);
    expect(rig.np.s.busy_ccbs).toBe(0);
    expect(enabled).toBe(false);
    expect(forbidden).toEqual([]);
    expect(Buffer.compare(onDisk(rig.disks[0]!, 4096, 16384), M.u8.subarray(buffer, buffer + 16384))).toBe(0);
  });
});
