// One trial: build the machine, boot it, load it, crash it, let it dump, and judge what became of it.
import { UsageError } from "../../diskdump/userspace/errors.ts";
import type { Deadlock } from "../../emulator/cpu/machine.ts";
import { TURN_LIMIT } from "../../emulator/cpu/machine.ts";
import { accessTriggers } from "../../emulator/bus/mmio.ts";
import { disarmAllProbes } from "../../kernel-sim/core/kfunc.ts";
import type { DumpReport, DumperRun } from "../machine/dumper.ts";
import { bootLab, type Lab } from "../machine/lab.ts";
import { buildHardware, type Hardware } from "../machine/hardware.ts";
import { dumpAdapterType } from "../scenario/devices.ts";
import { replayCommand, scenarioHash } from "../scenario/identity.ts";
import type { Scenario } from "../scenario/scenario.ts";
import { version } from "../version.ts";
import { artifactsOf } from "./artifacts.ts";
import { applyDamage, damageAfterDump } from "./damage.ts";
import { partitionDigest } from "./digest.ts";
import { LoadMeter } from "./load-meter.ts";
import { strayWrite, type PageVerdict } from "./oracle.ts";
import { RamSnapshot } from "./snapshot.ts";
import type { BlockedRecord, ConsoleLine, TrialOptions, TrialOutcome, TrialRecord, TrialResult } from "./types.ts";

interface Judgement {
  readonly outcome: TrialOutcome;
  readonly cause: string | null;
  readonly verdict?: PageVerdict;
}

/** What the trial observes while it runs. */
interface Witness {
  snapshot: RamSnapshot | undefined;
  deadlock: Deadlock | undefined;
  readonly load: LoadMeter;
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
  const capture = options.pcap ? hardware.network?.capture() : undefined;
  machine.turnLimit = scenario.limits.hostEvents;
  const lab = bootLab(hardware, scenario);
  if (options.onConsole) lab.kernel.console.onLine = options.onConsole;
  lab.onCrashArmed.push(() => phase("load"));
  const witness = observe(lab, phase);
  applyDamage(lab, scenario);
  machine.run(scenario.limits.virtualTimeNs);
  lab.kernel.enter();
  hardware.settle?.();
  damageAfterDump(lab, scenario);
  const judgement = judge(lab, scenario, witness);
  phase("judged");
  const record = recordOf(lab, scenario, seed, judgement, witness, performance.now() - startedAt, options);
  const console: readonly ConsoleLine[] = lab.kernel.console.lines;
  return { record, console, procDiskdump: lab.procDiskdump, ...artifactsOf(lab, scenario, capture) };
}

/** Watches for the two things that the state at the end no longer shows: RAM at the freeze, and who waits for ever. */
function observe(lab: Lab, phase: (name: string) => void): Witness {
  const witness: Witness = { snapshot: undefined, deadlock: undefined, load: new LoadMeter(lab) };
  const { kernel, hardware } = lab;
  const { machine } = hardware;
  machine.onDeadlock = (deadlock) => {
    // Before the crash a CPU may spin for ever: that is what the crash is there to show. The dumping CPU may not, nor one that
    // has taken an NMI or INIT and has not got as far as saying that it dies.
    const { id } = deadlock.cpu;
    if (!(kernel.crash ? id === kernel.crash.cpu : kernel.percpu[id]!.inNmi)) return;
    witness.deadlock = deadlock;
    machine.stopReason = "the dumping CPU spins for ever";
  };
  lab.onDumpStage = (stage) => phase(`dump ${stage}`);
  lab.onFreeze = (mayWrite) => {
    const first = !witness.snapshot;
    witness.snapshot ??= new RamSnapshot(machine.memory);
    if (mayWrite === "anything") return;
    if (first) for (const disk of hardware.disks.values()) disk.guard.forbid();
    if (mayWrite === "nothing") return;
    const place = lab.dumpPartitions.find((p) => p.device === mayWrite.device)!;
    hardware.disks.get(place.disk)!.guard.watch(place.startSector, place.startSector + place.sectors);
  };
  return witness;
}

const dumpingCpu = (lab: Lab): number => lab.kernel.crash?.cpu ?? 0;

function judge(lab: Lab, scenario: Scenario, witness: Witness): Judgement {
  const { kernel, hardware } = lab;
  if (!kernel.crash && !witness.deadlock) return { outcome: "no-crash", cause: whyNoCrash(lab, scenario) };
  const stray = strayWrite(hardware.disks);
  if (stray) {
    const cause = `${stray.disk} was written outside the dump partition, first at sector ${stray.lba}`;
    return { outcome: "wrote-outside", cause };
  }
  const dump = reportOf(lab);
  if (witness.deadlock) return { outcome: "hang", cause: deadlockText(witness.deadlock) };
  if (standing(lab).result === "running") return { outcome: "hang", cause: hangText(lab) };
  if (dump.result === "not started") return { outcome: "refused", cause: "no dumper was registered" };
  if (dump.result === "refused" || dump.result === "incomplete") {
    if (dump.handedTo === undefined) return { outcome: dump.result, cause: dump.reason };
    return fellBack(dump, lab.dumper?.fallback, witness);
  }
  return judgeCore(lab.dumper!, witness);
}

