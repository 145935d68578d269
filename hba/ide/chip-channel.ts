// One channel of an IDE function: two places for drives on one cable, its ports, and its interrupt.
import type { DeviceHost } from "../../emulator/bus/pci.ts";
import type { AtaCable, AtaDrive } from "../../emulator/disk/ata-drive.ts";
import { ATA_BSY, ATA_DEV, ATA_DRQ, ATA_REG } from "../../emulator/disk/ata-task-file.ts";
import type { PhysicalMemory } from "../../emulator/memory/memory.ts";
import { BusMaster } from "./chip-bus-master.ts";
import { ATA, ATA_ALT_STATUS } from "./registers.ts";

/** An empty cable: all lines float high but DD7, which the host pulls down so that nobody sees BSY. [ATA/ATAPI-6 4.3] */
const FLOATING = 0x7f;
const EXECUTE_DEVICE_DIAGNOSTIC = 0x90;
const DEVICE_RESET = 0x08;

export class IdeChannel implements AtaCable {
  readonly drives: (AtaDrive | undefined)[] = [undefined, undefined];
  readonly busMaster: BusMaster;
  private readonly setLine: (asserted: boolean) => void;
  private selected: 0 | 1 = 0;
  private line = false;

  constructor(host: DeviceHost, name: string, isMaster: () => boolean, setLine: (asserted: boolean) => void) {
    this.setLine = setLine;
    this.busMaster = new BusMaster(host, name, isMaster, () => this.drive);
  }

  attach(drive: AtaDrive): void {
    this.drives[drive.position] = drive;
    drive.cable = this;
  }

  reset(): void {
    this.selected = 0;
    this.busMaster.reset();
    for (const drive of this.drives) drive?.powerOn();
    this.updateLine();
  }

  /** The drive that DEV selects, if it is there and answers. */
  get drive(): AtaDrive | undefined {
    const drive = this.drives[this.selected];
    return drive?.present ? drive : undefined;
  }

  private get anyDrive(): boolean {
    return this.drives.some((drive) => drive?.present);
  }

  interruptChanged(): void {
    this.updateLine();
  }

  wantsDma(): void {
    this.busMaster.requested();
  }

  dmaEnded(): void {
    this.busMaster.ended();
  }

  /** INTRQ is driven by the selected drive alone, and not at all with nIEN. */
  private updateLine(): void {
    const { drive } = this;
    const line = drive !== undefined && drive.pendingInterrupt && drive.interruptsEnabled;
    if (line === this.line) return;
    this.line = line;
    if (line) this.busMaster.interrupted();
    this.setLine(line);
  }

  /** What a register other than Data and Status says; a lone master answers zeroes for the slave that is not there. */
  readRegister(register: number): number {
    const { drive } = this;
    if (drive) return drive.read(register);
    return this.anyDrive ? 0 : FLOATING;
  }

  readStatus(): number {
    const { drive } = this;
    if (!drive) return this.anyDrive ? 0 : FLOATING;
    const { status } = drive;
    drive.acknowledgeInterrupt();
    return status;
  }

  readAltStatus(): number {
    return this.drive?.status ?? (this.anyDrive ? 0 : FLOATING);
  }

  /** Both drives hear every write to the command block; while the selected one has a command, neither listens. */
  writeRegister(register: number, value: number): void {
    const { drive } = this;
    if (register === ATA.Status) {
      this.writeCommand(value);
      return;
    }
    if (drive && (drive.status & (ATA_BSY | ATA_DRQ)) !== 0) return;
    for (const one of this.drives) one?.write(register, value);
    if (register !== ATA_REG.device) return;
    this.selected = (value & ATA_DEV) !== 0 ? 1 : 0;
    this.updateLine();
  }

  private writeCommand(opcode: number): void {
    if (opcode === EXECUTE_DEVICE_DIAGNOSTIC) for (const drive of this.drives) drive?.writeCommand(opcode);
    else if (opcode !== DEVICE_RESET) this.drive?.writeCommand(opcode);
  }

  writeControl(offset: number, value: number): void {
    if (offset !== ATA_ALT_STATUS) return;
    for (const drive of this.drives) drive?.writeControl(value);
    // A software reset selects device 0.
    if ((value & 0x04) !== 0) this.selected = 0;
    this.updateLine();
  }

  readData(bytes: number): number {
    return this.drive?.readData(bytes) ?? 0;
  }
  writeData(bytes: number, value: number): void {
    this.drive?.writeData(bytes, value);
  }
  readString(memory: PhysicalMemory, address: number, bytes: number): void {
    this.drive?.readString(memory, address, bytes);
  }
  writeString(memory: PhysicalMemory, address: number, bytes: number): void {
    this.drive?.writeString(memory, address, bytes);
  }
}
