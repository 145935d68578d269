// dumplab bench: the campaign. How often does a dumper succeed, and what stops it when it does not?
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { Command } from "commander";
import { systemReason, UsageError } from "../../../diskdump/userspace/errors.ts";
import { runCampaign, type LostTrial } from "../../campaign/campaign.ts";
import { cellsOf } from "../../campaign/cells.ts";
import { comparisonCsv } from "../../campaign/comparison-csv.ts";
import { comparisonHtml } from "../../campaign/comparison-html.ts";
import { comparisonSvg } from "../../campaign/comparison-svg.ts";
import { blockerTable, cellTable, curveText } from "../../campaign/comparison-text.ts";
import type { Comparison } from "../../campaign/figure.ts";
import { instantsOf, instantsText } from "../../campaign/instants.ts";
import { verdicts } from "../../campaign/paper-verdict.ts";
import { LOAD_CURVE, parseSweep, planCells } from "../../campaign/plan.ts";
import { comparisonText, differencesBetween } from "../../campaign/compare.ts";
import { Progress } from "../../campaign/progress.ts";
import { campaignReport } from "../../campaign/report.ts";
import { openResults } from "../../campaign/results.ts";
import { parseSeedRange, parseShard, rangeOfTrials, seedsOf, type Trials } from "../../campaign/seeds.ts";
import { WHITE_PAPER_DUMPERS } from "../../scenario/dumpers.ts";
import { quoted, scenarioHash } from "../../scenario/identity.ts";
import { DUMPERS, type Dumper, type Scenario } from "../../scenario/scenario.ts";
import type { TrialRecord } from "../../trial/types.ts";
import { version } from "../../version.ts";
import type { CommandContext } from "../main.ts";
import { createFile } from "../../whole-file.ts";
import { adapterOption, count, dumpersOption, setOption, trialsOption } from "../options.ts";
import { refuseOutputs } from "../outputs.ts";

interface BenchFlags {
  dumper?: readonly Dumper[];
  adapter?: string;
  scenario: string;
  set: string[];
  trials: Trials;
  seeds?: string;
  shard?: string;
  workers: number;
  out?: string;
  resume?: true;
  json?: true;
  digest?: true;
  twice?: true;
  trialTimeout: number;
  sweep?: string;
  curve?: true;
  csv?: string;
  svg?: string;
  html?: string;
}

