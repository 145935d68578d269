// The IDE function of QEMU's PC: a PIIX3 at the PC's own ports, with interrupts that are edges.
import type { PciIdentity } from "../../../emulator/bus/pci.ts";
import type { Machine } from "../../../emulator/cpu/machine.ts";
import { PIIX_IRQS, PIIX_PORTS } from "../../../hba/ide/registers.ts";
import type { QemuChip } from "./adapter.ts";
import { QemuFunction } from "./qemu-function.ts";
import type { QemuMachine } from "./qemu-machine.ts";

const DEVFN = (1 << 3) | 1;
const [IRQ] = PIIX_IRQS;

/** The function with its legacy ports as BARs 0 to 3, as our bus has them. */
export function plugPiix3(
  machine: Machine,
  qemu: QemuMachine,
  name: string,
): { readonly fn: QemuFunction; readonly irq: number } {
  const identify = qemu.identify.bind(qemu);
  qemu.identify = (devfn): PciIdentity => ({
    ...identify(devfn),
    bars: [...PIIX_PORTS.map(({ size }) => ({ kind: "io" as const, size })), { kind: "io", size: 16 }],
    ...{ interruptPin: 0, legacyPorts: PIIX_PORTS, legacyIrqs: PIIX_IRQS },
  });
  const fn = new QemuFunction(machine, name, qemu, piix3Ide);
  machine.ioApic.entry(IRQ).level = false;
  machine.pci.plug(fn, DEVFN, IRQ, (irq, asserted) => machine.ioApic.setLine(irq, asserted));
  for (const { bar, base } of PIIX_PORTS) fn.barBases[bar] = base;
  // The firmware's part: both channels decode their ports.
  fn.writeConfig(0x40, 4, 0x80008000);
  return { fn, irq: IRQ };
}

export const piix3Ide: QemuChip = {
  devfn: DEVFN,
  gsi: IRQ,
  forgets: () => false,
  device: [],
  disk: (id, drive) => `ide-hd,bus=ide.${id >> 1},unit=${id & 1},drive=${drive}`,
  plug: plugPiix3,
  scenario: ['adapters.0.model="piix3"'],
};
