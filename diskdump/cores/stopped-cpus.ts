// The registers of CPUs that a dump stopped: no format of diskdump's has a place for them, but each lies as pt_regs in the
// memory that was saved, where the interrupt or NMI left it that stopped the CPU (x86_64).
import { pt_regs } from "../../kernel-sim/abi/structs/registers.ts";
import { layoutOf } from "../../kernel-sim/abi/types.ts";
import { StructBytes } from "../format/struct-bytes.ts";
import { registerView } from "./core.ts";
import type { KernelMemory } from "./kernel-memory.ts";

/** An interrupt stack ends 64 bytes below irqstackptr's page; the word below irqstackptr points at the registers. */
const IRQ_STACK_BYTES = 16384 - 64;
const EXCEPTION_STACK_BYTES = 4096;
const EXCEPTION_STACKS = 7;

/**
 * What ran on a CPU when it was stopped: from the stack on which its task was left (thread.rsp), which is the CPU's interrupt
 * stack or one of its exception stacks then.
 * @param pda address of the CPU's x8664_pda
 * @returns elf_gregset_t; undefined when the task was left elsewhere: nobody stopped this CPU
 */
export function stoppedRegisters(memory: KernelMemory, pda: bigint, task: bigint): Uint8Array | undefined {
  const { image } = memory;
  if (image.model.name !== "x86_64") return undefined;
  const field = (struct: string, name: string): bigint | undefined => {
    const at = image.struct(struct)?.offsets.get(name);
    return at === undefined ? undefined : BigInt(at);
  };
  const [threadAt, rspAt] = [field("task_struct", "thread"), field("thread_struct", "rsp")];
  const [irqStackAt, offsetAt] = [field("x8664_pda", "irqstackptr"), field("x8664_pda", "data_offset")];
  if (threadAt === undefined || rspAt === undefined || irqStackAt === undefined || offsetAt === undefined)
    return undefined;
  const rsp = memory.word(task + threadAt + rspAt, "thread.rsp");
  const irqStack = memory.word(pda + irqStackAt, "x8664_pda.irqstackptr");
  let at: bigint | undefined;
  if (rsp < irqStack && rsp >= irqStack - BigInt(IRQ_STACK_BYTES))
    at = memory.word(irqStack - 8n, "the interrupt stack");
  else {
    const tss = image.symbol("per_cpu__init_tss");
    const istAt = field("tss_struct", "ist");
    if (tss === undefined || istAt === undefined) return undefined;
    const own = BigInt.asUintN(64, tss + memory.word(pda + offsetAt, "x8664_pda.data_offset"));
    for (let i = 0; i < EXCEPTION_STACKS && at === undefined; i++) {
      const top = memory.word(own + istAt + BigInt(i * 8), "tss_struct.ist");
      const inside = top !== 0n && rsp < top && rsp >= top - BigInt(EXCEPTION_STACK_BYTES);
      if (inside) at = top - BigInt(layoutOf(pt_regs.x86_64, image.model).size);
    }
  }
  const bytes = at === undefined ? undefined : memory.tryBytes(at, layoutOf(pt_regs.x86_64, image.model).size);
  if (!bytes) return undefined;
  const saved = new StructBytes(pt_regs.x86_64, image.model, bytes);
  const registers = registerView(image.model);
  for (const name of Object.keys(pt_regs.x86_64.fields)) registers.setBig(name, saved.getBig(name));
  return registers.bytes;
}
