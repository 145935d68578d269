// dumplab trial: one machine, from power-on to the oracles' verdict.
import { Command, Option } from "commander";
import { UsageError } from "../../../diskdump/userspace/errors.ts";
import { simulatorErrorRecord } from "../../campaign/error-record.ts";
import { parseSeed } from "../../campaign/seeds.ts";
import { isNetworked } from "../../machine/network.ts";
import { loadScenario } from "../../scenario/load.ts";
import type { Dumper } from "../../scenario/scenario.ts";
import type { Scenario } from "../../scenario/scenario.ts";
import {
  TRIAL_OUTCOMES,
  type ConsoleLine,
  type TrialOptions,
  type TrialRecord,
  type TrialResult,
} from "../../trial/types.ts";
import { writeCapsule } from "../capsule.ts";
import type { CommandContext } from "../main.ts";
import { adapterOption, dumperOption, setOption } from "../options.ts";
import { refuseOutputs } from "../outputs.ts";

const DEFAULT_SCENARIO = "learn";

interface TrialFlags {
  seed: string;
  dumper?: Dumper;
  adapter?: string;
  set: string[];
  json?: true;
  expect: string;
  digest?: true;
  disk?: string;
  vmcore?: string;
  vmlinux?: string;
  trace?: string;
  pcap?: string;
  capsule?: string;
}

export function trialCommand({ terminal, exit, runTrial }: CommandContext): Command {
  return new Command("trial")
    .description("crash one machine, let it dump, and judge the dump")
    .argument("[scenario]", "built-in name, or path of a YAML or JSON file", DEFAULT_SCENARIO)
    .option("--seed <n>", "everything random follows from it", "1")
    .addOption(dumperOption("--dumper <name>", "short for --set dump.dumper=<name>"))
    .addOption(adapterOption())
    .addOption(setOption())
    .option("--json", "print the record as one line of JSON instead of the console log")
    .addOption(
      new Option("--expect <outcome>", "the outcome that exits with 0").choices(TRIAL_OUTCOMES).default("complete"),
    )
    .option("--digest", "add a digest of the dump partition to the record")
    .option("--disk <file>", "write the dump disk as a sparse raw image")
    .option("--vmcore <file>", "write the vmcore that savecore makes")
    .option("--vmlinux <file>", "write the kernel's symbols for gdb and crash")
    .option("--trace <file>", "write the trace of events")
    .option("--pcap <file>", "write the frames on the network for Wireshark (netdump, LKCD)")
    .option("--capsule <file>", "write a capsule for dumplab replay")
    .addHelpText(
      "after",
      `
Examples:
  dumplab trial                                         the small learning machine
  dumplab trial paper --seed 7 --vmcore vmcore --vmlinux vmlinux
  dumplab trial learn --set crash.trigger=panic --set crash.at.time=30ms
  dumplab trial learn --adapter mptsas
  dumplab trial --dumper netdump --set network.lossFraction=0.05 --pcap netdump.pcapng
  dumplab trial with-host-lock-held --expect refused --json`,
    )
    .action((ref: string, flags: TrialFlags) => {
      const scenario = loadScenario(ref, flags.set, flags.dumper, flags.adapter);
      const seed = parseSeed(flags.seed);
      const { disk, vmcore, vmlinux, trace, pcap, capsule } = flags;
      refuseOutputs([disk, vmcore, vmlinux, trace, pcap, capsule]);
      if (pcap !== undefined && !isNetworked(scenario)) {
        throw new UsageError(
          "--pcap: the machine is on no network; --dumper netdump puts it on one, and LKCD with dump.lkcd.method=network",
        );
      }
      const result = attempt(scenario, seed, {
        ...{ trace: trace !== undefined, pcap: pcap !== undefined },
        digest: flags.digest === true,
        ...(flags.json ? {} : { onConsole: (line: ConsoleLine) => terminal.out.write(`${consoleText(line)}\n`) }),
      });
      const { record } = result;
      terminal.out.write(flags.json ? `${JSON.stringify(record)}\n` : summary(record));
      exit(record.outcome === flags.expect ? 0 : 1);
      if (capsule !== undefined) writeCapsule(capsule, record, scenario);
      writeArtifacts(result, flags);
    });

  /** A trial in which the simulator itself fails is a trial all the same: it has a record, and no artifacts. */
  function attempt(scenario: Scenario, seed: number, options: TrialOptions): TrialResult {
    try {
      return runTrial(scenario, seed, options);
    } catch (error) {
      if (error instanceof UsageError) throw error;
      terminal.err.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
      const nothing = (): never => {
        throw new UsageError("the simulator failed: there is nothing to write");
      };
      const record = simulatorErrorRecord(scenario, seed, error);
      const files = { writeVmcore: nothing, writeVmlinux: nothing };
      const writers = { ...files, writeDisk: nothing, writeTrace: nothing, writePcap: nothing };
      return { record, console: [], procDiskdump: "", ...writers };
    }
  }

  /** A trial without a dump has no vmcore: that is said, and does not hide that the trial failed. */
  function writeArtifacts(result: TrialResult, { disk, vmcore, vmlinux, trace, pcap }: TrialFlags): void {
    for (const [path, write] of [
      [disk, result.writeDisk],
      // gdb warns of a program that is newer than its core.
      [vmlinux, result.writeVmlinux],
      [vmcore, result.writeVmcore],
      [trace, result.writeTrace],
      [pcap, result.writePcap],
    ] as const) {
      if (path === undefined) continue;
      try {
        write(path);
        terminal.err.write(`dumplab: wrote ${path}\n`);
      } catch (error) {
        if (!(error instanceof UsageError) || result.record.outcome === "complete") throw error;
        terminal.err.write(`dumplab: ${path} was not written: ${error.message}\n`);
      }
    }
  }
}

/** "    0.043211 cpu1  disk_dump: ..." */
function consoleText({ ns, cpu, text }: ConsoleLine): string {
  return `${seconds(ns).padStart(13)} cpu${cpu}  ${text}`;
}

function seconds(ns: number): string {
  return (ns / 1e9).toFixed(6);
}

function savedText({ dumpedPages, changedPages }: TrialRecord): string {
  const changed = changedPages ? `; ${changedPages} had changed since the freeze` : "";
  return `${dumpedPages} pages${changed}`;
}

function summary(record: TrialRecord): string {
  const { crash } = record;
  const rows: [string, string][] = [
    ["scenario", `${record.scenario}, seed ${record.seed}, ${record.dumper} through ${record.adapter}`],
    [
      "crash",
      crash ? `${crash.trigger} at ${seconds(crash.virtualNs)} s on CPU ${crash.cpu} in ${crash.function}` : "none",
    ],
    ["outcome", record.outcome],
    ...(record.cause === null ? [] : ([["cause", record.cause]] as [string, string][])),
    ...record.findings.map((finding): [string, string] => ["finding", finding]),
    ["saved", savedText(record)],
    ...(record.partitionDigest === undefined ? [] : ([["digest", record.partitionDigest]] as [string, string][])),
    ["time", `${seconds(record.virtualNs)} s virtual, ${(record.hostMs / 1000).toFixed(2)} s here`],
    ["version", record.version],
    ["trace", record.traceHash],
    ["replay", record.command],
  ];
  return `\n${rows.map(([key, value]) => `${key.padEnd(9)} ${value}`).join("\n")}\n`;
}