export function benchCommand({ terminal, exit, workerFile }: CommandContext): Command {
  return new Command("bench")
    .description("run many trials and print success rates beside the white paper's")
    .addOption(dumpersOption())
    .option("--scenario <name>", "built-in name, or path of a YAML or JSON file", "paper")
    .addOption(adapterOption())
    .addOption(setOption())
    .addOption(trialsOption())
    .option("--seeds <a..b>", "these seeds instead")
    .option("--shard <i/n>", "only the i-th of n parts of the seeds; the parts together are the whole")
    .option("--workers <n>", "threads", count(1), availableParallelism())
    .option("--out <file>", "append each record to this file as its trial ends (NDJSON)")
    .option("--resume", "go on with the file of --out after a kill: what it holds is not run again")
    .option("--json", "print the records in order of their seeds (NDJSON); the tables go to stderr")
    .option("--digest", "add a digest of the dump partition to each record")
    .option("--twice", "run every trial a second time, in the opposite order, and compare traces and partitions")
    .option("--trial-timeout <s>", "give up a worker that takes longer for one trial", count(1), 600)
    .option("--sweep <key=a,b,...>", "every dumper at each of these values of a scenario key")
    .option("--curve", `short for --sweep ${LOAD_CURVE}`)
    .option("--csv <file>", "write the comparison as CSV, a row per dumper and value")
    .option("--svg <file>", "draw the comparison: rates with their intervals, or the curve of a sweep")
    .option("--html <file>", "write figure, tables and causes as one page")
    .addHelpText(
      "after",
      `
Exit code 1 when any trial is not complete. A dumper that the scenario cannot have gets a row that says why, and no trials.

Examples:
  dumplab bench --dumper diskdump --trials 300          the white paper's test
  dumplab bench --out results.ndjson --resume           again after a kill
  dumplab bench --dumper all --trials 40                the same instants under every dumper
  dumplab bench --dumper all --curve --csv curve.csv    success against load
  dumplab bench --dumper diskdump,lkcd --trials 40 --svg rates.svg --html rates.html
  dumplab bench --scenario paper-2.4 --trials paper     the white paper's whole table on its own machine
  dumplab bench --sweep cpus=1,2,4,8 --trials 20        any key of the scenario
  dumplab bench --seeds 1..100 --twice                  is it deterministic?
  dumplab bench --seeds 1..10000 --shard 2/8 --json     one of eight machines`,
    )
    .action(async (flags: BenchFlags) => {
      const asThePaper = flags.trials === "paper";
      if (asThePaper && flags.seeds !== undefined) {
        throw new UsageError("--trials paper says how many seeds each dumper has, and --seeds which: give one of them");
      }
      const dumpers = flags.dumper ?? (asThePaper ? WHITE_PAPER_DUMPERS : [undefined]);
      const several = dumpers.length > 1;
      if (flags.curve && flags.sweep !== undefined) throw new UsageError("--curve is a --sweep: give one of them");
      const swept = flags.curve ? LOAD_CURVE : flags.sweep;
      const sweep = swept === undefined ? undefined : parseSweep(swept);
      const plan = planCells({
        ...{ ref: flags.scenario, sets: flags.set, adapter: flags.adapter, dumpers, sweep },
        sameInstants: several,
      });
      refuseOutputs([flags.csv, flags.svg, flags.html]);
      for (const path of [flags.csv, flags.svg, flags.html]) {
        if (path === undefined || flags.out === undefined || resolve(path) !== resolve(flags.out)) continue;
        throw new UsageError(`${path}: is asked for twice`);
      }
      const asked = flags.seeds === undefined ? undefined : parseSeedRange(flags.seeds);
      const shard = flags.shard === undefined ? undefined : parseShard(flags.shard);
      const toTry = plan
        .filter(({ impossible }) => impossible === undefined)
        .map(({ scenario }) => ({
          scenario,
          seeds: seedsOf(asked ?? rangeOfTrials(flags.trials, scenario.dump.dumper), shard),
        }));
      const results = flags.out === undefined ? undefined : openResults(flags.out, flags.resume === true, version);
      const previous = results?.previous ?? [];
      const known = new Set(previous.map((record) => `${record.scenarioHash} ${record.seed}`));
      const toRun = toTry
        .map(({ scenario, seeds }) => {
          const hash = scenarioHash(scenario);
          return seeds.filter((seed) => !known.has(`${hash} ${seed}`)).length;
        })
        .reduce((sum, trials) => sum + trials, 0);
      if (flags.resume) terminal.err.write(`dumplab: ${toRun} trials left to run\n`);
      const progress = new Progress(terminal.err, toRun);
      const stop = new AbortController();
      terminal.interrupted(() => stop.abort());

      const onRecord = (record: TrialRecord) => {
        append(record);
        progress.step(record.outcome === "complete");
      };
      let notWritten: unknown;
      const append = (record: TrialRecord) => {
        try {
          if (notWritten === undefined) results?.file.append(record);
        } catch (error) {
          // Records that are not kept are no use: the workers are sent home.
          notWritten = error;
          stop.abort();
        }
      };
      const onLost = (trial: LostTrial) => {
        progress.clear();
        terminal.err.write(`dumplab: seed ${trial.seed} took its worker down twice: ${trial.cause}\n`);
        progress.step(false);
      };
      const impossible = new Map<string, string>();
      const onImpossible = (scenario: Scenario, reason: string) => {
        impossible.set(scenarioHash(scenario), reason);
        progress.clear();
        terminal.err.write(`dumplab: ${scenario.dump.dumper} is not possible here: ${reason}\n`);
      };
      const options = { digest: flags.digest === true || flags.twice === true };
      const settings = {
        workers: flags.workers,
        workerFile,
        onLost,
        ...(several ? { onImpossible } : {}),
        trialTimeoutMs: flags.trialTimeout * 1000,
        signal: stop.signal,
      };
      const { records, lost, interrupted } = await runCampaign(
        { cells: toTry, options },
        { ...settings, previous, onRecord },
      ).finally(() => {
        progress.clear();
        results?.file.close();
      });
      if (notWritten !== undefined) {
        const way = "the same command with --resume goes on";
        throw new UsageError(`cannot write results to ${flags.out}: ${systemReason(notWritten)}; ${way}`);
      }
      let differ = false;
      if (flags.twice && !interrupted) {
        const again = new Progress(terminal.err, records.length);
        const second = await runCampaign(
          { cells: toTry.map(({ scenario, seeds }) => ({ scenario, seeds: [...seeds].reverse() })), options },
          { ...settings, previous: [], onRecord: (record) => again.step(record.outcome === "complete") },
        ).finally(() => again.clear());
        const differences = differencesBetween(records, second.records);
        differ = differences.length > 0;
        terminal.err.write(comparisonText(records.length, differences));
      }

      const cells = cellsOf(plan, records, lost, impossible);
      const key = sweep?.key ?? null;
      const compares = sweep !== undefined || several;
      const instants = several ? instantsOf(cells) : null;
      const sections = [
        ...[
          cellTable(cells, key),
          curveText(cells, key),
          verdicts(cells, key)
            .map((line) => `${line}\n`)
            .join(""),
        ],
        ...(instants && instants.dumpers > 1 ? [instantsText(instants)] : []),
        blockerTable(cells, key),
      ];
      const report = compares
        ? sections.filter((part) => part !== "").join("\n")
        : campaignReport(records, lost, cells[0]?.paper);
      if (flags.json) {
        for (const record of records) terminal.out.write(`${JSON.stringify(record)}\n`);
        terminal.err.write(report);
      } else {
        terminal.out.write(report);
      }
      const comparison: Comparison = {
        ...{ cells, key, version, interrupted, command: commandOf(flags) },
        seeds: `${seedsText(flags)}${flags.shard === undefined ? "" : `, shard ${flags.shard}`}`,
      };
      writeAll([
        [flags.csv, () => comparisonCsv(cells, key)],
        [flags.svg, () => comparisonSvg(comparison)],
        [flags.html, () => comparisonHtml(comparison, instants)],
      ]);
      if (interrupted) {
        const way = flags.out === undefined ? "" : "; the same command with --resume goes on";
        terminal.err.write(`dumplab: interrupted after ${records.length} trials${way}\n`);
      }
      const failed = records.some(({ outcome }) => outcome !== "complete");
      exit(failed || differ || lost.length > 0 || interrupted ? 1 : 0);
    });
}

