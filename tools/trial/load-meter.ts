// What the load was while it lasted: read from counters beside the machine, which it does not know of.
import { HALT, type Cpu } from "../../emulator/cpu/cpu.ts";
import type { ScsiDisk } from "../../emulator/disk/scsi-disk.ts";
import type { Lab } from "../machine/lab.ts";
import type { LoadRecord } from "./types.ts";

interface Reading {
  readonly ns: number;
  readonly bytes: number;
  readonly queueNs: number;
  readonly haltedNs: number;
  readonly calls: number;
}

/** Measures from the start of the load to the crash. */
export class LoadMeter {
  private readonly lab: Lab;
  private readonly disks: readonly ScsiDisk[];
  private start: Reading | undefined;
  private end: Reading | undefined;

  constructor(lab: Lab) {
    this.lab = lab;
    const { load, adapters } = lab.scenario;
    const loaded = adapters
      .flatMap((adapter) => adapter.disks)
      .filter((disk) =>
        load.devices.some((name) => name === disk.device || disk.partitions.some((p) => p.device === name)),
      );
    this.disks = loaded.map(({ device }) => lab.hardware.disks.get(device)!);
    lab.onCrashArmed.push(() => {
      this.start = this.read(lab.loadStartNs!);
    });
    lab.kernel.onCrash = ({ struckNs }) => {
      this.end = this.read(struckNs);
    };
  }

  private read(ns: number): Reading {
    const { disks, lab } = this;
    return {
      ns,
      bytes: sum(disks.map((disk) => disk.bytesMoved)),
      queueNs: sum(disks.map((disk) => disk.queueTimeNs)),
      haltedNs: sum(lab.hardware.machine.cpus.map((c) => haltedNs(c, ns))),
      calls: lab.load?.calls ?? 0,
    };
  }

  /** null when there was no load, or no crash after it had begun. */
  record(): LoadRecord | null {
    const { start, end, disks, lab } = this;
    if (!start || !end || end.ns <= start.ns || disks.length === 0) return null;
    const ns = end.ns - start.ns;
    const halted = (end.haltedNs - start.haltedNs) / (ns * lab.hardware.machine.cpus.length);
    return {
      ns,
      calls: end.calls - start.calls,
      bytesPerS: Math.round(((end.bytes - start.bytes) / ns) * 1e9),
      meanQueueDepth: rounded((end.queueNs - start.queueNs) / ns / disks.length),
      cpuBusyShare: rounded(1 - halted),
    };
  }
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
const rounded = (value: number): number => Math.round(value * 1e4) / 1e4;

/** A CPU that halts has not moved its clock since. */
const haltedNs = (c: Cpu, now: number): number => c.haltedNs + (c.state === HALT ? Math.max(0, now - c.clock) : 0);
