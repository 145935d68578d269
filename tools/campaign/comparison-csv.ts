// A comparison for other programs: CSV (RFC 4180), a row per cell, units in the names of the columns.
import { TRIAL_OUTCOMES } from "../trial/types.ts";
import { rateOf, type Cell } from "./cells.ts";

const HEADER = [
  ...["scenario", "dumper", "sweep", "value", "trials", "complete", "rate", "wilson_low", "wilson_high"],
  ...["dump_virtual_ns_median", "dumped_bytes_median", "host_ms_median"],
  ...["load_bytes_per_s_median", "load_queue_depth_median", "load_cpu_busy_share_median"],
  ...["top_blocked_on", "top_blocked_in", "top_holder_or_cause", "top_blocked_trials"],
  ...[...TRIAL_OUTCOMES, "lost"].map((outcome) => `outcome_${outcome}`),
  "not_possible",
];

const field = (value: string | number | null): string => {
  const text = value === null ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

export function comparisonCsv(cells: readonly Cell[], key: string | null): string {
  const rows = cells.map((cell) => {
    const { load, interval } = cell;
    const top = cell.blockers[0];
    const counts = new Map(cell.outcomes);
    return [
      ...[cell.scenario, cell.dumper, key, cell.value, cell.trials, cell.complete],
      ...[rateOf(cell), interval.low, interval.high].map((share) =>
        cell.trials === 0 ? null : Number(share.toFixed(6)),
      ),
      ...[cell.dumpVirtualNs, cell.dumpedBytes, cell.hostMs],
      ...[load.bytesPerS, load.meanQueueDepth, load.cpuBusyShare],
      ...[top?.on ?? null, top?.function ?? null, top?.because ?? null, top?.count ?? null],
      ...[...TRIAL_OUTCOMES, "lost"].map((outcome) => counts.get(outcome) ?? 0),
      cell.impossible,
    ];
  });
  return [HEADER, ...rows].map((row) => `${row.map(field).join(",")}\r\n`).join("");
}
