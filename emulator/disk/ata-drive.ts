// An ATA drive: the task file and the commands of ATA/ATAPI-6 in front of the same disk that SCSI adapters drive.
//
// Media, timing, write cache, faults and write guard are the disk's (scsi-disk.ts): a command that needs the platters or
// the cache goes to it as a block command (ata-transfer.ts), and its answer comes back translated (ata-outcome.ts), as a
// bridge between the two command sets would do it. What is here is what only ATA has: registers, BSY and DRQ, INTRQ, modes.
import { makeEvent, type EventQueue, type TimerEvent } from "../time/events.ts";
import type { PhysicalMemory } from "../memory/memory.ts";
import { ataCommandByOpcode, type AtaCommandSpec } from "./ata-commands.ts";
import { IDENTIFY_BYTES, MAX_MULTIPLE, identifyDevice } from "./ata-identify.ts";
import { AtaModes } from "./ata-modes.ts";
import type { AtaOutcome } from "./ata-outcome.ts";
import {
  ATA_ABRT,
  ATA_BSY,
  ATA_DRDY,
  ATA_DRQ,
  ATA_DSC,
  ATA_ERR,
  ATA_HOB,
  ATA_IDNF,
  ATA_NIEN,
  ATA_REG,
  ATA_SRST,
  TaskFile,
  defaultGeometry,
  type Geometry,
} from "./ata-task-file.ts";
import { AtaTransfer, type TransferOwner } from "./ata-transfer.ts";
import type { ScsiCommand } from "./scsi-command.ts";
import type { ScsiDisk } from "./scsi-disk.ts";

/** From the write of the command register to the drive's first decision. */
const DECODE_NS = 15_000;
/** From the end of SRST until the drive is ready again. */
const RESET_NS = 2_000_000;
const READY = ATA_DRDY | ATA_DSC;
const BUSY = ATA_BSY | READY;
const DIAGNOSTIC_PASSED = 0x01;
const VERIFY_16 = 0x8f;
const SYNCHRONIZE_CACHE_16 = 0x91;
const ABORTED: AtaOutcome = { error: ATA_ABRT, status: 0 };

/** The cable: what a drive tells its channel. */
export interface AtaCable {
  /** `pendingInterrupt` has changed. */
  interruptChanged(drive: AtaDrive): void;
  /** The drive wants to move `dmaBytes` bytes by DMA. */
  wantsDma(drive: AtaDrive): void;
  /** What the bus master had room for has moved. */
  dmaEnded(drive: AtaDrive): void;
}

const NO_CABLE: AtaCable = { interruptChanged: () => {}, wantsDma: () => {}, dmaEnded: () => {} };

export class AtaDrive implements TransferOwner {
  readonly disk: ScsiDisk;
  readonly position: 0 | 1;
  readonly taskFile = new TaskFile();
  readonly modes = new AtaModes();
  cable: AtaCable = NO_CABLE;
  /** INTRQ, before nIEN. */
  pendingInterrupt = false;
  private readonly events: EventQueue;
  private readonly transfer: AtaTransfer;
  private readonly event: TimerEvent;
  private readonly native: Geometry;
  private geometry: Geometry;
  private resetting = false;
  private statusBits = READY;
  private error = DIAGNOSTIC_PASSED;
  private control = 0;
  private spec: AtaCommandSpec | undefined;
  private readonly scratch = new Uint8Array(IDENTIFY_BYTES);

  constructor(disk: ScsiDisk, events: EventQueue, position: 0 | 1) {
    this.disk = disk;
    this.events = events;
    this.position = position;
    this.transfer = new AtaTransfer(this, disk, events);
    this.event = makeEvent(`${disk.name}.ata`, () => {
      if (this.resetting) this.finishReset();
      else this.decide();
    });
    this.native = this.geometry = defaultGeometry(disk.sectors);
    this.taskFile.putSignature();
    // No ATA host expects a unit attention.
    disk.takeAttention();
  }

  get present(): boolean {
    return this.disk.present;
  }

  get status(): number {
    return this.statusBits;
  }

  /** True while the host must keep its hands off the command block. */
  get engaged(): boolean {
    return (this.statusBits & (ATA_BSY | ATA_DRQ)) !== 0;
  }

  /** Reads register 1 to 6 of the command block. */
  read(register: number): number {
    if (register === ATA_REG.features) return this.error;
    return this.taskFile.read(register, (this.control & ATA_HOB) !== 0);
  }

  /** Writes register 1 to 6. The channel has seen to it that no command is under way. */
  write(register: number, value: number): void {
    this.control &= ~ATA_HOB;
    this.taskFile.write(register, value);
  }

