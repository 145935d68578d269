// Goal: our devices sit on the guest's bus as on a real one. Method: the CPU core's import table with a guest behind it that notes what
// still reaches it, and a device that notes what comes.
import { describe, expect, test } from "vitest";
import { PciDevice, type PciIdentity } from "../../../emulator/bus/pci.ts";
import type { PhysicalMemory } from "../../../emulator/memory/memory.ts";
import { makeEvent } from "../../../emulator/time/events.ts";
import { GuestBus, GuestHost } from "./guest-bus.ts";
import { RegisterLog } from "./register-log.ts";
import type { CoreImports, V86Cpu } from "./v86.ts";
import { VirtualClock } from "./virtual-clock.ts";

const CONFIG_ADDRESS = 0xcf8;
const CONFIG_DATA = 0xcfc;
const COMMAND = 0x04;
const IO_BAR = 0x10;
const MEMORY_BAR = 0x14;
const PIRQ_A = 0x60;

const IDENTITY: PciIdentity = {
  ...{ vendorId: 0x1234, deviceId: 0x5678, classCode: 0x010000, revision: 1 },
  bars: [
    { kind: "io", size: 256 },
    { kind: "memory", size: 4096 },
  ],
  legacyPorts: [{ bar: 5, base: 0x1f0, size: 8 }],
};

class Probe extends PciDevice {
  readonly seen: string[] = [];
  answer = 0;
  constructor(host: GuestHost, name = "probe") {
    super(host, name, IDENTITY);
  }
  override read(bar: number, offset: number, size: number): number {
    this.seen.push(`read ${bar}+${offset.toString(16)} ${size}`);
    return this.answer;
  }
  override write(bar: number, offset: number, size: number, value: number): void {
    this.seen.push(`write ${bar}+${offset.toString(16)} ${size} ${value.toString(16)}`);
  }
  override reset(): void {}
  hold(asserted: boolean): void {
    this.driveInterruptLine(asserted);
  }
}

function make() {
  const clock = new VirtualClock();
  const log = new RegisterLog();
  const bus = new GuestBus(clock, log);
  const host = new GuestHost({} as PhysicalMemory);
  const guest: string[] = [];
  const held = new Set<number>();
  const bridge = new Uint8Array(256).fill(0x80, PIRQ_A, PIRQ_A + 4);
  const cpu = {
    device_raise_irq: (irq: number) => held.add(irq),
    device_lower_irq: (irq: number) => held.delete(irq),
    devices: { pci: { isa_bridge_space8: bridge } },
  };
  const noted =
    (name: string) =>
    (...args: number[]): number => {
      guest.push(`${name} ${args.map((arg) => (arg >>> 0).toString(16)).join(" ")}`);
      return 0x99;
    };
  const imports = Object.fromEntries(
    [
      ...["io_port_read8", "io_port_read16", "io_port_read32", "io_port_write8", "io_port_write16", "io_port_write32"],
      ...["mmap_read8", "mmap_read32", "mmap_write8", "mmap_write16", "mmap_write32", "mmap_write64"],
    ].map((name) => [name, noted(name)]),
  ) as unknown as CoreImports;
  imports.run_hardware_timers = () => 10;
  bus.hook(imports);
  bus.start(cpu as unknown as V86Cpu, host);

  const address = (slot: number, register: number): number => 0x80000000 | (slot << 11) | register | 0;
  const readConfig = (slot: number, register: number, size: 1 | 2 | 4 = 4): number => {
    imports.io_port_write32(CONFIG_ADDRESS, address(slot, register & 0xfc));
    const read = { 1: imports.io_port_read8, 2: imports.io_port_read16, 4: imports.io_port_read32 }[size];
    return read(CONFIG_DATA + (register & 3)) >>> 0;
  };
  const writeConfig = (slot: number, register: number, value: number): void => {
    imports.io_port_write32(CONFIG_ADDRESS, address(slot, register));
    imports.io_port_write32(CONFIG_DATA, value);
  };
  /** Device plugged into slot 3, BARs at C000 and E0000000, decoding. */
  const plugged = (): Probe => {
    const device = new Probe(host);
    bus.plug(device, 3);
    writeConfig(3, IO_BAR, 0xc000);
    writeConfig(3, MEMORY_BAR, 0xe0000000);
    writeConfig(3, COMMAND, 7);
    guest.length = 0;
    return device;
  };
  const tick = (): number => imports.run_hardware_timers(0, clock.nowNs() / 1e6);
  return { clock, log, bus, host, guest, held, bridge, imports, readConfig, writeConfig, plugged, tick };
}

