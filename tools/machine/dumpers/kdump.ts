// kdump and mkdump on a trial's machine: `kexec -p` before the load, and the ELF core that the capture kernel left on the partition.
import { FRAME_SIZE } from "../../../emulator/memory/pool.ts";
import type { CoreReader } from "../../../diskdump/cores/core.ts";
import { elfFileCore } from "../../../diskdump/cores/elf-file-core.ts";
import { cpuNotes } from "../../../diskdump/userspace/core-notes.ts";
import { CrashDump, type CrashKernelKind } from "../../../diskdump/peers/kdump/crash-dump.ts";
import { BACKUP_BYTES, loadCrashImage } from "../../../diskdump/peers/kdump/crash-image.ts";
import { crash_kexec } from "../../../diskdump/peers/kdump/crash-kexec.ts";
import { elfcorehdrOf, type Load } from "../../../diskdump/peers/kdump/elfcorehdr.ts";
import { MKDUMP } from "../../../diskdump/peers/mkdump/mkdump.ts";
import { writeElfCore } from "../../../diskdump/userspace/core-writer.ts";
import { array, char, int } from "../../../kernel-sim/abi/types.ts";
import { M } from "../../../kernel-sim/abi/ram.ts";
import { K } from "../../../kernel-sim/core/kernel.ts";
import { sd_attach_all } from "../../../kernel-sim/scsi/sd.ts";
import { compareCore, type PageVerdict } from "../../trial/oracle.ts";
import { dumpAdapterType, nameWithOneDriver } from "../../scenario/devices.ts";
import type { RamSnapshot } from "../../trial/snapshot.ts";
import { ADAPTERS } from "../adapters.ts";
import { crashRegionOf } from "../crash-region.ts";
import type { Blocked, DumperKind, DumperRun, DumpReport } from "../dumper.ts";
import type { Lab } from "../lab.ts";
import { watchProgress } from "./progress.ts";

const KDUMP: CrashKernelKind = { name: "kdump", backup: true, direct: false, oneDriver: false };

export const kdump: DumperKind = { start: (lab) => start_kexec(lab, KDUMP) };
export const mkdump: DumperKind = { start: (lab) => start_kexec(lab, MKDUMP) };

/** A second kernel's drivers: those of the first, or the dump device's alone. */
export function* probe_adapters(lab: Lab, onlyOfDump = false): Generator<void, void, void> {
  const own = dumpAdapterType(lab.scenario);
  const types = lab.scenario.adapters.map(({ type }) => type).filter((type) => !onlyOfDump || type === own);
  const drivers = [...new Set(types)].map((type) => ADAPTERS[type]!);
  for (const { loadModules } of drivers) loadModules();
  for (const { probe } of drivers) yield* probe();
  yield* sd_attach_all();
}

function* start_kexec(lab: Lab, kind: CrashKernelKind): Generator<void, DumperRun, void> {
  const { scenario } = lab;
  K.modules.load("kexec");
  const { machine, cpus, map } = K;
  const region = crashRegionOf(scenario)!;
  const { device } = lab.dumpPartitions[0]!;
  const noteBytes = cpuNotes({ model: map.model, cpus: [{ task: 0n }] } as never).length;
  const notesAt = K.static("crash_notes", array(char, noteBytes * cpus.length));
  const dump = new CrashDump({
    ...{ kind, kernel: K, noteBytes, lockAt: K.static("kexec_lock", int) },
    notes: cpus.map((c) => notesAt + c.id * noteBytes),
    probe: () => probe_adapters(lab, kind.oneDriver),
    target: (kind.oneDriver ? nameWithOneDriver(scenario, device) : device).replace("/dev/", ""),
  });
  const { kdump: keys } = scenario;
  const commandLine = [
    ...["root=/dev/ram0", "maxcpus=1", `elfcorehdr=${(region.end - 65536) / 1024}K`, "memmap=exactmap"],
    ...(kind.name === "mkdump" ? [`dump_dev=${dump.target}`, `mem=${(region.end - region.start) >> 20}M`] : []),
    ...(keys.irqpoll ? ["irqpoll"] : []),
    ...(keys.resetDevices ? ["reset_devices"] : []),
  ].join(" ");
  const notes = dump.notes.map((at) => ({ at, bytes: noteBytes }));
  const header = elfcorehdrOf(notes, loadsOf(dump, region), map.pageOffset);
  const text = M.u8.slice(K.sections.text, K.sections.rodata);
  dump.image = loadCrashImage(machine.memory, region, text, header, commandLine);
  const ranges = machine.memory.map;
  K.files.add("/proc/iomem", {
    read: () =>
      [
        ...ranges.map((r) => ({ ...r, text: r.type === "ram" ? "System RAM" : r.type })),
        { ...region, text: "  Crash kernel" },
      ]
        .sort((a, b) => a.start - b.start)
        .map(
          (r) => `${r.start.toString(16).padStart(8, "0")}-${(r.end - 1).toString(16).padStart(8, "0")} : ${r.text}\n`,
        )
        .join(""),
  });
  const run = new KdumpRun(lab, dump);
  dump.onStage = (stage) => lab.onDumpStage(stage);
  dump.onFreeze = () => {
    lab.onFreeze("anything");
    machine.memory.onDeviceWrite = (address, length) => run.note(address, length);
    // What the capture kernel says while it probes is progress, too.
    watchProgress(machine, () => dump.pagesWritten + (dump.capture?.console.lines.length ?? 0));
  };
  K.crashdump.kexec = (regs) => crash_kexec(dump, regs);
  const { damageOffset } = keys;
  if (damageOffset !== null && dump.image) {
    const at = dump.image.segments[0]!.at + (damageOffset % dump.image.segments[0]!.bytes);
    lab.onCrashArmed.push(() => machine.memory.write8(at, machine.memory.read8(at) ^ 0x40));
  }
  return run;
}