  /** The host has read the status register. */
  acknowledgeInterrupt(): void {
    this.setInterrupt(false);
  }

  get interruptsEnabled(): boolean {
    return (this.control & ATA_NIEN) === 0;
  }

  /** Device control. */
  writeControl(value: number): void {
    const before = this.control;
    this.control = value;
    if ((value & ATA_SRST) !== 0 && (before & ATA_SRST) === 0) this.beginReset();
    if ((value & ATA_SRST) === 0 && (before & ATA_SRST) !== 0) this.events.arm(this.event, this.events.now + RESET_NS);
    if (((value ^ before) & ATA_NIEN) !== 0) this.cable.interruptChanged(this);
  }

  private setInterrupt(pending: boolean): void {
    if (pending === this.pendingInterrupt) return;
    this.pendingInterrupt = pending;
    this.cable.interruptChanged(this);
  }

  // Resets.

  /** Power on. */
  powerOn(): void {
    this.control = 0;
    this.forget();
    this.modes.reset();
    this.finishReset();
  }

  private forget(): void {
    this.events.cancel(this.event);
    this.transfer.forget();
    this.spec = undefined;
    this.setInterrupt(false);
  }

  private beginReset(): void {
    this.forget();
    // The disk forgets its commands too; there is no unit attention on this side.
    this.disk.reset("bus");
    this.disk.takeAttention();
    this.resetting = true;
    this.statusBits = ATA_BSY;
  }

  private finishReset(): void {
    this.resetting = false;
    this.taskFile.putSignature();
    this.geometry = this.native;
    this.modes.softReset();
    this.error = DIAGNOSTIC_PASSED;
    this.statusBits = READY;
  }

  // Commands.

  /** The command register is written. Only the selected drive gets it, EXECUTE DEVICE DIAGNOSTIC excepted. */
  writeCommand(opcode: number): void {
    if (this.engaged) return;
    this.control &= ~ATA_HOB;
    this.setInterrupt(false);
    this.spec = ataCommandByOpcode(opcode);
    if (this.spec) this.transfer.begin(this.spec);
    this.error = 0;
    this.statusBits = BUSY;
    this.events.arm(this.event, this.events.now + DECODE_NS);
  }

  private decide(): void {
    const { spec, taskFile, disk, modes, transfer } = this;
    switch (spec?.kind) {
      case undefined:
        return this.ended(ABORTED);
      case "read":
      case "write":
      case "verify":
        return this.beginExtent(spec!);
      case "flush":
        return transfer.toDisk(SYNCHRONIZE_CACHE_16, 0, 0);
      case "identify":
        return this.identify();
      case "set features":
        return this.setFeatures();
      case "set multiple":
        return this.setMultiple(taskFile.sectors(false) & 0xff);
      case "initialize parameters": {
        const perTrack = taskFile.sectors(false) & 0xff;
        if (perTrack === 0) return this.ended(ABORTED);
        this.geometry = defaultGeometry(disk.sectors, (taskFile.device & 0x0f) + 1, perTrack);
        return this.ended(undefined);
      }
      case "native max": {
        const { extended } = spec!;
        taskFile.setLba(Math.min(disk.sectors, extended ? 2 ** 48 : 2 ** 28) - 1, extended, this.geometry);
        return this.ended(undefined);
      }
      case "check power":
        taskFile.setCount(modes.standby ? 0x00 : 0xff, false);
        return this.ended(undefined);
      case "standby":
      case "sleep":
        modes.standby = true;
        // The heads are parked when the cache is on the platters.
        return transfer.toDisk(SYNCHRONIZE_CACHE_16, 0, 0);
      case "idle":
        modes.standby = false;
        return this.ended(undefined);
      case "diagnostic":
        taskFile.putSignature();
        this.error = DIAGNOSTIC_PASSED;
        return this.ended(undefined);
      case "accept":
        return this.ended(undefined);
    }
  }

  private beginExtent(spec: AtaCommandSpec): void {
    const { modes, taskFile, transfer } = this;
    const lba = taskFile.lba(spec.extended, this.geometry);
    const sectors = taskFile.sectors(spec.extended);
    if (spec.multiple && modes.multiple === 0) return this.ended(ABORTED);
    if (lba < 0 || lba + sectors > this.disk.sectors) return this.ended({ error: ATA_IDNF, status: 0 });
    modes.standby = false;
    if (spec.kind !== "verify") return transfer.move(lba, sectors, spec.multiple ? modes.multiple : 1);
    transfer.lba = lba;
    transfer.sectors = sectors;
    transfer.toDisk(VERIFY_16, lba, sectors);
  }

