// Telling other CPUs to run a function (arch/x86_64/kernel/smp.c of 2.6.9, with the diskdump patch's
// dump_smp_call_function): by an interrupt, or by an NMI for those that have interrupts off.
import { cpu, type Cpu, type Running } from "../../emulator/cpu/cpu.ts";
import { call_function_interrupt } from "./entry.ts";
import { K, this_cpu } from "./kernel.ts";
import { kfunc } from "./kfunc.ts";

/** Of the highest class, so that nothing in service holds it back. */
export const CALL_FUNCTION_VECTOR = 0xfa;

/** What the other CPUs are to run: gets the physical address of the pt_regs of what it interrupted. */
export type CallFunction = (regs: number) => Running;

/** Plain code on a CPU that an NMI or INIT reached: `regs` is the physical address of the pt_regs of what it interrupted. */
export type NmiCallback = (c: Cpu, regs: number) => void;

/**
 * Sends a function to every other CPU. Waits for nobody.
 * Context: any. Locks: none; what other callers would wait for is overwritten.
 */
export function dump_smp_call_function(func: CallFunction, how: "ipi" | "nmi"): void {
  const { machine } = K;
  K.callFunction = func;
  for (const c of K.cpus) {
    if (c === cpu) continue;
    if (how === "nmi") machine.ioApic.sendLanding(c, "nmi", "freeze", cpu.clock);
    else machine.ioApic.sendIpi(c, CALL_FUNCTION_VECTOR, cpu.clock);
  }
}

/**
 * Lets every other CPU run a callback on its NMI stack and then go on with what it did (send_IPI with NMI delivery, as LKCD's
 * DUMP_VECTOR). Waits for nobody: the callback says that it was there. Context: any. Locks: none.
 */
export function smp_send_nmi_allbutself(callback: NmiCallback): void {
  const { machine } = K;
  K.nmiCallback = callback;
  for (const c of machine.cpus) if (c !== cpu) machine.ioApic.sendLanding(c, "nmi", "dump", cpu.clock);
}

export function init_smp(): void {
  K.irq.setVector(CALL_FUNCTION_VECTOR, call_function_interrupt, smp_call_function_interrupt);
}

const smp_call_function_interrupt = kfunc("smp_call_function_interrupt", function* () {
  const { interruptRegs } = this_cpu();
  cpu.apic.endOfInterrupt();
  yield* K.callFunction!(interruptRegs);
});

/** A CPU that takes an NMI or INIT because another one dumps: it never goes on with what it did. Analysts' tools know the name. */
export const crash_nmi_callback = kfunc("crash_nmi_callback", function* (func: CallFunction) {
  yield* func(this_cpu().nmiRegs);
});

/** One instruction, for ever. */
export const stop_this_cpu = kfunc("stop_this_cpu", function* () {
  K.machine.stop(cpu);
  yield;
});
