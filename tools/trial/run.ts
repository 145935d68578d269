// One trial: build the machine, boot it, load it, crash it, let it dump, and judge what became of it.
import { UsageError } from "../../diskdump/userspace/errors.ts";
import { openDump, hasDump } from "../../diskdump/userspace/dump-image.ts";
import { PageStoreSink } from "../../diskdump/userspace/core-sink.ts";
import { writeCore } from "../../diskdump/userspace/core-writer.ts";
import { diskdumpOf, dumpOutcome } from "../../diskdump/module/disk-dump.ts";
import type { DumpOutcome } from "../../diskdump/module/outcome.ts";
import type { Deadlock } from "../../emulator/cpu/machine.ts";
import { TURN_LIMIT } from "../../emulator/cpu/machine.ts";
import { accessTriggers } from "../../emulator/bus/mmio.ts";
import { disarmAllProbes } from "../../kernel-sim/core/kfunc.ts";
import { bootLab, type Lab } from "../machine/lab.ts";
import { buildHardware, type Hardware } from "../machine/hardware.ts";
import { dumpAdapterType } from "../scenario/devices.ts";
import { replayCommand, scenarioHash } from "../scenario/identity.ts";
import type { Scenario } from "../scenario/scenario.ts";
import { version } from "../version.ts";
import { artifactsOf } from "./artifacts.ts";
import { applyDamage, damageAfterDump } from "./damage.ts";
import { partitionDigest } from "./digest.ts";
import { comparePages, strayWrite, type PageVerdict } from "./oracle.ts";
import { RamSnapshot } from "./snapshot.ts";
import type { ConsoleLine, TrialOptions, TrialOutcome, TrialRecord, TrialResult } from "./types.ts";

interface Judgement {
  readonly outcome: TrialOutcome;
  readonly cause: string | null;
  readonly verdict?: PageVerdict;
}

/** What the trial observes while it runs. */
interface Witness {
  snapshot: RamSnapshot | undefined;
  deadlock: Deadlock | undefined;
}

/**
 * Runs one trial of a scenario. Deterministic: equal scenario and seed give an equal record but for `hostMs`.
 * Throws a UsageError for a scenario that names what the machine does not have.
 */
export function runTrial(scenario: Scenario, seed: number, options: TrialOptions): TrialResult {
  const startedAt = performance.now();
  return runTrialOn(buildHardware(scenario, seed), scenario, seed, options, startedAt);
}

/** Runs a trial on hardware that was built for this scenario and seed, and has not run yet. */
export function runTrialOn(
  hardware: Hardware,
  scenario: Scenario,
  seed: number,
  options: TrialOptions,
  startedAt = performance.now(),
): TrialResult {
  disarmAllProbes();
  accessTriggers.armed = 0;
  const { machine } = hardware;
  const phase = options.onPhase ?? (() => {});
  phase("built");
  if (options.trace) machine.recorder.start();
  machine.turnLimit = scenario.limits.hostEvents;
  const lab = bootLab(hardware, scenario);
  if (options.onConsole) lab.kernel.console.onLine = options.onConsole;
  lab.onCrashArmed.push(() => phase("load"));
  const witness = observe(lab, phase);
  applyDamage(lab, scenario);
  machine.run(scenario.limits.virtualTimeNs);
  hardware.settle?.();
  damageAfterDump(lab, scenario);
  const judgement = judge(lab, scenario, witness);
  phase("judged");
  const record = recordOf(lab, scenario, seed, judgement, performance.now() - startedAt, options);
  const console: readonly ConsoleLine[] = lab.kernel.console.lines;
  return { record, console, procDiskdump: lab.procDiskdump, ...artifactsOf(lab, scenario) };
}