describe("configuration cycles", () => {
  test("find our device in its slot, a byte, a word or a dword at a time", () => {
    const { plugged, readConfig, guest } = make();
    plugged();
    expect(readConfig(3, 0)).toBe(0x56781234);
    expect(readConfig(3, 2, 2)).toBe(0x5678);
    expect(readConfig(3, 0x0b, 1)).toBe(0x01);
    expect(guest.filter((what) => what.includes("read"))).toEqual([]);
  });

  test("go on to the guest's own devices for every other slot, and without the enable bit", () => {
    const { plugged, readConfig, guest, imports } = make();
    plugged();
    expect(readConfig(4, 0)).toBe(0x99);
    imports.io_port_write32(CONFIG_ADDRESS, 3 << 11);
    expect(imports.io_port_read32(CONFIG_DATA)).toBe(0x99);
    expect(guest.filter((what) => what.includes("read"))).toEqual(["io_port_read32 cfc", "io_port_read32 cfc"]);
  });

  test("size the BARs and move them; accesses follow", () => {
    const { plugged, readConfig, writeConfig, imports, guest } = make();
    const device = plugged();
    writeConfig(3, MEMORY_BAR, 0xffffffff);
    expect(readConfig(3, MEMORY_BAR)).toBe(0xfffff000);
    writeConfig(3, MEMORY_BAR, 0xd0000000);
    device.answer = 0xfedcba98;
    expect(imports.mmap_read32(0xd0000ffc | 0) >>> 0).toBe(0xfedcba98);
    expect(imports.mmap_read32(0xe0000000 | 0)).toBe(0x99);
    expect(device.seen).toEqual(["read 1+ffc 4"]);
    expect(guest.at(-1)).toBe("mmap_read32 e0000000");
  });
});

describe("accesses", () => {
  test("of ports and memory arrive with their size and value; what is beside them is the guest's", () => {
    const { plugged, imports, guest } = make();
    const device = plugged();
    imports.io_port_write8(0xc001, 0xffffff12 | 0);
    imports.io_port_write16(0xc002, 0x3456);
    imports.io_port_write32(0xc0fc, -1);
    imports.io_port_read16(0xc010);
    imports.io_port_read8(0xc100);
    imports.mmap_write8(0xe0000003 | 0, 0x7f);
    imports.mmap_write16(0xe0000010 | 0, 0xffff8001 | 0);
    imports.mmap_write32(0xe0001000 | 0, 5);
    expect(device.seen).toEqual([
      ...["write 0+1 1 12", "write 0+2 2 3456", "write 0+fc 4 ffffffff", "read 0+10 2"],
      ...["write 1+3 1 7f", "write 1+10 2 8001"],
    ]);
    expect(guest).toEqual(["io_port_read8 c100", "mmap_write32 e0001000 5"]);
  });

  test("of 64 bits are two of 32, the lower one first", () => {
    const { plugged, imports } = make();
    const device = plugged();
    imports.mmap_write64(0xe0000040 | 0, 0x11111111, -2);
    expect(device.seen).toEqual(["write 1+40 4 11111111", "write 1+44 4 fffffffe"]);
  });

  test("reach a legacy port only while the function decodes ports, and nothing of a function that is switched off", () => {
    const { plugged, imports, writeConfig, guest } = make();
    const device = plugged();
    imports.io_port_write8(0x1f6, 0xa0);
    writeConfig(3, COMMAND, 0);
    guest.length = 0;
    imports.io_port_write8(0x1f6, 0xb0);
    imports.io_port_read8(0xc000);
    imports.mmap_read8(0xe0000000 | 0);
    expect(device.seen).toEqual(["write 5+6 1 a0"]);
    expect(guest).toEqual(["io_port_write8 1f6 b0", "io_port_read8 c000", "mmap_read8 e0000000"]);
  });

  test("are logged with their time, and two runs with the same accesses have the same digest", () => {
    const digest = (value: number): string => {
      const { plugged, imports, clock, log } = make();
      plugged();
      clock.jump(1000);
      imports.io_port_write8(0xc000, value);
      expect(log.count).toBe(1);
      expect(log.tail()[0]).toBe(`0.00100 ms probe write BAR0+0x0 1 0x${value.toString(16)}`);
      return log.digest();
    };
    expect(digest(1)).toBe(digest(1));
    expect(digest(1)).not.toBe(digest(2));
  });
});

