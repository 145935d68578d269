// QEMU's RTL8139 in the place of our chip: on any machine, and on a booted one with the other station of our driver's own specs.
import { rmSync } from "node:fs";
import type { Machine } from "../../../emulator/cpu/machine.ts";
import type { PhysicalMemory } from "../../../emulator/memory/memory.ts";
import type { EthernetSegment } from "../../../emulator/net/ethernet-segment.ts";
import { CR_BITS, RTL } from "../../../hba/rtl8139/registers.ts";
import { OWN_ADDRESS } from "../../../hba/rtl8139/spec-host.ts";
import { nicMachine, probeNic, type NicTraffic } from "../../../hba/rtl8139/driver-testing.ts";
import { ADAPTER_SLOT } from "./adapter.ts";
import { QemuFunction, type Forgets } from "./qemu-function.ts";
import { PCI_GSI, QemuMachine } from "./qemu-machine.ts";
import { QemuWire } from "./qemu-wire.ts";
import { temporaryFolder } from "./temporary.ts";

const MODEL = "rtl8139";
const IRQ = 18;
const DEVFN = ADAPTER_SLOT << 3;
/** The card works at once, as soon as QEMU has a turn. */
const EXPECT_NS = 4e6;
const forgets: Forgets = (_bar, offset, value) => offset === RTL.CR && (value & CR_BITS.RST) !== 0;

/** A QEMU with the card and its cable. */
export class QemuRtl8139 {
  readonly qemu: QemuMachine;
  readonly wire: QemuWire;
  /** For the test's own files, too; `remove` deletes it. */
  readonly folder: string;

  private constructor(folder: string, qemu: QemuMachine, wire: QemuWire) {
    this.folder = folder;
    this.qemu = qemu;
    this.wire = wire;
  }

  static async start(memory: PhysicalMemory, address: Uint8Array): Promise<QemuRtl8139> {
    const folder = temporaryFolder("qemu");
    const wire = new QemuWire(folder, address);
    try {
      return new QemuRtl8139(folder, await QemuMachine.start(memory, wire.args(MODEL, ADAPTER_SLOT)), wire);
    } catch (error) {
      wire.close();
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** The card as a device for our bus, its cable in our Ethernet. */
  connect(machine: Machine, segment: EthernetSegment): QemuFunction {
    const fn = new QemuFunction(machine, MODEL, this.qemu, { devfn: DEVFN, gsi: PCI_GSI, forgets });
    fn.expectNs = EXPECT_NS;
    this.wire.connect(fn, segment);
    return fn;
  }

  /** Ends QEMU; its capture stays until `remove`. */
  stop(): Promise<void> {
    return this.qemu.stop();
  }

  remove(): void {
    this.wire.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export interface QemuNic extends NicTraffic {
  readonly card: QemuRtl8139;
  readonly fn: QemuFunction;
  readonly irq: number;
}

/** Boots our kernel and QEMU, and probes; netpoll_setup is left to the test. */
export async function startQemuNic(): Promise<QemuNic> {
  const made = nicMachine({});
  const { machine } = made.kernel;
  const card = await QemuRtl8139.start(machine.memory, OWN_ADDRESS);
  try {
    const fn = card.connect(machine, made.segment);
    machine.pci.plug(fn, DEVFN, IRQ, (irq, asserted) => machine.ioApic.setLine(irq, asserted));
    fn.writeConfig(0x3c, 1, IRQ);
    return Object.assign(
      probeNic(made, {}, () => fn.disappointments),
      { card, fn, irq: IRQ },
    );
  } catch (error) {
    await card.stop().finally(() => card.remove());
    throw error;
  }
}
