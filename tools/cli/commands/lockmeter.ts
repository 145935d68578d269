// dumplab lockmeter: how much the locks of a scenario's kernel are held while its load runs.
import { Command, Option } from "commander";
import { UsageError } from "../../../diskdump/userspace/errors.ts";
import { lockReport } from "../../lockmeter/report.ts";
import { measureLocks } from "../../lockmeter/measure.ts";
import { loadScenario } from "../../scenario/load.ts";
import { parseTime } from "../../scenario/units.ts";
import type { CommandContext } from "../main.ts";
import { adapterOption, count, setOption } from "../options.ts";

interface LockmeterFlags {
  scenario: string;
  adapter?: string;
  set: string[];
  seed: number;
  warmUp: number;
  window: number;
  json?: true;
}

export function lockmeterCommand({ terminal }: CommandContext): Command {
  return new Command("lockmeter")
    .description("measure how much the locks are held under a scenario's load, without its crash")
    .option("--scenario <name>", "built-in name, or path of a YAML or JSON file", "paper-2.4")
    .addOption(adapterOption())
    .addOption(setOption())
    .option("--seed <n>", "whose random numbers the load draws", count(0), 1)
    .addOption(time("--warm-up <time>", "virtual time from the start of the load to the window", "100ms"))
    .addOption(time("--window <time>", "virtual time to measure", "500ms"))
    .option("--json", "print the measurement as JSON")
    .addHelpText(
      "after",
      `
UTIL is the share of the window in which somebody holds the lock: the chance that it is held at a random instant.

Examples:
  dumplab lockmeter                                      the white paper's machine
  dumplab lockmeter --set load.perDisk=12 --window 1s    under more load
  dumplab lockmeter --scenario paper --json              kernel 2.6.9, for a program`,
    )
    .action((flags: LockmeterFlags) => {
      const scenario = loadScenario(flags.scenario, flags.set, undefined, flags.adapter);
      if (scenario.load.processes === 0)
        throw new UsageError("lockmeter: the scenario has no load (load.processes is 0)");
      const measured = measureLocks(scenario, { seed: flags.seed, warmUpNs: flags.warmUp, windowNs: flags.window });
      terminal.out.write(flags.json ? `${JSON.stringify(measured)}\n` : lockReport(measured));
    });
}

/** An option that takes a time like "250ms", at least a millisecond of it. */
function time(flags: string, description: string, fallback: string): Option {
  return new Option(flags, description).default(parseTime(fallback)!, fallback).argParser((text) => {
    const ns = parseTime(text);
    if (ns === undefined || ns < 1e6) throw new UsageError(`${flags}: expected a time of at least 1ms; got "${text}"`);
    return ns;
  });
}
