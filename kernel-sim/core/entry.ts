// The kernel's ways in (arch/x86_64/kernel/entry.S of 2.6.9): code without a frame of its own, which others return to.
//
// User mode is shown as the function system_call: whatever a process calls from there, calls through that entry, with the
// user's registers at the top of the kernel stack above it.
import { cpu } from "../../emulator/cpu/cpu.ts";
import { kleaf } from "./kfunc.ts";

const entry = (name: string): { readonly id: number } => kleaf(name, () => {});

/** Device lines. */
export const common_interrupt = entry("common_interrupt");
export const apic_timer_interrupt = entry("apic_timer_interrupt");
export const reschedule_interrupt = entry("reschedule_interrupt");
export const call_function_interrupt = entry("call_function_interrupt");
/** Interrupts through these leave a pt_regs on the interrupted stack, whose address tops the interrupt stack. */
export const INTERRUPT_ENTRIES = [
  "common_interrupt",
  "apic_timer_interrupt",
  "reschedule_interrupt",
  "call_function_interrupt",
] as const;

export const nmi = entry("nmi");
/** Exceptions: their handlers return to the label error_exit inside, right below the pt_regs. */
export const error_entry = entry("error_entry");
/** Kernel threads begin here. */
export const child_rip = entry("child_rip");
export const system_call = entry("system_call");

/** True when this CPU runs a process's own code. */
export const inUserMode = (): boolean => cpu.functionId === system_call.id;