/** RAM without the reserve; low memory from its copy where there is one. */
function loadsOf(dump: CrashDump, region: { start: number; end: number }): Load[] {
  const loads: Load[] = [];
  const add = (physical: number, end: number): void => {
    if (end <= physical) return;
    const copied = dump.kind.backup && physical === 0;
    if (copied && end > BACKUP_BYTES) {
      add(0, BACKUP_BYTES);
      add(BACKUP_BYTES, end);
    } else loads.push({ physical, from: copied ? region.start : physical, bytes: end - physical });
  };
  for (const range of dump.kernel.machine.memory.map) {
    if (range.type !== "ram") continue;
    add(range.start, Math.min(range.end, Math.max(range.start, region.start)));
    add(Math.max(range.start, region.end), range.end);
  }
  return loads.filter(({ bytes }) => bytes > 0);
}

class KdumpRun implements DumperRun {
  private readonly lab: Lab;
  private readonly dump: CrashDump;
  /** Page frames that a device wrote after the freeze. */
  private readonly written = new Set<number>();

  constructor(lab: Lab, dump: CrashDump) {
    this.lab = lab;
    this.dump = dump;
  }

  note(address: number, length: number): void {
    for (let page = Math.floor(address / FRAME_SIZE); page * FRAME_SIZE < address + length; page++)
      this.written.add(page);
  }

  report(): DumpReport {
    const { stage, pagesWritten, bytesWritten, capture } = this.dump;
    let { result, reason } = this.dump;
    const crash = result === "running" ? capture?.crash : undefined;
    const died = crash?.reason;
    let endedAtNs = crash?.ns ?? this.dump.endedAtNs;
    // Before the capture kernel had begun: whoever crashes again finds kexec_lock taken, and the panic goes on to its reboot.
    const { secondCrash, restarted } = this.lab.kernel;
    if (result === "running" && !capture && secondCrash && restarted !== undefined) {
      result = "refused";
      reason = `a second crash in ${secondCrash.functionName}: ${secondCrash.reason}`;
      endedAtNs = secondCrash.ns;
    }
    return {
      ...{ stage, pagesWritten, bytesWritten, device: this.lab.dumpPartitions[0]!.device, handedTo: undefined },
      ...(endedAtNs === undefined ? {} : { endedAtNs }),
      result: died === undefined ? result : "incomplete",
      reason: died === undefined ? reason : `the capture kernel died in stage "${stage}": ${died}`,
    };
  }

  blockedOn(): Blocked | undefined {
    const { damaged } = this.dump;
    if (damaged !== undefined)
      return { on: "nothing", because: `the purgatory loops: ${damaged}`, function: "purgatory" };
    return this.storm();
  }

  /** A level that nobody quiets: the capture kernel's CPU goes from one interrupt to the next. */
  private storm(): Blocked | undefined {
    const { capture } = this.dump;
    if (!capture || capture.percpu[capture.bootCpu.id]!.hardirqDepth === 0) return undefined;
    const { ioApic } = this.lab.hardware.machine;
    const loud = this.lab.hardware.adapters.filter(({ chip, irq }) => chip.interruptLine && !ioApic.entry(irq).masked);
    if (loud.length === 0) return undefined;
    const names = loud.map(({ scenario }) => scenario.name).join(" and ");
    return {
      on: `interrupt line ${loud[0]!.irq} to fall`,
      because: `${names} asserts it, and no handler quiets it`,
      function: undefined,
    };
  }

  judge(snapshot: RamSnapshot): PageVerdict {
    return compareCore(this.core(), snapshot, (frame) => this.written.has(frame));
  }

  core(): CoreReader {
    return elfFileCore(this.lab.dumpPartitions[0]!.store());
  }

  writeCore(sink: Parameters<DumperRun["writeCore"]>[0]): void {
    writeElfCore(this.core(), sink, { style: "kdump" });
  }
}