describe("interrupts", () => {
  test("rise on the line that the bridge routes INTA of the slot to, between two instructions, and fall at once", () => {
    const { plugged, tick, bridge, held } = make();
    const device = plugged();
    // Slot 3, pin A: the third of the four lines.
    bridge[PIRQ_A + 2] = 11;
    device.hold(true);
    expect([...held]).toEqual([]);
    tick();
    expect([...held]).toEqual([11]);
    device.hold(false);
    expect([...held]).toEqual([]);
  });

  test("stay up while another device still holds the line", () => {
    const { plugged, bus, host, tick, bridge, held } = make();
    const first = plugged();
    const second = new Probe(host, "second");
    bus.plug(second, 3, 1);
    bridge[PIRQ_A + 2] = 11;
    first.hold(true);
    second.hold(true);
    tick();
    first.hold(false);
    expect([...held]).toEqual([11]);
    second.hold(false);
    expect([...held]).toEqual([]);
  });

  test("go nowhere while the line is not routed, or while PCICMD forbids them", () => {
    const { plugged, tick, bridge, held, writeConfig } = make();
    plugged().hold(true);
    tick();
    expect([...held]).toEqual([]);
    bridge[PIRQ_A + 2] = 10;
    writeConfig(3, COMMAND, 0x407);
    tick();
    expect([...held]).toEqual([]);
    writeConfig(3, COMMAND, 7);
    tick();
    expect([...held]).toEqual([10]);
    writeConfig(3, COMMAND, 0x407);
    expect([...held]).toEqual([]);
  });

  test("of the PC's own kind need no route", () => {
    const { plugged, tick, held } = make();
    const device = plugged();
    device.onLegacyLine(14, true);
    tick();
    expect([...held]).toEqual([14]);
    device.onLegacyLine(14, false);
    expect([...held]).toEqual([]);
  });
});

describe("time", () => {
  test("that has passed for the guest has passed for a device before it is touched", () => {
    const { plugged, host, clock, imports } = make();
    const device = plugged();
    const event = makeEvent("work", () => device.seen.push(`worked at ${host.events.now}`));
    host.events.arm(event, 500);
    clock.jump(400);
    imports.io_port_read8(0xc000);
    clock.jump(400);
    imports.io_port_read8(0xc000);
    expect(device.seen).toEqual(["read 0+0 1", "worked at 500", "read 0+0 1"]);
    expect(host.events.now).toBe(800);
  });

  test("is slept away only up to the next thing that a device does", () => {
    const { host, tick, clock } = make();
    expect(tick()).toBe(10);
    host.events.arm(
      makeEvent("work", () => {}),
      3_000_000,
    );
    expect(tick()).toBe(3);
    clock.jump(1_000_000);
    expect(tick()).toBe(2);
    clock.jump(5_000_000);
    expect(tick()).toBe(10);
  });
});
