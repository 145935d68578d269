// pt_regs: what interrupts and exceptions leave of the interrupted context on a stack in RAM (asm-x86_64/ptrace.h).
import { cpu } from "../../emulator/cpu/cpu.ts";
import { M, peekPtr, poke32, poke64, pokePtr } from "../abi/ram.ts";
import { pt_regs } from "../abi/structs/sched.ts";
import type { DataModel } from "../abi/types.ts";
import { K } from "./kernel.ts";
import { instructionPointer } from "./kfunc.ts";

interface RegisterLayout {
  readonly size: number;
  readonly rip: number;
  readonly cs: number;
  readonly eflags: number;
  readonly rsp: number;
  readonly rbp: number;
  readonly ss: number;
}

const KERNEL_CS = 0x10;
const KERNEL_DS = 0x18;
/** Zero and parity as they happen to be; bit 9 is the interrupt flag. */
const EFLAGS = 0x046;
const INTERRUPTS_ON = 0x200;

/** A kernel function takes this much of the stack, on every platform (kfunc.ts). */
const FRAME_BYTES = 16;

const layouts = new WeakMap<DataModel, RegisterLayout>();

/** Where pt_regs keeps what the simulation knows; worked out once per platform, because every interrupt asks. */
function layout(): RegisterLayout {
  const { model } = K.map;
  let known = layouts.get(model);
  if (!known) {
    const at = (field: string): number => K.offsetOf(pt_regs, field);
    known = {
      size: K.sizeOf(pt_regs),
      rip: at("rip"),
      cs: at("cs"),
      eflags: at("eflags"),
      rsp: at("rsp"),
      rbp: at("rbp"),
      ss: at("ss"),
    };
    layouts.set(model, known);
  }
  return known;
}

/** Leaves a pt_regs below `below` (physical); returns its address. Pays nothing: entry code has paid. */
function save(below: number, ip: number, sp: number, fp: number, interruptsEnabled: boolean): number {
  const { size, rip, cs, eflags, rsp, rbp, ss } = layout();
  const at = (below - size - 128) & ~15;
  const word = M.word8 ? poke64 : poke32;
  M.u8.fill(0, at, at + size);
  pokePtr(at + rip, ip);
  word(at + cs, KERNEL_CS);
  word(at + eflags, interruptsEnabled ? EFLAGS | INTERRUPTS_ON : EFLAGS);
  pokePtr(at + rsp, sp);
  pokePtr(at + rbp, fp);
  word(at + ss, KERNEL_DS);
  return at;
}

/** Leaves a pt_regs below `sp` that says where the CPU is now; returns its address. */
export const pushRegisters = (sp: number): number =>
  save(sp, instructionPointer(cpu.functionId), sp, cpu.fp, cpu.interruptsEnabled);

/** As pushRegisters, for an interrupt: it came although interrupts are off now, so they were on. */
export const pushInterruptedRegisters = (sp: number): number =>
  save(sp, instructionPointer(cpu.functionId), sp, cpu.fp, true);

/** As pushRegisters, for an NMI or INIT: below `below`, on its own stack. */
export const pushLandingRegisters = (below: number): number =>
  save(below, instructionPointer(cpu.functionId), cpu.sp, cpu.fp, cpu.interruptsEnabled);

/** As pushRegisters, for a fault in the caller of the running kernel function: the entry code does not show. */
export function pushFaultRegisters(): number {
  const { fp } = cpu;
  const word = M.word8 ? 8 : 4;
  return save(cpu.sp, peekPtr(fp + word), fp + FRAME_BYTES, peekPtr(fp), cpu.interruptsEnabled);
}

/** The registers at `regs` that an unwinder starts from; physical addresses. */
export function savedRegisters(regs: number): { readonly ip: number; readonly sp: number; readonly fp: number } {
  const { rip, rsp, rbp } = layout();
  return { ip: peekPtr(regs + rip), sp: peekPtr(regs + rsp), fp: peekPtr(regs + rbp) };
}
