// Making the machine quiet enough to write: interrupts on, all lines to this CPU, and the counters that say "in an interrupt"
// cleared, so that the dump's own interrupts and softirqs run although one was interrupted (__dump_silence_system).
import { cpu } from "../../../emulator/cpu/cpu.ts";
import { poke32 } from "../../../kernel-sim/abi/ram.ts";
import { K, smp_processor_id, this_cpu } from "../../../kernel-sim/core/kernel.ts";
import { in_interrupt } from "../../../kernel-sim/core/irq.ts";
import { set_ioapic_affinity_irq } from "../../../kernel-sim/core/irq-chips.ts";
import { moduleFunctions, moduleLeaves } from "../../../kernel-sim/core/kfunc.ts";
import { printk } from "../../../kernel-sim/core/printk.ts";
import { local_irq_enable } from "../../../kernel-sim/core/spinlock.ts";
import type { Lkcd } from "./lkcd.ts";
import { dump_schedule } from "./other-cpus.ts";

const kfunc = moduleFunctions("dump");
const kleaf = moduleLeaves("dump");

/** Every line to this CPU; its descriptor's lock is not taken (it may belong to a CPU that is stopped). */
const set_irq_affinity = kleaf("set_irq_affinity", (lkcd: Lkcd): void => {
  const { entries } = K.machine.ioApic;
  for (let irq = 0; irq < entries.length; irq++) {
    poke32(lkcd.data.saved_affinity + irq * 4, 1 << entries[irq]!.destination);
    set_ioapic_affinity_irq(irq, cpu.id);
  }
  // The timer's line is one of them on a PC: this CPU counts the jiffies from now on. Elsewhere a certain CPU does, stopped or not.
  const { name } = K.map.model;
  if (name === "x86_64" || name === "i386") K.timekeeper = cpu.id;
});

/** The "kludge": whatever this CPU was in, it says now that it is in no interrupt. */
const irq_bh_save = kleaf("irq_bh_save", (lkcd: Lkcd): void => {
  const p = this_cpu();
  lkcd.data.saved_irq_count = p.hardirqDepth;
  lkcd.data.saved_bh_count = p.softirqDepth;
  p.hardirqDepth = 0;
  p.softirqDepth = 0;
});

/** Context: any; interrupts are on when it returns, for a device that needs them. */
export const dump_silence_system = kfunc("__dump_silence_system", function* (lkcd: Lkcd) {
  const { data } = lkcd;
  if (in_interrupt()) {
    yield* printk("Dumping from interrupt handler ! Uncertain scenario - but will try my best\n", 1);
  }
  data.dump_okay = 0;
  data.dumping_cpu = smp_processor_id();
  K.scheduleWhileDumping = () => dump_schedule(lkcd);
  if (!lkcd.device.needsInterrupts) return;
  yield* local_irq_enable();
  set_irq_affinity(lkcd);
  irq_bh_save(lkcd);
  // ia64: cr.tpr = 0, "to get disk interrupts".
  if (K.map.model.name === "ia64") cpu.apic.taskPriority = 0;
});
