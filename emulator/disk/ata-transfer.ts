// An ATA command's sectors on their way between the disk and the host: through the buffer and the data port in DRQ blocks, or
// by DMA. [ATA/ATAPI-6 9.5 to 9.7]
import type { EventQueue, TimerEvent } from "../time/events.ts";
import { makeEvent } from "../time/events.ts";
import type { PhysicalMemory } from "../memory/memory.ts";
import { AtaBuffer, BUFFER_SECTORS } from "./ata-buffer.ts";
import type { AtaCommandSpec } from "./ata-commands.ts";
import { outcomeOf, type AtaOutcome } from "./ata-outcome.ts";
import { ATA_ABRT } from "./ata-task-file.ts";
import { makeScsiCommand, type ScsiCommand } from "./scsi-command.ts";
import type { ScsiDisk } from "./scsi-disk.ts";
import { SECTOR_SIZE } from "./timing.ts";

/** BSY between two DRQ blocks. */
const TURN_NS = 3_000;
/** How often a command is tried again while the disk spins up. */
const NOT_READY_NS = 10_000_000;
/** How often a command may be answered with a unit attention before the drive gives it up. */
const ATTENTION_LIMIT = 8;
const ABORTED: AtaOutcome = { error: ATA_ABRT, status: 0 };

const READ_16 = 0x88;
const WRITE_16 = 0x8a;
const FORCE_UNIT_ACCESS = 0x08;

type TransferState =
  | "idle"
  /** The disk works on it. */
  | "on the disk"
  /** DRQ: the host reads, or writes, a block. */
  | "data in"
  | "data out"
  /** BSY between blocks. */
  | "turning"
  /** DMARQ: waits for the bus master. */
  | "dma"
  /** The bus master had less room than the command has data, or stopped: waits for ever. */
  | "starved";

/** What a transfer has its drive show. */
export interface TransferOwner {
  busy(): void;
  /** DRQ, and an interrupt unless it is the first block that the host is to write. */
  dataRequest(interrupt: boolean): void;
  wantsDma(): void;
  /** All that the bus master had room for has moved. */
  dmaEnded(): void;
  /** The command is over. `quietly`: without an interrupt, because the host has had it with the last block. */
  ended(outcome: AtaOutcome | undefined, quietly: boolean): void;
}

export class AtaTransfer {
  /** The command's sectors: the first one, how many, and how many are through. */
  lba = 0;
  sectors = 0;
  done = 0;
  readonly buffer: AtaBuffer;
  private readonly owner: TransferOwner;
  private readonly disk: ScsiDisk;
  private readonly events: EventQueue;
  private readonly request: ScsiCommand;
  private readonly cdbView: DataView;
  private readonly event: TimerEvent;
  private state: TransferState = "idle";
  private spec: AtaCommandSpec | undefined;
  /** Sectors of the piece in the buffer, and how many of them the host has had or given. */
  private piece = 0;
  private pieceDone = 0;
  /** Sectors of a DRQ block, and the byte of the piece at which the open one ends. */
  private block = 0;
  private blockEnd = 0;
  private attentions = 0;
  /** What ends the command once the good part of its data has gone out. */
  private failure: AtaOutcome | undefined;

  constructor(owner: TransferOwner, disk: ScsiDisk, events: EventQueue) {
    this.owner = owner;
    this.disk = disk;
    this.events = events;
    this.buffer = new AtaBuffer(disk.media.pool);
    this.request = makeScsiCommand(this.buffer.memory, 1);
    const { cdb } = this.request;
    this.cdbView = new DataView(cdb.buffer, cdb.byteOffset, cdb.length);
    this.request.done = (command) => this.diskAnswered(command);
    this.event = makeEvent(`${disk.name}.ata-data`, () => {
      if (this.state === "turning") this.openBlock();
      else this.disk.submit(this.request);
    });
  }

  /** The next command has no sectors so far. */
  begin(spec: AtaCommandSpec): void {
    this.spec = spec;
    this.state = "idle";
    this.lba = this.sectors = this.done = this.attentions = 0;
    this.failure = undefined;
  }

  /** Whatever it was doing ends. */
  forget(): void {
    this.events.cancel(this.event);
    this.disk.abort(this.request);
    this.state = "idle";
  }

