// pt_regs: what interrupts and exceptions leave of the interrupted context on a stack in RAM (asm-*/ptrace.h).
import { cpu } from "../../emulator/cpu/cpu.ts";
import { M, peekPtr, pokePtr } from "../abi/ram.ts";
import { CONTEXT_REGISTERS, pt_regs } from "../abi/structs/registers.ts";
import { layoutOf, type DataModel } from "../abi/types.ts";
import { inUserMode } from "./entry.ts";
import { K } from "./kernel.ts";
import { instructionPointer } from "./kfunc.ts";

/** Where a process runs its own code, and its stack pointer: virtual addresses of its own. */
const USER: Readonly<Record<DataModel["name"], { readonly ip: bigint; readonly sp: bigint }>> = {
  x86_64: { ip: 0x400530n, sp: 0x7fbffff6e8n },
  i386: { ip: 0x8048530n, sp: 0xbffff6e8n },
  ia64: { ip: 0x4000000000000530n, sp: 0x60000fffffff6e0n },
  ppc64: { ip: 0x10000530n, sp: 0xffffffff6e0n },
};

/** Where pt_regs keeps a context on this platform, and the bytes that every kernel or user context begins as. */
interface ContextLayout {
  readonly size: number;
  readonly ip: number;
  readonly sp: number;
  readonly fp: number;
  readonly kernel: Uint8Array;
  readonly kernelInterruptible: Uint8Array;
  readonly user: Uint8Array;
}

const layouts = new WeakMap<DataModel, ContextLayout>();
let lastModel: DataModel | undefined;
let lastLayout: ContextLayout;

/** Worked out once per platform, because every interrupt asks: the platform asked for last is not even looked up. */
function layout(): ContextLayout {
  const { model } = K.map;
  if (model !== lastModel) {
    let known = layouts.get(model);
    if (!known) layouts.set(model, (known = layoutFor(model)));
    lastModel = model;
    lastLayout = known;
  }
  return lastLayout;
}

function layoutFor(model: DataModel): ContextLayout {
  const type = pt_regs[model.name];
  const names = CONTEXT_REGISTERS[model.name];
  const { size, fields } = layoutOf(type, model);
  const at = (field: string, index = 0): number => fields.get(field)!.offset + index * model.wordBytes;
  const context = (user: boolean, interruptible: boolean): Uint8Array => {
    const bytes = new Uint8Array(size);
    const view = new DataView(bytes.buffer);
    const word = (offset: number, value: bigint): void => {
      if (model.wordBytes === 8) view.setBigUint64(offset, value, model.littleEndian);
      else view.setUint32(offset, Number(value), model.littleEndian);
    };
    const state = user ? names.userState : names.kernelState;
    word(at(names.state), interruptible ? state | names.interruptsOn : state);
    for (const [field, [kernelSelector, userSelector]] of Object.entries(names.selectors))
      word(at(field), BigInt(user ? userSelector : kernelSelector));
    if (user) {
      word(at(names.ip), USER[model.name].ip);
      word(at(names.sp, names.spIndex), USER[model.name].sp);
    }
    return bytes;
  };
  return {
    size,
    ip: at(names.ip),
    sp: at(names.sp, names.spIndex),
    fp: at(names.fp, names.fpIndex),
    kernel: context(false, false),
    kernelInterruptible: context(false, true),
    user: context(true, true),
  };
}

/** Bytes of pt_regs on this platform. */
export const registerBytes = (): number => layout().size;

/** Writes the kernel context (ip, sp, fp: physical) as a pt_regs at `at`; returns that. Pays nothing: entry code has paid. */
function save(at: number, ip: number, sp: number, fp: number, interruptsEnabled: boolean): number {
  const known = layout();
  M.u8.set(interruptsEnabled ? known.kernelInterruptible : known.kernel, at);
  pokePtr(at + known.ip, ip);
  pokePtr(at + known.sp, sp);
  pokePtr(at + known.fp, fp);
  return at;
}

/** Writes a process's own context as a pt_regs at `at` (physical); returns that. Pays nothing. */
export function saveUserRegisters(at: number): number {
  M.u8.set(layout().user, at);
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
  const { ip, sp, fp } = layout();
  return { ip: peekPtr(regs + ip), sp: peekPtr(regs + sp), fp: peekPtr(regs + fp) };
}
