// Interrupt controllers as do_IRQ and its neighbours see them (arch/x86_64/kernel/io_apic.c, kernel/irq of 2.6.9): a table of
// functions per kind of line, named by irq_desc.handler.
import { cpu } from "../../emulator/cpu/cpu.ts";
import { hw_interrupt_type } from "../abi/structs/sched.ts";
import { kernelString } from "./irq.ts";
import { K, type Kernel } from "./kernel.ts";
import { kleaf, textAddressOf } from "./kfunc.ts";

/** Masks a line at the I/O APIC. Locks held: the descriptor's. */
export const mask_IO_APIC_irq = kleaf("mask_IO_APIC_irq", (irq: number): void =>
  K.machine.ioApic.setMasked(irq, true, cpu.clock),
);
export const unmask_IO_APIC_irq = kleaf("unmask_IO_APIC_irq", (irq: number): void =>
  K.machine.ioApic.setMasked(irq, false, cpu.clock),
);
/** Opens a line. Returns: 0, nothing was pending. */
const startup_level_ioapic_irq = kleaf("startup_level_ioapic_irq", (irq: number): number => {
  K.machine.ioApic.setMasked(irq, false, cpu.clock);
  return 0;
});
/** A level-triggered line is acknowledged at the end of its handlers. */
const mask_and_ack_level_ioapic_irq = kleaf("mask_and_ack_level_ioapic_irq", (_irq: number): void => {});
/** The EOI that lets the line ask again. */
const end_level_ioapic_irq = kleaf("end_level_ioapic_irq", (_irq: number): void => cpu.apic.endOfInterrupt());
/** Opens an edge-triggered line. Returns: 0, nothing was pending. */
const startup_edge_ioapic_irq = kleaf("startup_edge_ioapic_irq", (irq: number): number => {
  K.machine.ioApic.setMasked(irq, false, cpu.clock);
  return 0;
});
/** An edge is acknowledged before its handlers: the next one is another interrupt. */
const ack_edge_ioapic_irq = kleaf("ack_edge_ioapic_irq", (_irq: number): void => cpu.apic.endOfInterrupt());
const end_edge_ioapic_irq = kleaf("end_edge_ioapic_irq", (_irq: number): void => {});
/**
 * Steers a line to one CPU (the lowest of a mask of one). An interrupt that another CPU has accepted, and not ended, stays with
 * that CPU: a level-triggered line is not heard again before its EOI. Locks held: the descriptor's, where others could steer.
 */
export const set_ioapic_affinity_irq = kleaf("set_ioapic_affinity_irq", (irq: number, cpuId: number): void => {
  K.machine.ioApic.setDestination(irq, cpuId);
});

const no_action = kleaf("ack_none", (_irq: number): void => {});
const startup_none = kleaf("startup_none", (_irq: number): number => 0);

type Functions = Readonly<
  Record<Exclude<keyof typeof hw_interrupt_type.fields, "typename">, { id: number } | undefined>
>;

const KINDS: Readonly<Record<string, readonly [typename: string, functions: Functions]>> = {
  no_irq_type: [
    "none",
    {
      startup: startup_none,
      shutdown: no_action,
      enable: no_action,
      disable: no_action,
      ack: no_action,
      end: no_action,
      set_affinity: undefined,
    },
  ],
  ioapic_level_type: [
    "IO-APIC-level",
    {
      startup: startup_level_ioapic_irq,
      shutdown: mask_IO_APIC_irq,
      enable: unmask_IO_APIC_irq,
      disable: mask_IO_APIC_irq,
      ack: mask_and_ack_level_ioapic_irq,
      end: end_level_ioapic_irq,
      set_affinity: set_ioapic_affinity_irq,
    },
  ],
  ioapic_edge_type: [
    "IO-APIC-edge",
    {
      startup: startup_edge_ioapic_irq,
      shutdown: mask_IO_APIC_irq,
      enable: unmask_IO_APIC_irq,
      disable: mask_IO_APIC_irq,
      ack: ack_edge_ioapic_irq,
      end: end_edge_ioapic_irq,
      set_affinity: set_ioapic_affinity_irq,
    },
  ],
};

/** Makes the tables. Called by the interrupt controller's setup. */
export function init_irq_types(k: Kernel): void {
  for (const [symbol, [typename, functions]] of Object.entries(KINDS)) {
    const type = k.view(hw_interrupt_type, k.static(symbol, hw_interrupt_type));
    type.typename = kernelString(typename);
    for (const [name, f] of Object.entries(functions)) {
      if (f) type[name as keyof Functions] = textAddressOf(f.id);
    }
  }
}
