// QEMU's PC around one adapter: its memory, PCI configuration cycles, and where its interrupts go.
import type { BarSpec, PciIdentity } from "../../../emulator/bus/pci.ts";
import type { PhysicalMemory } from "../../../emulator/memory/memory.ts";
import { GuestMemory } from "./guest-memory.ts";
import { Qtest } from "./qtest.ts";
import { guestMemoryPath } from "./temporary.ts";

const CONFIG_ADDRESS = 0xcf8;
const CONFIG_DATA = 0xcfc;
/** The south bridge; its registers 60..63h say which ISA interrupt each PCI line becomes. */
const PIIX3 = 1 << 3;
const PIRQ_ROUTES = 0x60;
/** Where every PCI interrupt line of QEMU's PC is sent. */
export const PCI_GSI = 11;

export class QemuMachine {
  readonly qtest: Qtest;
  readonly ram: GuestMemory;

  private constructor(qtest: Qtest, ram: GuestMemory) {
    this.qtest = qtest;
    this.ram = ram;
    ram.writeWord = (address, value) => qtest.write(address, 4, value);
  }

  /** Starts QEMU's "pc" with a memory as large as `memory`, and `args` for the adapter and its disks. */
  static async start(memory: PhysicalMemory, args: readonly string[]): Promise<QemuMachine> {
    const path = guestMemoryPath();
    const ram = new GuestMemory(path, memory);
    let qtest: Qtest | undefined;
    try {
      const backend = `memory-backend-file,id=ram,size=${memory.endOfRam},mem-path=${path},share=on`;
      const machine = ["-machine", "pc,accel=tcg,memory-backend=ram", "-m", `${memory.endOfRam}B`, "-object", backend];
      qtest = await Qtest.start([...machine, ...args]);
      const made = new QemuMachine(qtest, ram);
      made.writeConfig(PIIX3, PIRQ_ROUTES, 4, PCI_GSI * 0x01010101);
      qtest.command("irq_intercept_in ioapic");
      return made;
    } catch (error) {
      await qtest?.stop();
      ram.close();
      throw error;
    }
  }

  readConfig(devfn: number, offset: number, size: number): number {
    this.selectConfig(devfn, offset);
    return this.qtest.in(CONFIG_DATA + (offset & 3), size);
  }

  writeConfig(devfn: number, offset: number, size: number, value: number): void {
    this.selectConfig(devfn, offset);
    this.qtest.out(CONFIG_DATA + (offset & 3), size, value);
  }

  private selectConfig(devfn: number, offset: number): void {
    this.qtest.out(CONFIG_ADDRESS, 4, 0x80000000 + devfn * 256 + (offset & ~3));
  }

  /** What the function says of itself, BARs sized by the PCI protocol. Throws when there is no function. */
  identify(devfn: number): PciIdentity {
    const read = (offset: number, size: number): number => this.readConfig(devfn, offset, size);
    const vendorId = read(0x00, 2);
    if (vendorId === 0xffff) throw new Error(`QEMU has no PCI function ${devfn >> 3}.${devfn & 7}`);
    const bars: BarSpec[] = [];
    for (let bar = 0; bar < 6; bar++) {
      this.writeConfig(devfn, 0x10 + 4 * bar, 4, 0xffffffff);
      const mask = read(0x10 + 4 * bar, 4);
      this.writeConfig(devfn, 0x10 + 4 * bar, 4, 0);
      if (mask === 0) continue;
      // A BAR that is missing in between is a small one that nobody maps.
      while (bars.length < bar) bars.push({ kind: "io", size: 4 });
      const kind = (mask & 1) !== 0 ? "io" : "memory";
      const size = kind === "io" ? (~(mask & 0xfffc) & 0xffff) + 1 : (~(mask & ~0xf) >>> 0) + 1;
      bars.push({ kind, size });
    }
    return {
      ...{ vendorId, deviceId: read(0x02, 2), revision: read(0x08, 1), classCode: read(0x08, 4) >>> 8 },
      ...{ subsystemVendorId: read(0x2c, 2), subsystemId: read(0x2e, 2), bars },
    };
  }

  async stop(): Promise<void> {
    await this.qtest.stop();
    this.ram.close();
  }
}
