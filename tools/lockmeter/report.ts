// The measurement as a table, in lockmeter's columns, beside what was measured on real machines.
import type { Tally } from "../../kernel-sim/core/lockmeter.ts";
import { MEASURED, type MeasuredRow } from "./measured.ts";
import type { LockRow, Measurement } from "./measure.ts";

/** The locks of the dump's path in 2.4, shown even when little used. */
const ALWAYS = [
  "io_request_lock",
  "global_bh_lock",
  "timerlist_lock",
  "runqueue_lock",
  "tqueue_lock",
  "device_request_lock",
  "allocator_request_lock",
  "scsi_bhqueue_lock",
] as const;
const LEAST_UTIL = 0.001;
const LEAST_ROWS = 8;
const MIB = 2 ** 20;

const percent = (share: number): string => `${(share * 100).toFixed(share < 0.0995 ? 2 : 1)}%`;
const us = (ns: number): string => (ns >= 9950 ? (ns / 1000).toFixed(0) : (ns / 1000).toFixed(2));

function line(name: string, tally: Tally, windowNs: number): string {
  const { total, contended, rejected, holdNs, holdMaxNs, waitNs, waitMaxNs } = tally;
  const tries = Math.max(1, total + rejected);
  const cells = [
    percent(holdNs / windowNs),
    percent((contended + rejected) / tries),
    us(holdNs / Math.max(1, total)),
    us(holdMaxNs),
    us(waitNs / Math.max(1, contended)),
    us(waitMaxNs),
    String(total),
    String(rejected),
  ];
  return `${cells.map((cell, i) => cell.padStart(WIDTHS[i]!)).join(" ")}  ${name}`;
}

const TITLES = ["UTIL", "CON", "MEAN us", "MAX us", "WAIT us", "MAX us", "TOTAL", "RJECT"];
const WIDTHS = [7, 7, 8, 8, 8, 8, 9, 7];

export function lockReport(measured: Measurement): string {
  const { windowNs, io, shares, locks, cpus } = measured;
  const seconds = windowNs / 1e9;
  const out = [
    `window      ${(windowNs / 1e6).toFixed(0)} ms of virtual time, ${cpus} CPUs`,
    `disks       ${(io.bytesRead / MIB / seconds).toFixed(1)} MiB/s read, ${(io.bytesWritten / MIB / seconds).toFixed(1)} MiB/s written, ${(io.requests / seconds).toFixed(0)} requests/s, ${io.meanInFlight.toFixed(1)} queued or under way`,
    `load        ${(io.calls / seconds).toFixed(0)} calls/s`,
    `CPU time    ${percent(shares.user)} user, ${percent(shares.system)} system, ${percent(shares.hardirq)} hardirq, ${percent(shares.softirq)} softirq, ${percent(shares.idle)} idle (${percent(measured.waiting)} waiting for locks)`,
    `do_IRQ      ${percent(shares.hardirq + shares.softirq)} of all CPU time, softirqs included`,
    "",
    `${TITLES.map((title, i) => title.padStart(WIDTHS[i]!)).join(" ")}  NAME`,
  ];
  const shown = locks.filter((row, i) => i < LEAST_ROWS || row.holdNs / windowNs >= LEAST_UTIL || isAlways(row));
  for (const row of shown) {
    out.push(line(row.name, row, windowNs));
    if (row.sites.length > 1) for (const site of row.sites) out.push(line(`  ${site.name}`, site, windowNs));
  }
  out.push("", "Measured on real machines (UTIL, mean and longest hold):");
  for (const row of MEASURED) out.push(measuredLine(row));
  return `${out.join("\n")}\n`;
}

const isAlways = (row: LockRow): boolean => (ALWAYS as readonly string[]).includes(row.name);

function measuredLine({ machine, load, ioRequestLock: io, globalBhLock: bh, doIrq, source }: MeasuredRow): string {
  const max = io.maxUs === null ? "" : `, max ${io.maxUs} us`;
  const bhText = bh ? `, global_bh_lock ${percent(bh.util)} (${bh.meanUs} us)` : "";
  const irq = doIrq === null ? "" : `, do_IRQ ${percent(doIrq)}`;
  return `  io_request_lock ${percent(io.util)} (${io.meanUs} us${max})${bhText}${irq}\n    ${machine}; ${load} (${source})`;
}
