// What SCRIPTS reach by address: on-chip RAM and the chip's own registers when the address lies in their windows, else host memory.
import type { PciDevice } from "../../emulator/bus/pci.ts";
import type { PhysicalMemory } from "../../emulator/memory/memory.ts";
import { ScriptsDecoder } from "./chip-decoder.ts";
import { SYM_MEMORY_BAR, SYM_RAM_BAR, SYM_REGISTER_BYTES } from "./registers.ts";

/** Inside the chip. */
export const NEAR_NS = 30;
/** Decoding and executing an instruction, beyond its accesses. */
export const INSTRUCTION_NS = 50;
/** The same with its two dwords from on-chip RAM. */
export const NEAR_FETCH_NS = INSTRUCTION_NS + 2 * NEAR_NS;
/** Over the bus, there and back; a posted write only leaves. PCI at 66 MHz. */
export const HOST_READ_NS = 250;
export const HOST_WRITE_NS = 90;

/** Register access as SCRIPTS do it. */
export interface RegisterBytes {
  readRegister(offset: number): number;
  writeRegister(offset: number, value: number): void;
}

export class ChipMemory {
  readonly ram: Uint8Array;
  readonly ram32: Int32Array;
  /** What SCRIPTS in on-chip RAM mean; every write to it is told. */
  readonly decoder: ScriptsDecoder;
  private readonly device: PciDevice;
  private readonly registers: RegisterBytes;
  readonly host: PhysicalMemory;
  /** Time that accesses have taken; whoever runs SCRIPTS adds it up and sets it back. */
  spentNs = 0;
  entryAddress = 0;
  /** An access went where there is no memory: the transfer ends in a bus fault. */
  faulted = false;

  constructor(device: PciDevice, registers: RegisterBytes, ramBytes: number) {
    this.device = device;
    this.registers = registers;
    this.ram = new Uint8Array(ramBytes);
    this.ram32 = new Int32Array(this.ram.buffer);
    this.decoder = new ScriptsDecoder(this.ram32);
    this.host = device.host.memory;
  }

  /** A dword of on-chip RAM, by its number. */
  writeNear(at: number, value: number): void {
    this.ram32[at] = value;
    this.decoder.writtenDword(at);
  }

  /** Offset in on-chip RAM, or -1. */
  ramOffset(address: number): number {
    const at = address - this.device.barBases[SYM_RAM_BAR]!;
    return at >= 0 && at < this.ram.length ? at : -1;
  }

  private registerOffset(address: number): number {
    const at = address - this.device.barBases[SYM_MEMORY_BAR]!;
    return at >= 0 && at < SYM_REGISTER_BYTES ? at : -1;
  }

  /** True when host memory may be reached at `address`; otherwise notes the fault and says why. */
  reaches(address: number, length: number, what: string): boolean {
    const { device, host } = this;
    if (!device.busMaster) device.host.complain(device.name, "driver erred", `${what} without bus mastering`);
    else if (address + length > host.endOfRam) {
      const where = `0x${address.toString(16)}, ${length} bytes`;
      device.host.complain(device.name, "driver erred", `${what} beyond memory: ${where}`);
    } else return true;
    this.faulted = true;
    return false;
  }

  /** Bytes of RAM's flat window that the chip may reach. */
  get flatBytes(): number {
    return this.device.busMaster ? this.host.flatBytes : 0;
  }

  /** The bytes among which those at `address` are, at the same offset, when they all lie in RAM's flat window: the usual case. */
  flat(address: number, length: number): Uint8Array | undefined {
    if (address + length > this.flatBytes || this.ramOffset(address) >= 0) return undefined;
    return this.registerOffset(address) >= 0 ? undefined : this.host.pool.u8;
  }

  /** True for an aligned dword in the flat window of RAM, which the chip may reach: the usual case. */
  private isFlat(address: number): boolean {
    return address < this.host.flatBytes && (address & 3) === 0 && this.device.busMaster;
  }

  /** A dword, signed: numbers of 32 bits are cheaper that way. Addresses in on-chip RAM are aligned. */
  read32(address: number): number {
    const at = address - this.device.barBases[SYM_RAM_BAR]!;
    if (at >= 0 && at < this.ram.length) {
      this.spentNs += NEAR_NS;
      return this.ram32[at >>> 2]!;
    }
    if (this.isFlat(address)) {
      this.spentNs += HOST_READ_NS;
      return this.host.pool.i32[address >>> 2]!;
    }
    if (this.registerOffset(address) >= 0) {
      let value = 0;
      for (let i = 3; i >= 0; i--) value = (value << 8) | this.read8(address + i);
      return value;
    }
    this.spentNs += HOST_READ_NS;
    return this.reaches(address, 4, "read by SCRIPTS") ? this.host.read32(address) | 0 : 0;
  }

  /** A table's entry: returns its first dword and leaves the second one in `entryAddress`. */
  readEntry(address: number): number {
    if (address + 8 <= this.flatBytes && (address & 3) === 0) {
      const { i32 } = this.host.pool;
      this.spentNs += 2 * HOST_READ_NS;
      this.entryAddress = i32[(address >>> 2) + 1]!;
      return i32[address >>> 2]!;
    }
    const first = this.read32(address);
    this.entryAddress = this.read32(address + 4);
    return first;
  }

  write32(address: number, value: number): void {
    const at = address - this.device.barBases[SYM_RAM_BAR]!;
    if (at >= 0 && at < this.ram.length) {
      this.spentNs += NEAR_NS;
      this.writeNear(at >>> 2, value);
    } else if (this.isFlat(address)) {
      this.spentNs += HOST_WRITE_NS;
      this.host.pool.u32[address >>> 2] = value;
    } else if (this.registerOffset(address) >= 0) {
      for (let i = 0; i < 4; i++) this.write8(address + i, (value >>> (8 * i)) & 0xff);
    } else {
      this.spentNs += HOST_WRITE_NS;
      if (this.reaches(address, 4, "write by SCRIPTS")) this.host.write32(address, value >>> 0);
    }
  }

  read8(address: number): number {
    const at = this.ramOffset(address);
    if (at >= 0) {
      this.spentNs += NEAR_NS;
      return this.ram[at]!;
    }
    if (address < this.host.flatBytes && this.device.busMaster) {
      this.spentNs += HOST_READ_NS;
      return this.host.pool.u8[address]!;
    }
    const register = this.registerOffset(address);
    if (register >= 0) {
      this.spentNs += NEAR_NS;
      return this.registers.readRegister(register);
    }
    this.spentNs += HOST_READ_NS;
    return this.reaches(address, 1, "read by SCRIPTS") ? this.host.read8(address) : 0;
  }

  write8(address: number, value: number): void {
    const at = this.ramOffset(address);
    if (at >= 0) {
      this.spentNs += NEAR_NS;
      this.ram[at] = value;
      this.decoder.writtenDword(at >>> 2);
      return;
    }
    const register = this.registerOffset(address);
    if (register >= 0) {
      this.spentNs += NEAR_NS;
      this.registers.writeRegister(register, value);
      return;
    }
    this.spentNs += HOST_WRITE_NS;
    if (this.reaches(address, 1, "write by SCRIPTS")) this.host.write8(address, value);
  }
}
