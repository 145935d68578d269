// Trials that take no time, for tests of what is around them: the campaign and the command line.
import { dumpAdapterType } from "../scenario/devices.ts";
import { replayCommand, scenarioHash } from "../scenario/identity.ts";
import type { Scenario } from "../scenario/scenario.ts";
import type { RunTrial, TrialRecord } from "../trial/types.ts";
import { version } from "../version.ts";

export function fakeRecord(scenario: Scenario, seed: number, over: Partial<TrialRecord> = {}): TrialRecord {
  return {
    scenario: scenario.name,
    scenarioRef: scenario.source.ref,
    overrides: scenario.source.overrides,
    scenarioHash: scenarioHash(scenario),
    dumper: scenario.dump.dumper,
    adapter: dumpAdapterType(scenario),
    seed,
    outcome: "complete",
    cause: null,
    traceHash: `hash-${scenarioHash(scenario)}-${seed}`,
    virtualNs: 1_000_000 * seed,
    hostMs: 1,
    crash: {
      ...{ cpu: 0, function: "scsi_request_fn", virtualNs: 43_211_000, sinceLoadNs: 30_000_000 },
      trigger: scenario.crash.trigger,
    },
    findings: [],
    dumpedPages: 100,
    changedPages: 0,
    dumpedBytes: 103 * 4096,
    dumpVirtualNs: 2_000_000_000 + seed,
    blocked: null,
    load: { ns: 30_000_000, calls: 100 + seed, bytesPerS: 20e6, meanQueueDepth: 1.5, cpuBusyShare: 0.25 },
    version,
    command: replayCommand(scenario, seed),
    ...over,
  };
}

/** A laboratory whose trials end as `over` says. */
export function fakeLab(over: (seed: number) => Partial<TrialRecord> = () => ({}), calls: unknown[] = []): RunTrial {
  return (scenario, seed, options) => {
    calls.push({ scenario, seed, options });
    const line = { ns: 43_211_000, cpu: 1, text: "disk_dump: start dumping" };
    options.onConsole?.(line);
    const write = () => undefined;
    return {
      record: fakeRecord(scenario, seed, over(seed)),
      console: [line],
      procDiskdump: "",
      writeDisk: write,
      writeVmcore: write,
      writeVmlinux: write,
      writeTrace: write,
      writePcap: write,
    };
  };
}
