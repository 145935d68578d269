// Exceptions: the tables that lead to their handlers, and the way a running function takes one (arch/x86_64/kernel/traps.c,
// setup64.c of 2.6.9).
import { cpu, type Running } from "../../emulator/cpu/cpu.ts";
import { poke32, pokePtr, virtualOf } from "../abi/ram.ts";
import { gate_struct, tss_struct } from "../abi/structs/sched.ts";
import { array } from "../abi/types.ts";
import {
  apic_timer_interrupt,
  call_function_interrupt,
  common_interrupt,
  error_entry,
  nmi,
  reschedule_interrupt,
} from "./entry.ts";
import { K } from "./kernel.ts";
import { kleaf, textAddressOf } from "./kfunc.ts";
import { EXCEPTION_STACK_BYTES, N_EXCEPTION_STACKS } from "./percpu.ts";
import { DEFINE_PER_CPU } from "./percpu-data.ts";
import { pushRegisters } from "./registers.ts";

const NR_VECTORS = 256;
/** Device lines use the vectors from here on. */
const FIRST_DEVICE_VECTOR = 0x31;
const KERNEL_CS = 0x10;
/** Present, interrupt gate. */
const INTERRUPT_GATE = 0x8e;

const init_tss = DEFINE_PER_CPU("init_tss", tss_struct);

const entry = (name: string): { readonly id: number } => kleaf(name, () => {});
const ignore_int = entry("ignore_int");

/** Entry and exception stack (1 is ist[0]; 0: none) of the processor's own vectors (AMD64 manual, volume 2, 8.2). */
const EXCEPTIONS: readonly (readonly [entry: { readonly id: number }, ist: number])[] = [
  [entry("divide_error"), 0],
  [entry("debug"), 4],
  [nmi, 3],
  [entry("int3"), 4],
  [entry("overflow"), 0],
  [entry("bounds"), 0],
  [entry("invalid_op"), 0],
  [entry("device_not_available"), 0],
  [entry("double_fault"), 2],
  [entry("coprocessor_segment_overrun"), 0],
  [entry("invalid_TSS"), 0],
  [entry("segment_not_present"), 0],
  [entry("stack_segment"), 1],
  [entry("general_protection"), 0],
  [entry("page_fault"), 0],
  [entry("spurious_interrupt_bug"), 0],
  [entry("coprocessor_error"), 0],
  [entry("alignment_check"), 0],
  [entry("machine_check"), 5],
  [entry("simd_coprocessor_error"), 0],
];
const INTERRUPTS: ReadonlyMap<number, { readonly id: number }> = new Map([
  [0xef, apic_timer_interrupt],
  [0xfa, call_function_interrupt],
  [0xfc, reschedule_interrupt],
]);

/** idt_table and each CPU's init_tss: x86_64's. Nothing runs through them; they are as the entries behave. */
export function trap_init(): void {
  if (K.map.model.name !== "x86_64") return;
  const idt = K.static("idt_table", array(gate_struct, NR_VECTORS));
  for (let vector = 0; vector < NR_VECTORS; vector++) {
    const exception = EXCEPTIONS[vector];
    const device = vector >= FIRST_DEVICE_VECTOR ? common_interrupt : ignore_int;
    const { id } = exception?.[0] ?? INTERRUPTS.get(vector) ?? device;
    set_gate(idt + vector * K.sizeOf(gate_struct), textAddressOf(id), exception?.[1] ?? 0);
  }
  for (const { id } of K.cpus) {
    const p = K.percpu[id]!;
    const ist = K.perCpuAreas.addressOf(init_tss, p.cpu.id) + K.offsetOf(tss_struct, "ist");
    for (let i = 0; i < N_EXCEPTION_STACKS; i++)
      pokePtr(ist + i * 8, p.exceptionStacks + (i + 1) * EXCEPTION_STACK_BYTES);
  }
}

function set_gate(at: number, text: number, ist: number): void {
  const address = virtualOf(text);
  const low = Number(address & 0xffffffffn);
  poke32(at, ((low & 0xffff) | (KERNEL_CS << 16)) >>> 0);
  poke32(at + 4, (ist | (INTERRUPT_GATE << 8) | (low & 0xffff0000)) >>> 0);
  poke32(at + 8, Number(address >> 32n));
  poke32(at + 12, 0);
}

/**
 * The running function faults: its registers go on its stack, and the handler runs below them as if error_entry had called it.
 * @param handler gets the physical address of the pt_regs
 */
export function* exception(handler: (regs: number) => Running): Generator<void, void, void> {
  const { sp, fp, functionId } = cpu;
  const regs = pushRegisters(sp);
  cpu.sp = regs;
  cpu.functionId = error_entry.id;
  yield* handler(regs);
  cpu.sp = sp;
  cpu.fp = fp;
  cpu.functionId = functionId;
}