  /** Moves `sectors` sectors from `lba` on, in DRQ blocks of `block` when they go by port. */
  move(lba: number, sectors: number, block: number): void {
    this.lba = lba;
    this.sectors = sectors;
    this.block = block;
    switch (this.spec!.protocol) {
      case "data in":
        return this.fetchPiece();
      case "data out":
        this.beginPiece();
        return this.openBlock();
      default:
        this.state = "dma";
        this.owner.wantsDma();
    }
  }

  /** Offers what is in the buffer, one sector, to the host. */
  offerSector(): void {
    this.sectors = this.piece = this.block = 1;
    this.pieceDone = 0;
    this.openBlock();
  }

  /** The command's data goes this way by DMA, if it is waiting for that. */
  get dmaDirection(): "in" | "out" | undefined {
    if (this.state !== "dma") return undefined;
    return this.spec!.protocol === "dma in" ? "in" : "out";
  }

  get dmaBytes(): number {
    return this.state === "dma" ? this.sectors * SECTOR_SIZE : 0;
  }

  // The disk's part.

  /** A 16-byte block command without data. */
  toDisk(opcode: number, lba: number, sectors: number): void {
    this.blockCommand(opcode, lba, sectors);
    this.submit("none", 0);
  }

  private blockCommand(opcode: number, lba: number, sectors: number): void {
    const { request } = this;
    const { cdb } = request;
    cdb.fill(0);
    cdb[0] = opcode;
    if (this.spec!.forceUnitAccess) cdb[1] = FORCE_UNIT_ACCESS;
    const { cdbView } = this;
    cdbView.setUint32(2, Math.floor(lba / 2 ** 32), false);
    cdbView.setUint32(6, lba >>> 0, false);
    cdbView.setUint32(10, sectors, false);
    request.cdbLength = 16;
  }

  /** A 6-byte command with a parameter list of `bytes` bytes in the buffer. */
  sendParameters(cdb: readonly number[], bytes: number): void {
    this.request.cdb.fill(0);
    this.request.cdb.set(cdb);
    this.request.cdbLength = cdb.length;
    this.submit("out", bytes);
  }

  /** Sends what the request says, with data in the buffer. */
  private submit(direction: "none" | "in" | "out", bytes: number): void {
    const { request, buffer } = this;
    request.memory = buffer.memory;
    request.direction = direction;
    request.dataLength = bytes;
    request.segmentCount = bytes > 0 ? 1 : 0;
    request.segments[0]!.address = buffer.start;
    request.segments[0]!.length = bytes;
    this.disk.setLinkRate(Infinity);
    this.state = "on the disk";
    this.owner.busy();
    this.disk.submit(request);
  }

  /**
   * The bus master is ready: `fill` says where in memory and returns for how many bytes. A command that has more data than
   * that moves what fits and then waits, as on the real cable.
   */
  beginDma(memory: PhysicalMemory, fill: (request: ScsiCommand) => number, bytesPerSecond: number): void {
    const { request } = this;
    request.memory = memory;
    const moved = Math.min(this.sectors, Math.floor(fill(request) / SECTOR_SIZE));
    this.piece = moved;
    if (moved === 0) {
      this.state = "starved";
      return;
    }
    const read = this.spec!.protocol === "dma in";
    this.blockCommand(read ? READ_16 : WRITE_16, this.lba, moved);
    request.direction = read ? "in" : "out";
    request.dataLength = moved * SECTOR_SIZE;
    this.state = "on the disk";
    this.disk.setLinkRate(bytesPerSecond);
    this.disk.submit(request);
  }

  /** The bus master stopped in the middle: the command hangs until a reset. */
  abandonDma(): void {
    if (this.state !== "on the disk") return;
    this.disk.abort(this.request);
    this.state = "starved";
  }

  private again(ns: number): void {
    this.events.arm(this.event, this.events.now + ns);
  }

