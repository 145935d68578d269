// The record of a trial that the simulator itself did not survive: an assertion failed.
import { dumpAdapterType } from "../scenario/devices.ts";
import { replayCommand, scenarioHash } from "../scenario/identity.ts";
import type { Scenario } from "../scenario/scenario.ts";
import { version } from "../version.ts";
import type { TrialRecord } from "../trial/types.ts";

export function simulatorErrorRecord(scenario: Scenario, seed: number, error: unknown): TrialRecord {
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return {
    scenario: scenario.name,
    scenarioRef: scenario.source.ref,
    overrides: scenario.source.overrides,
    scenarioHash: scenarioHash(scenario),
    dumper: scenario.dump.dumper,
    adapter: dumpAdapterType(scenario),
    seed,
    outcome: "simulator-error",
    cause: message.split("\n", 1)[0]!,
    traceHash: "",
    virtualNs: 0,
    hostMs: 0,
    crash: null,
    findings: [],
    dumpedPages: 0,
    changedPages: null,
    dumpedBytes: null,
    dumpVirtualNs: null,
    blocked: null,
    load: null,
    version,
    command: replayCommand(scenario, seed),
  };
}