/** The second dumper's dump is worth what it is worth; the trial's outcome says that there had to be one. */
function fellBack(first: DumpReport, second: DumperRun | undefined, witness: Witness): Judgement {
  const report = second?.report();
  if (!second || !report) return { outcome: "fell-back", cause: first.reason };
  const judged = report.result === "complete" ? judgeCore(second, witness) : undefined;
  const outcome = judged?.outcome ?? report.result;
  const why = judged ? judged.cause : report.reason;
  const cause = `${first.reason}; ${first.handedTo}: ${outcome}${why ? `, ${why}` : ""}`;
  return { outcome: "fell-back", cause, ...(judged?.verdict ? { verdict: judged.verdict } : {}) };
}

function judgeCore(dumper: DumperRun, witness: Witness): Judgement {
  const verdict = compareCore(dumper, witness);
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

/** A lock's name without the number of the one among its like: campaigns count causes. */
const lockKind = (name: string): string =>
  name
    .replace(/\[\d+\]/g, "[]")
    .replace(/\/\d+\b/g, "")
    .replace(/\.\d+(?=\.|$)/g, "");

function deadlockText(deadlock: Deadlock): string {
  const links = deadlock.chain.map(
    (l, i) => `${i === 0 ? "the dumping CPU" : "its holder"} waits for ${lockKind(l.waitsFor)}, taken in ${l.holder}`,
  );
  return `${links.join("; ")} (${HELD_BY[deadlock.end]})`;
}

/** The dumper that had the machine last: the one behind the first, once that has handed over. */
function lastDumper(lab: Lab): DumperRun | undefined {
  const { dumper } = lab;
  return dumper?.fallback && dumper.report().handedTo !== undefined ? dumper.fallback : dumper;
}

const standing = (lab: Lab): DumpReport => lastDumper(lab)?.report() ?? NOT_STARTED;

/** What the dumping CPU spins on, or what the dumper says that its dump waits for. */
function blockedOf(lab: Lab, { deadlock }: Witness, dump: DumpReport): BlockedRecord | null {
  if (deadlock) {
    const { chain, end } = deadlock;
    const links = chain.map(({ waitsFor, heldBy, holder }, i) =>
      i === 0 ? `held by cpu ${heldBy}` : `which waits for ${waitsFor}, held by cpu ${heldBy} in ${holder}`,
    );
    const { waitsFor, holder } = chain[0]!;
    return { on: waitsFor, because: `${links.join(", ")} (${HELD_BY[end]})`, function: holder };
  }
  if (dump.result !== "running") return null;
  const blocked = lastDumper(lab)?.blockedOn?.();
  return blocked ? { on: blocked.on, because: blocked.because, function: blocked.function ?? null } : null;
}

function hangText(lab: Lab): string {
  const dump = standing(lab);
  const blocked = lastDumper(lab)?.blockedOn?.();
  if (blocked) return `the dump waits for ${blocked.on}: ${blocked.because}`;
  const { machine } = lab.hardware;
  const c = machine.cpus[dumpingCpu(lab)]!;
  const where = machine.nameFunction(c.functionId);
  const limit = machine.stopReason === TURN_LIMIT ? "limits.hostEvents" : "limits.virtualTime";
  const second = lab.kernel.secondCrash ? ` after a second crash (${lab.kernel.secondCrash.reason})` : "";
  return `the dump stood in stage "${dump.stage}" (${where})${second} when ${machine.stopReason ?? limit} ended the trial`;
}

/** Holds the dump against RAM at the freeze. A string says why there was nothing to compare. */
function compareCore(dumper: DumperRun, witness: Witness): PageVerdict | string {
  const { snapshot } = witness;
  if (!snapshot) return "the dump says it is complete, but it never began to write";
  try {
    return dumper.judge(snapshot);
  } catch (error) {
    if (error instanceof UsageError) return `savecore cannot read the dump: ${error.message}`;
    throw error;
  }
}

const NOT_STARTED: DumpReport = {
  ...{ result: "not started", reason: "", device: undefined, stage: "idle", pagesWritten: 0, handedTo: undefined },
};

const reportOf = (lab: Lab): DumpReport => lab.dumper?.report() ?? NOT_STARTED;

function recordOf(
  lab: Lab,
  scenario: Scenario,
  seed: number,
  judgement: Judgement,
  witness: Witness,
  hostMs: number,
  options: TrialOptions,
): TrialRecord {
  const { kernel, hardware } = lab;
  const { crash } = kernel;
  const dump = standing(lab);
  const digest = options.digest ? partitionDigest(lab, reportOf(lab).device) : undefined;
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
      ? {
          ...{ cpu: crash.cpu, function: crash.functionName, virtualNs: crash.ns },
          sinceLoadNs: lab.loadStartNs === undefined ? null : crash.struckNs - lab.loadStartNs,
          trigger: scenario.crash.trigger,
        }
      : null,
    findings: [...kernel.reports],
    dumpedPages: dump.pagesWritten,
    changedPages: judgement.verdict?.changedByDump ?? null,
    dumpedBytes: dump.bytesWritten ?? null,
    dumpVirtualNs: crash ? (dump.endedAtNs ?? hardware.machine.now()) - crash.ns : null,
    blocked: blockedOf(lab, witness, dump),
    load: witness.load.record(),
    ...(digest === undefined ? {} : { partitionDigest: digest }),
    version,
    command: replayCommand(scenario, seed),
  };
}
