// crash_kexec() and machine_crash_shutdown() (kernel/kexec.c, arch/i386/kernel/crash.c of 2.6.13 and later).
import { LOST, cpu, halt, step } from "../../../emulator/cpu/cpu.ts";
import { M, peek32, poke32 } from "../../../kernel-sim/abi/ram.ts";
import { pt_regs } from "../../../kernel-sim/abi/structs/registers.ts";
import { StructBytes } from "../../format/struct-bytes.ts";
import { registerView } from "../../cores/core.ts";
import { cpuNotes } from "../../userspace/core-notes.ts";
import { K, current } from "../../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../../kernel-sim/core/kfunc.ts";
import { dump_smp_call_function } from "../../../kernel-sim/core/smp.ts";
import { local_irq_disable } from "../../../kernel-sim/core/spinlock.ts";
import { delayNs } from "../../../kernel-sim/core/timer.ts";
import { bootCapture } from "./boot-capture.ts";
import type { CrashDump } from "./crash-dump.ts";
import { purgatory } from "./purgatory.ts";

// A module, like the other dumpers: a kernel without it has its functions where it always had them.
const kfunc = moduleFunctions("kexec");

/** "Wait at most a second for the other cpus". */
const STOP_WAIT_MS = 1000;

/** An NT_PRSTATUS with the registers at `regs`, into this CPU's crash_notes. */
function crash_save_this_cpu(dump: CrashDump, regs: number): void {
  const { model } = K.map;
  const from = new StructBytes(pt_regs.x86_64, model, M.u8.slice(regs, regs + K.sizeOf(pt_regs.x86_64)));
  const registers = registerView(model);
  for (const name of Object.keys(pt_regs.x86_64.fields)) registers.setBig(name, from.getBig(name));
  const { pid } = current();
  const note = cpuNotes({ model, cpus: [{ task: 0n, pid, registers: registers.bytes }] } as never);
  step(note.length);
  M.u8.set(note, dump.notes[cpu.id]!);
}

/** A CPU that the NMI reached. Never returns. */
const crash_nmi = kfunc("crash_nmi_stop", function* (dump: CrashDump, regs: number) {
  local_irq_disable();
  current().s.thread.rsp = cpu.sp;
  crash_save_this_cpu(dump, regs);
  cpu.apic.disable();
  dump.stopped.add(cpu.id);
  for (;;) yield* halt();
});

/** Stops the others, shuts the interrupt controllers down, saves this CPU. Devices are left as they are. */
export const machine_crash_shutdown = kfunc("machine_crash_shutdown", function* (dump: CrashDump, regs: number) {
  local_irq_disable();
  const others = K.cpus.filter((c) => c !== cpu);
  dump_smp_call_function((theirs) => crash_nmi(dump, theirs), "nmi");
  for (let left = STOP_WAIT_MS; left > 0 && dump.stopped.size < others.length; left--) yield* delayNs(1e6);
  dump.leftBehind = others.filter((c) => !dump.stopped.has(c.id)).map((c) => c.id);
  // lapic_shutdown, disable_IO_APIC
  cpu.apic.disable();
  const { ioApic } = K.machine;
  for (let irq = 0; irq < ioApic.entries.length; irq++) ioApic.clear(irq);
  crash_save_this_cpu(dump, regs);
});

/**
 * Goes to the crash kernel. Returns 0 when somebody else has begun, or when none is loaded; otherwise never.
 * Context: any; interrupts go off for good. Locks: kexec_lock by exchange, never waited for.
 */
export const crash_kexec = kfunc("crash_kexec", function* (dump: CrashDump, regs: number) {
  // The hook stays: whoever crashes again finds the lock taken.
  K.crashdump.kexec = (again) => crash_kexec(dump, again);
  step(20);
  if (peek32(dump.lockAt) !== 0) return 0;
  poke32(dump.lockAt, 1);
  if (!dump.image) {
    dump.end("refused", "no crash kernel is loaded: the reserved memory is too small for its image");
    poke32(dump.lockAt, 0);
    return 0;
  }
  dump.result = "running";
  dump.enter("shutdown");
  yield* machine_crash_shutdown(dump, regs);
  dump.onFreeze();
  dump.enter("purgatory");
  yield* purgatory(dump, dump.image);
  dump.enter("boot");
  // machine_kexec(): no instruction of this kernel follows.
  bootCapture(dump, dump.image);
  throw LOST;
});
