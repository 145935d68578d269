// Measures a scenario's load before its crash: how much the locks are held, what the CPUs do, what the disks deliver.
import { UsageError } from "../../diskdump/userspace/errors.ts";
import { accessTriggers } from "../../emulator/bus/mmio.ts";
import { disarmAllProbes } from "../../kernel-sim/core/kfunc.ts";
import { LockMeter, type Tally } from "../../kernel-sim/core/lockmeter.ts";
import { buildHardware } from "../machine/hardware.ts";
import { bootLab, type Lab } from "../machine/lab.ts";
import type { Scenario } from "../scenario/scenario.ts";
import { CpuSampler, type CpuShares } from "./cpu-sampler.ts";

export interface MeasureOptions {
  readonly seed: number;
  /** From the start of the load to the start of the window. */
  readonly warmUpNs: number;
  readonly windowNs: number;
}

export interface LockRow extends Tally {
  readonly name: string;
  /** The functions that take it, most held first. */
  readonly sites: readonly (Tally & { readonly name: string })[];
}

export interface Measurement {
  readonly windowNs: number;
  readonly cpus: number;
  /** Most held first. */
  readonly locks: readonly LockRow[];
  readonly shares: CpuShares;
  /** Of all CPU time: waiting for a lock (interrupts taken meanwhile included). */
  readonly waiting: number;
  readonly io: {
    readonly bytesRead: number;
    readonly bytesWritten: number;
    /** Requests that disks have ended. */
    readonly requests: number;
    /** Requests queued or under way, all disks together. */
    readonly meanInFlight: number;
    readonly calls: number;
  };
}

/** Runs the load of a scenario without its crash. Deterministic. Throws a UsageError when the load does not start. */
export function measureLocks(scenario: Scenario, options: MeasureOptions): Measurement {
  disarmAllProbes();
  accessTriggers.armed = 0;
  const never = { ...scenario.crash, trigger: "os_init", context: "any", holding: null, at: NEVER } as const;
  const hardware = buildHardware(scenario, options.seed);
  const lab = bootLab(hardware, { ...scenario, crash: never });
  const { machine } = hardware;
  lab.onCrashArmed.push(() => (machine.stopReason = "the load has started"));
  machine.run(scenario.limits.virtualTimeNs);
  if (lab.loadStartNs === undefined) throw new UsageError("lockmeter: the load did not start");
  const from = lab.loadStartNs + options.warmUpNs;
  machine.run(from);
  const before = ioOf(lab);
  const meter = new LockMeter();
  const sampler = new CpuSampler(machine);
  meter.start();
  sampler.start();
  machine.run(from + options.windowNs);
  sampler.stop();
  meter.stop();
  const after = ioOf(lab);
  const locks = rowsOf(lab, meter);
  const waitNs = locks.reduce((sum, row) => sum + row.waitNs, 0);
  return {
    windowNs: options.windowNs,
    cpus: machine.cpus.length,
    locks,
    waiting: waitNs / (options.windowNs * machine.cpus.length),
    shares: sampler.shares(),
    io: {
      bytesRead: after.bytesRead - before.bytesRead,
      bytesWritten: after.bytesWritten - before.bytesWritten,
      requests: after.requests - before.requests,
      calls: after.calls - before.calls,
      meanInFlight: sampler.meanInFlight(),
    },
  };
}

/** Behind the end of any window. */
const NEVER = { kind: "time", timeNs: 24 * 3600e9 } as const;

function ioOf(lab: Lab): { bytesRead: number; bytesWritten: number; requests: number; calls: number } {
  let sectorsRead = 0;
  let sectorsWritten = 0;
  let requests = 0;
  for (const { stats } of lab.kernel.block.disks) {
    sectorsRead += stats.read_sectors;
    sectorsWritten += stats.write_sectors;
    requests += stats.reads + stats.writes;
  }
  const calls = lab.load?.calls ?? 0;
  return { bytesRead: sectorsRead * 512, bytesWritten: sectorsWritten * 512, requests, calls };
}

function rowsOf(lab: Lab, meter: LockMeter): LockRow[] {
  const byHold = (a: Tally, b: Tally): number => b.holdNs - a.holdNs || b.total - a.total;
  return [...meter.locks.values()]
    .filter((use) => use.all.total > 0)
    .map((use) => ({
      ...use.all,
      name: use.name,
      sites: [...use.sites].map(([id, tally]) => ({ ...tally, name: lab.kernel.functionName(id) })).sort(byHold),
    }))
    .sort(byHold);
}