/** Each whole or not at all; one that cannot be written does not keep the others from being. Throws a UsageError in the end. */
function writeAll(files: readonly (readonly [path: string | undefined, contents: () => string])[]): void {
  const errors: UsageError[] = [];
  for (const [path, contents] of files) {
    if (path === undefined) continue;
    const bytes = new TextEncoder().encode(contents());
    try {
      createFile(path, (sink) => sink.bytes(0, bytes));
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      errors.push(error);
    }
  }
  if (errors.length > 0) throw new UsageError(errors.map(({ message }) => message).join("; "));
}

function seedsText({ seeds, trials }: BenchFlags): string {
  return trials === "paper"
    ? "as many seeds of each as the white paper had trials"
    : `seeds ${seeds ?? `1..${trials}`}`;
}

/** What decides the results, as a command line: no workers, no files. */
function commandOf(flags: BenchFlags): string {
  const { dumper, sweep, curve, seeds, shard } = flags;
  const all =
    dumper !== undefined && dumper.length === DUMPERS.length && dumper.every((name, i) => name === DUMPERS[i]);
  const words = [
    ...["dumplab", "bench", "--scenario", flags.scenario],
    ...(dumper === undefined ? [] : ["--dumper", all ? "all" : dumper.join(",")]),
    ...(flags.adapter === undefined ? [] : ["--adapter", flags.adapter]),
    ...flags.set.flatMap((override) => ["--set", override]),
    ...(seeds === undefined ? ["--trials", String(flags.trials)] : ["--seeds", seeds]),
    ...(shard === undefined ? [] : ["--shard", shard]),
    ...(sweep === undefined ? [] : ["--sweep", sweep]),
    ...(curve ? ["--curve"] : []),
  ];
  return words.map(quoted).join(" ");
}