  private identify(): void {
    const { disk, modes, scratch } = this;
    const { buffer } = this.transfer;
    const { identity, timing } = disk;
    identifyDevice(scratch, {
      model: `${identity.vendor} ${identity.product}`.trim(),
      ...{ serial: identity.serial, revision: identity.revision, sectors: disk.sectors },
      ...{ geometry: this.native, currentGeometry: this.geometry },
      ...{ multiple: modes.multiple, dma: modes.dma, position: this.position },
      writeCache: { bytes: timing.cacheBytes, enabled: disk.modes.writeCacheEnabled },
    });
    buffer.begin(0);
    buffer.memory.writeBytes(0, scratch);
    this.transfer.offerSector();
  }

  private setMultiple(count: number): void {
    if (count > MAX_MULTIPLE || (count & (count - 1)) !== 0) return this.ended(ABORTED);
    this.modes.multiple = count;
    this.ended(undefined);
  }

  private setFeatures(): void {
    const { taskFile, modes, disk } = this;
    switch (taskFile.features) {
      case 0x02:
      case 0x82: {
        const enable = taskFile.features === 0x02;
        if (disk.modes.writeCacheEnabled === enable) return this.ended(undefined);
        if (enable && disk.timing.cacheBytes === 0) return this.ended(ABORTED);
        return this.switchWriteCache(enable);
      }
      case 0x03:
        return this.ended(modes.selectTransfer(taskFile.sectors(false) & 0xff) ? undefined : ABORTED);
      case 0xaa:
      case 0x55:
        // Read look-ahead: this disk decides by itself when to read on.
        return this.ended(undefined);
      case 0x66:
      case 0xcc:
        modes.keepsSettings = taskFile.features === 0x66;
        return this.ended(undefined);
      default:
        return this.ended(ABORTED);
    }
  }

  /** WCE of the caching mode page: MODE SELECT answers when the cache is empty, if it has to be emptied. */
  private switchWriteCache(enable: boolean): void {
    const { disk, transfer } = this;
    const list = new Uint8Array(64);
    const length = disk.modes.sense(Uint8Array.of(0x1a, 0x08, 0x08, 0, 255, 0), list);
    list.fill(0, 0, 4);
    list[4]! &= 0x7f;
    list[6] = enable ? list[6]! | 0x04 : list[6]! & ~0x04;
    transfer.buffer.begin(0);
    transfer.buffer.memory.writeBytes(0, list.subarray(0, length));
    transfer.sendParameters([0x15, 0x10, 0, 0, length, 0], length);
  }

  // What the transfer reports.

  busy(): void {
    this.statusBits = BUSY;
  }

  dataRequest(interrupt: boolean): void {
    this.statusBits = READY | ATA_DRQ;
    if (interrupt) this.setInterrupt(true);
  }

  wantsDma(): void {
    this.cable.wantsDma(this);
  }

  dmaEnded(): void {
    this.cable.dmaEnded(this);
  }

  /** The command is over: count and address registers say how far it came. */
  ended(outcome: AtaOutcome | undefined, quietly = false): void {
    const { spec, transfer } = this;
    if (spec && transfer.sectors > 0 && spec.kind !== "identify") {
      const at = transfer.lba + transfer.done - (outcome ? 0 : 1);
      this.taskFile.setLba(at, spec.extended, this.geometry);
      this.taskFile.setCount(transfer.sectors - transfer.done, spec.extended);
    }
    if (outcome) this.error = outcome.error;
    this.statusBits = outcome ? READY | ATA_ERR | outcome.status : READY;
    if (!quietly) this.setInterrupt(true);
  }

  // The data port and DMA.

  get dmaDirection(): "in" | "out" | undefined {
    return this.transfer.dmaDirection;
  }
  get dmaBytes(): number {
    return this.transfer.dmaBytes;
  }
  /** See AtaTransfer.beginDma. */
  beginDma(memory: PhysicalMemory, fill: (request: ScsiCommand) => number): void {
    this.transfer.beginDma(memory, fill, this.modes.dmaBytesPerSecond);
  }
  abandonDma(): void {
    this.transfer.abandonDma();
  }
  readData(bytes: number): number {
    return this.transfer.readData(bytes);
  }
  writeData(bytes: number, value: number): void {
    this.transfer.writeData(bytes, value);
  }
  readString(memory: PhysicalMemory, address: number, bytes: number): void {
    this.transfer.readString(memory, address, bytes);
  }
  writeString(memory: PhysicalMemory, address: number, bytes: number): void {
    this.transfer.writeString(memory, address, bytes);
  }
}