  private diskAnswered(request: ScsiCommand): void {
    if (this.state !== "on the disk") return;
    let outcome = outcomeOf(request);
    if (outcome === "not ready") return this.again(NOT_READY_NS);
    if (outcome === "try again") {
      if (++this.attentions <= ATTENTION_LIMIT) return this.again(TURN_NS);
      outcome = ABORTED;
    }
    const good = Math.floor(request.transferred / SECTOR_SIZE);
    switch (this.spec!.protocol) {
      case "data in":
        // What comes before a bad sector goes out first, in whole blocks.
        if (outcome) this.piece = Math.floor(Math.min(good, this.piece) / this.block) * this.block;
        this.failure = outcome;
        this.pieceDone = 0;
        if (this.piece === 0) return this.fail(outcome!, 0);
        return this.openBlock();
      case "data out":
        if (outcome) return this.fail(outcome, good);
        this.done += this.piece;
        if (this.done === this.sectors) return this.end(undefined);
        this.beginPiece();
        return this.openBlock();
      case "dma in":
      case "dma out":
        this.owner.dmaEnded();
        if (outcome) return this.fail(outcome, good);
        this.done += this.piece;
        if (this.done === this.sectors) return this.end(undefined);
        this.state = "starved";
        return;
      default:
        if (outcome) return this.fail(outcome, 0);
        this.done = this.sectors;
        return this.end(undefined);
    }
  }

  /** `good` sectors of the piece went through before it; the outcome may know better where it stopped. */
  private fail(outcome: AtaOutcome, good: number): void {
    this.done += good;
    if (outcome.lba !== undefined && outcome.lba >= this.lba) this.done = outcome.lba - this.lba;
    this.end(outcome);
  }

  private end(outcome: AtaOutcome | undefined, quietly = false): void {
    this.state = "idle";
    this.owner.ended(outcome, quietly);
  }

  // Data by port.

  private beginPiece(): void {
    this.piece = Math.min(BUFFER_SECTORS, this.sectors - this.done);
    this.pieceDone = 0;
    this.buffer.begin(this.lba + this.done);
  }

  private fetchPiece(): void {
    this.beginPiece();
    this.blockCommand(READ_16, this.lba + this.done, this.piece);
    this.submit("in", this.piece * SECTOR_SIZE);
  }

  private openBlock(): void {
    const out = this.spec!.protocol === "data out";
    const sectors = Math.min(this.block, this.piece - this.pieceDone);
    this.blockEnd = (this.pieceDone + sectors) * SECTOR_SIZE;
    this.buffer.position = this.pieceDone * SECTOR_SIZE;
    this.state = out ? "data out" : "data in";
    this.owner.dataRequest(!out || this.done + this.pieceDone > 0);
  }

  readData(bytes: number): number {
    if (this.state !== "data in") return 0;
    const value = this.buffer.read(bytes);
    if (this.buffer.position >= this.blockEnd) this.blockRead();
    return value;
  }

  writeData(bytes: number, value: number): void {
    if (this.state !== "data out") return;
    this.buffer.write(bytes, value);
    if (this.buffer.position >= this.blockEnd) this.blockWritten();
  }

  /** As `bytes / 2` reads of the data port. What goes beyond the open block is lost. */
  readString(memory: PhysicalMemory, address: number, bytes: number): void {
    if (this.state !== "data in") return;
    this.buffer.readString(memory, address, Math.min(bytes, this.blockEnd - this.buffer.position));
    if (this.buffer.position >= this.blockEnd) this.blockRead();
  }

  writeString(memory: PhysicalMemory, address: number, bytes: number): void {
    if (this.state !== "data out") return;
    this.buffer.writeString(memory, address, Math.min(bytes, this.blockEnd - this.buffer.position));
    if (this.buffer.position >= this.blockEnd) this.blockWritten();
  }

  private blockRead(): void {
    this.pieceDone = this.blockEnd / SECTOR_SIZE;
    if (this.pieceDone < this.piece) return this.turn();
    this.done += this.piece;
    if (this.failure) return this.fail(this.failure, 0);
    if (this.done < this.sectors) return this.fetchPiece();
    this.end(undefined, true);
  }

  private blockWritten(): void {
    this.pieceDone = this.blockEnd / SECTOR_SIZE;
    if (this.pieceDone < this.piece) return this.turn();
    this.blockCommand(WRITE_16, this.lba + this.done, this.piece);
    this.submit("out", this.piece * SECTOR_SIZE);
  }

  private turn(): void {
    this.state = "turning";
    this.owner.busy();
    this.again(TURN_NS);
  }
}
