// pt_regs: what interrupts and exceptions leave of the interrupted context on a stack in RAM (asm-x86_64/ptrace.h).
import { cpu } from "../../emulator/cpu/cpu.ts";
import { M, peekPtr, poke32, poke64, pokePtr } from "../abi/ram.ts";
import { pt_regs } from "../abi/structs/sched.ts";
import type { DataModel } from "../abi/types.ts";
import { inUserMode } from "./entry.ts";
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
const USER_CS = 0x33;
const USER_DS = 0x2b;
/** Zero and parity as they happen to be; bit 9 is the interrupt flag. */
const EFLAGS = 0x046;
const INTERRUPTS_ON = 0x200;
/** Where a process runs its own code, and its stack pointer: virtual addresses of its own. */
const USER_IP: Readonly<Record<DataModel["name"], number>> = {
  x86_64: 0x400530,
  i386: 0x8048530,
  ia64: 0x4000000000530,
  ppc64: 0x10000530,
};
const USER_SP: Readonly<Record<DataModel["name"], number>> = {
  x86_64: 0x7fbffff6e8,
  i386: 0xbffff6e8,
  ia64: 0xfffffffff6e0,
  ppc64: 0xffffffff6e0,
};

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

/** Bytes of pt_regs on this platform. */
export const registerBytes = (): number => layout().size;

/** Writes the kernel context (ip, sp, fp: physical) as a pt_regs at `at`; returns that. Pays nothing: entry code has paid. */
function save(at: number, ip: number, sp: number, fp: number, interruptsEnabled: boolean): number {
  const { size, rip, cs, eflags, rsp, rbp, ss } = layout();
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

/** Writes a process's own context as a pt_regs at `at` (physical); returns that. Pays nothing. */
export function saveUserRegisters(at: number): number {
  const { size, rip, cs, eflags, rsp, ss } = layout();
  const { model } = K.map;
  const word = M.word8 ? poke64 : poke32;
  M.u8.fill(0, at, at + size);
  word(at + rip, USER_IP[model.name]);
  word(at + cs, USER_CS);
  word(at + eflags, EFLAGS | INTERRUPTS_ON);
  word(at + rsp, USER_SP[model.name]);
  word(at + ss, USER_DS);
  return at;
}

/** Leaves a pt_regs right below `sp` (the kernel has no red zone) that says where the CPU is now; returns its address. */
export const pushRegisters = (sp: number): number =>
  save(sp - layout().size, instructionPointer(cpu.functionId), sp, cpu.fp, cpu.interruptsEnabled);

/**
 * For an interrupt: as pushRegisters(cpu.sp), but it came although interrupts are off now, so they were on. A process's
 * registers have their place at the top of its kernel stack, and the stack pointer stands there while it runs.
 */
export const pushInterruptedRegisters = (): number =>
  inUserMode()
    ? saveUserRegisters(cpu.sp)
    : save(cpu.sp - layout().size, instructionPointer(cpu.functionId), cpu.sp, cpu.fp, true);

/** For an NMI or INIT: the registers at the very top of a stack of its own, which ends at `top`. */
export const pushLandingRegisters = (top: number): number =>
  inUserMode()
    ? saveUserRegisters(top - layout().size)
    : save(top - layout().size, instructionPointer(cpu.functionId), cpu.sp, cpu.fp, cpu.interruptsEnabled);

/** The registers at `regs` that an unwinder starts from; physical addresses. */
export function savedRegisters(regs: number): { readonly ip: number; readonly sp: number; readonly fp: number } {
  const { rip, rsp, rbp } = layout();
  return { ip: peekPtr(regs + rip), sp: peekPtr(regs + rsp), fp: peekPtr(regs + rbp) };
}
