// dumplab replay: runs a recorded trial again and says whether it is still the same, instant by instant.
import { Command } from "commander";
import { UsageError } from "../../../diskdump/userspace/errors.ts";
import { simulatorErrorRecord } from "../../campaign/error-record.ts";
import { parseSeed } from "../../campaign/seeds.ts";
import type { Scenario } from "../../scenario/scenario.ts";
import type { TrialRecord } from "../../trial/types.ts";
import { version } from "../../version.ts";
import { readCapsule, scenarioOf } from "../capsule.ts";
import type { CommandContext } from "../main.ts";
import { dumperOption } from "../options.ts";

/** What must be equal; the trace hash covers every event, the others say more when it differs. */
const COMPARED = ["traceHash", "outcome", "cause", "virtualNs", "dumpedPages", "partitionDigest"] as const;
/** The same, where the record has them: those of earlier versions do not. */
const COMPARED_IF_KNOWN = ["dumpedBytes", "dumpVirtualNs", "blocked", "load"] as const;

const textOf = (fact: unknown): string => (typeof fact === "object" ? JSON.stringify(fact) : String(fact));

export function replayCommand({ terminal, exit, runTrial }: CommandContext): Command {
  return new Command("replay")
    .description("run a recorded trial again and compare")
    .argument("<capsule>", 'file of trial --capsule or bench --out, "-" for stdin, or the JSON itself')
    .option("--seed <n>", "of several records, the one with this seed; default: the first that is not complete")
    .addOption(dumperOption("--dumper <name>", "of several records, one of this dumper"))
    .option("--json", "print the new record as one line of JSON")
    .addHelpText(
      "after",
      `
Exit code 0 when it is reproduced, whatever its outcome is; 1 when it has diverged.

Examples:
  dumplab replay results.ndjson --seed 17
  dumplab bench --json --trials 20 | dumplab replay -`,
    )
    .action((ref: string, flags: { seed?: string; dumper?: string; json?: true }) => {
      const seed = flags.seed === undefined ? undefined : parseSeed(flags.seed);
      const capsule = readCapsule(ref, { seed, dumper: flags.dumper });
      const scenario = scenarioOf(capsule);
      const { record } = capsule;
      if (record.version !== version) {
        terminal.err.write(`dumplab: recorded with version ${record.version}; this is ${version}\n`);
      }
      const digest = record.partitionDigest !== undefined;
      const again = runAgain(scenario, record.seed, digest);
      if (flags.json) terminal.out.write(`${JSON.stringify(again)}\n`);
      const differences = differencesBetween(record, again);
      const verdict =
        differences.length === 0
          ? `reproduced: seed ${record.seed} of ${record.scenario}, ${record.outcome}, trace ${record.traceHash}`
          : `diverged: ${differences.join("; ")}`;
      (flags.json ? terminal.err : terminal.out).write(`${verdict}\n`);
      exit(differences.length === 0 ? 0 : 1);
    });

  /** A failed assertion of the simulator is an outcome to reproduce like any other. */
  function runAgain(scenario: Scenario, seed: number, digest: boolean): TrialRecord {
    try {
      return runTrial(scenario, seed, { digest }).record;
    } catch (error) {
      if (error instanceof UsageError) throw error;
      return simulatorErrorRecord(scenario, seed, error);
    }
  }
}

function differencesBetween(before: TrialRecord, after: TrialRecord): string[] {
  const known = COMPARED_IF_KNOWN.filter((key) => before[key] !== null);
  return [...COMPARED, ...known]
    .filter((key) => textOf(before[key]) !== textOf(after[key]))
    .map((key) => `${key} was ${textOf(before[key])}, is ${textOf(after[key])}`);
}
