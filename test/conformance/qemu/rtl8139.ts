// QEMU's RTL8139 in the place of our chip: a booted machine with our driver on it, and the other station of the driver's own specs.
import { rmSync } from "node:fs";
import { RTL } from "../../../hba/rtl8139/registers.ts";
import { OWN_ADDRESS } from "../../../hba/rtl8139/spec-host.ts";
import { nicMachine, probeNic, type NicTraffic } from "../../../hba/rtl8139/driver-testing.ts";
import type { EthernetSegment } from "../../../emulator/net/ethernet-segment.ts";
import type { Machine } from "../../../emulator/cpu/machine.ts";
import { ADAPTER_SLOT } from "./adapter.ts";
import { QemuFunction } from "./qemu-function.ts";
import { PCI_GSI, QemuMachine } from "./qemu-machine.ts";
import { QemuWire } from "./qemu-wire.ts";
import { temporaryFolder } from "./temporary.ts";

const MODEL = "rtl8139";
const IRQ = 18;
const DEVFN = ADAPTER_SLOT << 3;

/** A card of QEMU's on our machine's bus and on our Ethernet. */
export interface QemuCard {
  readonly qemu: QemuMachine;
  readonly fn: QemuFunction;
  readonly wire: QemuWire;
  readonly irq: number;
  /** Ends QEMU; its capture stays until `remove`. */
  stop(): Promise<void>;
  remove(): void;
}

/** Starts QEMU with the card, and plugs it in. */
export async function plugRtl8139(machine: Machine, segment: EthernetSegment, address: Uint8Array): Promise<QemuCard> {
  const folder = temporaryFolder("qemu");
  const wire = new QemuWire(folder, address);
  const remove = (): void => {
    wire.close();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const qemu = await QemuMachine.start(machine.memory, wire.args(MODEL, ADAPTER_SLOT));
    const forgets = (_bar: number, offset: number, value: number): boolean => offset === RTL.CR && (value & 0x10) !== 0;
    const fn = new QemuFunction(machine, MODEL, qemu, { devfn: DEVFN, gsi: PCI_GSI, forgets });
    machine.pci.plug(fn, DEVFN, IRQ, (irq, asserted) => machine.ioApic.setLine(irq, asserted));
    fn.writeConfig(0x3c, 1, IRQ);
    wire.connect(fn, segment);
    return { qemu, fn, wire, irq: IRQ, stop: () => qemu.stop(), remove };
  } catch (error) {
    remove();
    throw error;
  }
}

export interface QemuNic extends NicTraffic, QemuCard {}

/** Boots our kernel and QEMU, and probes; netpoll_setup is left to the test. */
export async function startQemuNic(): Promise<QemuNic> {
  const made = nicMachine({});
  const card = await plugRtl8139(made.kernel.machine, made.segment, OWN_ADDRESS);
  try {
    return Object.assign(
      probeNic(made, {}, () => card.fn.disappointments),
      card,
    );
  } catch (error) {
    await card.stop().finally(() => card.remove());
    throw error;
  }
}