/** Watches for the two things that the state at the end no longer shows: RAM at the freeze, and who waits for ever. */
function observe(lab: Lab, phase: (name: string) => void): Witness {
  const witness: Witness = { snapshot: undefined, deadlock: undefined };
  const { kernel, hardware } = lab;
  const { machine } = hardware;
  machine.onDeadlock = (deadlock) => {
    // Before the crash a CPU may spin for ever: that is what the crash is there to show. The dumping CPU may not.
    if (!kernel.crash || deadlock.cpu.id !== machine.cpus[dumpingCpu(lab)]!.id) return;
    witness.deadlock = deadlock;
    machine.stopReason = "the dumping CPU spins for ever";
  };
  lab.onDumpStage = (stage) => {
    phase(`dump ${stage}`);
    if (stage !== "header") return;
    if (!witness.snapshot) {
      witness.snapshot = new RamSnapshot(machine.memory);
      for (const disk of hardware.disks.values()) disk.guard.forbid();
    }
    // A second device may follow when the first one fails half-way.
    const { device } = dumpOutcome(kernel);
    const place = lab.dumpPartitions.find((p) => p.device === device)!;
    hardware.disks.get(place.disk)!.guard.watch(place.startSector, place.startSector + place.sectors);
  };
  return witness;
}

const dumpingCpu = (lab: Lab): number => lab.kernel.crash?.cpu ?? 0;

function judge(lab: Lab, scenario: Scenario, witness: Witness): Judgement {
  const { kernel, hardware } = lab;
  if (!kernel.crash) return { outcome: "no-crash", cause: whyNoCrash(lab, scenario) };
  const stray = strayWrite(hardware.disks);
  if (stray) {
    const cause = `${stray.disk} was written outside the dump partition, first at sector ${stray.lba}`;
    return { outcome: "wrote-outside", cause };
  }
  const dump = dumpOutcome(kernel);
  if (witness.deadlock) return { outcome: "hang", cause: deadlockText(witness.deadlock) };
  if (dump.result === "running") return { outcome: "hang", cause: hangText(lab, dump) };
  if (dump.result === "not started") return { outcome: "refused", cause: "no dumper was registered" };
  if (dump.result === "refused") return { outcome: fallbackOutcome(dump, "refused"), cause: refusalText(dump) };
  if (dump.result === "incomplete") return { outcome: fallbackOutcome(dump, "incomplete"), cause: refusalText(dump) };
  const verdict = compareCore(lab, witness, dump);
  if (typeof verdict === "string") return { outcome: "corrupt", cause: verdict };
  if (verdict.wrong) {
    const { physical, byte } = verdict.wrong;
    const cause = `page 0x${physical.toString(16)} differs from RAM at the freeze, first in byte ${byte} (${verdict.wrongPages} wrong pages)`;
    return { outcome: "corrupt", cause, verdict };
  }
  return { outcome: "complete", cause: null, verdict };
}

