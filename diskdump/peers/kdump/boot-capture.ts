// The capture kernel: a second kernel on the same machine, on the CPU that crashed, in the reserved memory alone. No chip was reset.
import { LOST, cpu, type Cpu } from "../../../emulator/cpu/cpu.ts";
import { bootKernel } from "../../../kernel-sim/core/boot.ts";
import { K } from "../../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../../kernel-sim/core/kfunc.ts";
import { machine_restart } from "../../../kernel-sim/core/panic.ts";
import { printk } from "../../../kernel-sim/core/printk.ts";
import { init_scsi } from "../../../kernel-sim/scsi/dispatch.ts";
import { BACKUP_BYTES, commandLineIn, type CrashImage } from "./crash-image.ts";
import type { CrashDump } from "./crash-dump.ts";
import { save_vmcore } from "./save-vmcore.ts";

// A module, like the other dumpers: a kernel without it has its functions where it always had them.
const kfunc = moduleFunctions("kexec");

/** Boots it: what the CPU runs from its next turn on is the capture kernel's. The caller leaves its own context. */
export function bootCapture(dump: CrashDump, image: CrashImage): void {
  const old = dump.kernel;
  const { machine, map, hz } = old;
  const boot: Cpu = cpu;
  const { start } = image.region;
  const low = { start: 0, end: BACKUP_BYTES, type: "ram" as const };
  const own = { start, end: image.memoryEnd, type: "ram" as const };
  // setup_local_APIC(): what the dead kernel never acknowledged is, until nothing is in service.
  boot.apic.enable();
  while (boot.apic.inService.length > 0) boot.apic.endOfInterrupt();
  boot.interruptsEnabled = true;
  const kernel = bootKernel({
    ...{ machine, map, hz, bootCpu: boot.id, uniprocessor: true },
    bootArguments: { panicTimeoutSeconds: old.boot.panicTimeoutSeconds, panicOnOops: true, nmiWatchdog: false },
    bootSeconds: old.time.bootSeconds + Math.floor(boot.clock / 1e9),
    commandLine: commandLineIn(machine.memory, image),
    region: {
      start,
      lowEnd: Math.min(image.memoryEnd, machine.memory.flatBytes),
      e820: dump.kind.backup ? [low, own] : [own],
      reserved: [],
    },
    init: () => {
      K.modules.load("kexec");
      return capture_init(dump, image);
    },
    onBootmemShortage: () => {
      dump.end("incomplete", `the capture kernel ran out of memory in stage "${dump.stage}": crashkernel is too small`);
      machine.stopReason = "Kernel panic - not syncing: Out of memory";
      throw LOST;
    },
  });
  dump.capture = kernel;
  // One serial line for both.
  kernel.console.onLine = (line) => {
    old.console.lines.push(line);
    old.console.onLine?.(line);
  };
}

const capture_init = kfunc("capture_init", function* (dump: CrashDump, image: CrashImage) {
  dump.enter("probe");
  init_scsi();
  yield* dump.probe();
  dump.enter("vmcore");
  const error = yield* save_vmcore(dump, image);
  if (error === "") dump.end("complete");
  else dump.end("incomplete", error);
  yield* printk(error === "" ? `${dump.kind.name}: saved vmcore\n` : `${dump.kind.name}: ${error}\n`, 4);
  dump.enter(dump.result);
  yield* machine_restart(`${dump.kind.name} in ${K.release}`);
});
