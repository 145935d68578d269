// The other CPUs: each is asked for its registers and stack, and answers from an NMI that returns; then it runs on until it would
// schedule, and stands there while the dump lasts (save_other_cpu_states, and LKCD's lines in schedule()).
import { cpu, halt, type Cpu } from "../../../emulator/cpu/cpu.ts";
import { M, peek32, poke32, pokePtr, virtualOf } from "../../../kernel-sim/abi/ram.ts";
import { K, per_cpu } from "../../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../../kernel-sim/core/kfunc.ts";
import { printk } from "../../../kernel-sim/core/printk.ts";
import { registerBytes, savedRegisters } from "../../../kernel-sim/core/registers.ts";
import { smp_send_nmi_allbutself } from "../../../kernel-sim/core/smp.ts";
import { THREAD_BYTES } from "../../../kernel-sim/core/task.ts";
import { lkcd_data } from "./structs.ts";
import type { Lkcd } from "./lkcd.ts";
import { relax, waitBegins } from "./relax.ts";

const kfunc = moduleFunctions("dump");

/** Registers at `regs`, the task, and a copy of its stack go where the header finds them. Plain code, in an NMI. */
function save_this_cpu(lkcd: Lkcd, id: number, regs: number): void {
  const task = K.percpu[id]!.current;
  const regsAt = lkcd.regsAt + id * registerBytes();
  const stackAt = lkcd.stacksAt + id * THREAD_BYTES;
  const { u8 } = M;
  u8.copyWithin(regsAt, regs, regs + registerBytes());
  u8.copyWithin(stackAt, task.stack, task.stack + THREAD_BYTES);
  pokePtr(lkcd.slot("dump_saved_task", id), task.addr);
  pokePtr(lkcd.slot("dump_saved_regs", id), regsAt);
  pokePtr(lkcd.slot("dump_saved_stack", id), stackAt);
}

/** A word of LKCD's variables, for code in an NMI: no micro-step of its own. */
const wordOf = (lkcd: Lkcd, field: "waiting_for_dump_ipi" | "dump_init_slaves"): number =>
  lkcd.data.addr + K.offsetOf(lkcd_data, field);

/** dump_ipi_handler: this CPU has taken the dump's NMI. It goes on with what it did, and will want to schedule soon. */
function dump_ipi(lkcd: Lkcd, c: Cpu, regs: number): void {
  save_this_cpu(lkcd, c.id, regs);
  const at = wordOf(lkcd, "waiting_for_dump_ipi");
  poke32(at, peek32(at) - 1);
  per_cpu(c).needResched = true;
}

/**
 * What the testers must have added to INIT's slave loop, or no dump with an INIT for all would have begun: the slave says that it is
 * there before it waits for ever. (docs/lkcd.md; `dump.lkcd.initSlaves`.)
 */
export function answer_from_init(lkcd: Lkcd, c: Cpu, regs: number): void {
  save_this_cpu(lkcd, c.id, regs);
  const at = wordOf(lkcd, "dump_init_slaves");
  poke32(at, peek32(at) | (1 << c.id));
}

const answeredFromInit = (lkcd: Lkcd): number => {
  let count = 0;
  for (let bits = peek32(wordOf(lkcd, "dump_init_slaves")); bits !== 0; bits &= bits - 1) count++;
  return count;
};

/** Asks the others and waits until all have answered: for ever, or as long as the later releases do. Context: any. */
export const save_other_cpu_states = kfunc("save_other_cpu_states", function* (lkcd: Lkcd, regs: number) {
  const { data, options, outcome } = lkcd;
  save_this_cpu(lkcd, cpu.id, regs);
  const others = K.machine.cpus.length - 1 - answeredFromInit(lkcd);
  if (others <= 0) return;
  outcome.stage = "wait for other CPUs";
  data.waiting_for_dump_ipi = others;
  smp_send_nmi_allbutself((c, at) => dump_ipi(lkcd, c, at));
  const end = cpu.clock + options.ipiWaitMs * 1e6;
  waitBegins(lkcd);
  while (data.waiting_for_dump_ipi > 0) {
    if (cpu.clock >= end) {
      yield* printk("dump ipi timeout, proceeding\n", 4);
      return;
    }
    yield* relax(lkcd);
  }
});

/** LKCD's lines at the beginning of schedule(). Returns: true on the dumping CPU, where schedule() is nothing. Others stand. */
export const dump_schedule = kfunc("dump_schedule", function* (lkcd: Lkcd) {
  const { data } = lkcd;
  if (data.dump_in_progress === 0) return false;
  if (cpu.id === data.dumping_cpu) {
    yield* relax(lkcd);
    return true;
  }
  // They spin with interrupts as they are: timers and softirqs go on here. Waiting for the next one is the same.
  while (data.dump_in_progress !== 0) {
    yield* halt();
    if (lkcd.device.standing) yield* lkcd.device.standing();
  }
  return false;
});

/** Fills the machine's part of the header from what was saved. */
export function fillMachineHeader(lkcd: Lkcd): void {
  const out = lkcd.machine();
  const { u8 } = M;
  const bytes = registerBytes();
  const smpRegs = out.offsetOf("dha_smp_regs");
  for (const c of K.machine.cpus) {
    const task = K.percpu[c.id]!.current;
    const saved = lkcd.regsAt + c.id * bytes;
    out.bytes.set(u8.subarray(saved, saved + bytes), smpRegs + c.id * bytes);
    out.setBig("dha_smp_current_task", virtualOf(task.addr), c.id);
    out.setBig("dha_stack", virtualOf(task.stack), c.id);
    out.setBig("dha_stack_ptr", virtualOf(lkcd.stacksAt + c.id * THREAD_BYTES), c.id);
  }
  const own = lkcd.regsAt + cpu.id * bytes;
  out.bytes.set(u8.subarray(own, own + bytes), out.offsetOf("dha_regs"));
  if (K.map.model.name === "ia64") out.setBig("dha_pt_regs", virtualOf(own));
  if (K.map.model.name === "i386") {
    const { ip, sp } = savedRegisters(own);
    out.setBig("dha_esp", virtualOf(sp));
    out.setBig("dha_eip", virtualOf(ip));
  }
}
