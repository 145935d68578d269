// Stopping the other CPUs: each is told to run freeze_cpu(), notes where it was, and never goes on.
import { cpu } from "../../emulator/cpu/cpu.ts";
import { pokePtr } from "../../kernel-sim/abi/ram.ts";
import { K, current } from "../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { dump_smp_call_function } from "../../kernel-sim/core/smp.ts";
import type { DiskDump } from "./disk-dump.ts";
import { diskdump_mdelay } from "./dump-library.ts";

const kfunc = moduleFunctions("diskdump");

/** How long the dumping CPU waits for the others, whether they answer or not. */
export const FREEZE_WAIT_MS = 3000;
/** The wait on a machine with one CPU. */
const SINGLE_CPU_WAIT_MS = 1000;

/** Never returns. Locks that the interrupted code holds stay held. */
const freeze_cpu = kfunc("freeze_cpu", function* (dd: DiskDump, regs: number) {
  const { id } = cpu;
  const task = current();
  const word = K.map.model.wordBytes;
  pokePtr(dd.headerTasks + id * word, task.addr);
  pokePtr(dd.bss.frozen_regs + id * word, regs);
  task.s.thread.rsp = cpu.sp;
  dd.outcome.frozenCpus.push(id);
  K.machine.stop(cpu);
  for (;;) yield;
});

export const freeze_other_cpus = kfunc("freeze_other_cpus", function* (dd: DiskDump) {
  const { outcome } = dd;
  const word = K.map.model.wordBytes;
  if (K.machine.cpus.length > 1) {
    dump_smp_call_function((regs) => freeze_cpu(dd, regs), dd.options.freeze);
    yield* diskdump_mdelay(FREEZE_WAIT_MS);
    outcome.frozenCpus.sort((a, b) => a - b);
    outcome.unfrozenCpus = K.machine.cpus
      .map((c) => c.id)
      .filter((id) => id !== cpu.id && !outcome.frozenCpus.includes(id));
    yield* printk("CPU frozen: ", 4);
    yield* printk(outcome.frozenCpus.map((id) => `#${id}`).join(""), 4);
    yield* printk("\n", 4);
    yield* printk(`CPU#${cpu.id} is executing diskdump.\n`, 4);
  } else yield* diskdump_mdelay(SINGLE_CPU_WAIT_MS);
  pokePtr(dd.headerTasks + cpu.id * word, current().addr);
});