/** What was said, when and where, is part of what happened. */
function consoleHash(lab: Lab): string {
  let hash = 0x811c9dc5;
  for (const { ns, cpu, text } of lab.kernel.console.lines) {
    hash = Math.imul(hash ^ ns ^ cpu, 0x01000193);
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  return ((hash ^ lab.hardware.machine.now()) >>> 0).toString(16).padStart(8, "0");
}

const fallbackOutcome = (dump: DumpOutcome, otherwise: TrialOutcome): TrialOutcome =>
  dump.fallback === "netdump" ? "fell-back" : otherwise;

function whyNoCrash(lab: Lab, scenario: Scenario): string {
  const { stopReason } = lab.hardware.machine;
  const { at } = scenario.crash;
  const point =
    at.kind === "function"
      ? `${at.name} was not called ${at.count} times`
      : at.kind === "access"
        ? `${at.adapter} did not see ${at.count} register accesses`
        : at.kind === "lock"
          ? `${at.name} was not taken ${at.count} times`
          : "the crash did not come";
  return stopReason ? `${point}: ${stopReason}` : `${point} within limits.virtualTime`;
}

const HELD_BY: Readonly<Record<Deadlock["end"], string>> = {
  "frozen cpu": "by a CPU that is frozen",
  "abandoned context": "by a context that an NMI or INIT abandoned",
  itself: "by the CPU itself",
  cycle: "in a circle",
};

function deadlockText(deadlock: Deadlock): string {
  const links = deadlock.chain.map(
    (l, i) => `${i === 0 ? "the dumping CPU" : "its holder"} waits for ${l.waitsFor}, taken in ${l.holder}`,
  );
  return `${links.join("; ")} (${HELD_BY[deadlock.end]})`;
}

function hangText(lab: Lab, dump: DumpOutcome): string {
  const { machine } = lab.hardware;
  const c = machine.cpus[dumpingCpu(lab)]!;
  const where = machine.nameFunction(c.functionId);
  const limit = machine.stopReason === TURN_LIMIT ? "limits.hostEvents" : "limits.virtualTime";
  const second = lab.kernel.secondCrash ? ` after a second crash (${lab.kernel.secondCrash.reason})` : "";
  return `the dump stood in stage "${dump.stage}" (${where})${second} when ${machine.stopReason ?? limit} ended the trial`;
}

function refusalText(dump: DumpOutcome): string {
  const rejected = dump.rejected.map((r) => `${r.device}: ${r.reason}`).join("; ");
  const reason = dump.reason ?? "unknown";
  const text = rejected === "" ? reason : rejected;
  return dump.fallback ? `${text} (${dump.fallback})` : text;
}

/** savecore, in memory, and the comparison. A string says why there was nothing to compare. */
function compareCore(lab: Lab, witness: Witness, dump: DumpOutcome): PageVerdict | string {
  const { snapshot } = witness;
  if (!snapshot) return "the dump says it is complete, but it never began to write";
  const partition = lab.dumpPartitions.find((p) => p.device === dump.device);
  if (!partition) return `the dump says it went to ${dump.device}, which is no dump device`;
  const store = partition.store();
  if (!hasDump(store)) return `${partition.device} holds no dump header`;
  try {
    const image = openDump(store);
    if (image.shortcomings.length > 0) return image.shortcomings.join("; ");
    const sink = new PageStoreSink(lab.hardware.machine.memory.pool);
    const layout = writeCore(image, sink);
    const dd = diskdumpOf(lab.kernel)!;
    const verdict = comparePages(sink.store, layout, snapshot, dd.touchedRanges(), dd.biasBytes);
    sink.store.clear();
    return verdict;
  } catch (error) {
    if (error instanceof UsageError) return `savecore cannot read the dump: ${error.message}`;
    throw error;
  }
}

function recordOf(
  lab: Lab,
  scenario: Scenario,
  seed: number,
  judgement: Judgement,
  hostMs: number,
  options: TrialOptions,
): TrialRecord {
  const { kernel, hardware } = lab;
  const { crash } = kernel;
  const dump = dumpOutcome(kernel);
  const digest = options.digest ? partitionDigest(lab, dump.device) : undefined;
  return {
    scenario: scenario.name,
    scenarioRef: scenario.source.ref,
    overrides: scenario.source.overrides,
    scenarioHash: scenarioHash(scenario),
    dumper: scenario.dump.dumper,
    adapter: dumpAdapterType(scenario),
    seed,
    outcome: judgement.outcome,
    cause: judgement.cause,
    traceHash: hardware.machine.traceHash + consoleHash(lab),
    virtualNs: hardware.machine.now(),
    hostMs: Math.round(hostMs),
    crash: crash
      ? { cpu: crash.cpu, function: crash.functionName, virtualNs: crash.ns, trigger: scenario.crash.trigger }
      : null,
    findings: [...kernel.reports],
    dumpedPages: dump.pagesWritten,
    ...(digest === undefined ? {} : { partitionDigest: digest }),
    version,
    command: replayCommand(scenario, seed),
  };
}
