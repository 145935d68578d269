// What a target's bus port keeps of a command: its nexus, its data pointer, and the buffer that its data passes through.
import { PhysicalMemory } from "../memory/memory.ts";
import { FRAME_MASK, FRAME_SIZE, type PagePool } from "../memory/pool.ts";
import { makeScsiCommand, type ScsiCommand } from "./scsi-command.ts";
import { commandByOpcode, lengthField, readExtent, takesData, type Extent } from "./scsi-commands.ts";
import { SECTOR_SIZE } from "./timing.ts";

export type PortTaskState =
  | "free"
  /** In the disk's hands. */
  | "working"
  /** The disk wants its data from the initiator. */
  | "wants data"
  /** Carried out: data for the initiator, if any, then status. */
  | "ready";

const extent: Extent = { lba: 0, sectors: 0, forceUnitAccess: false };
const SMALLEST_BUFFER = 16 * FRAME_SIZE;

export class PortTask {
  state: PortTaskState = "free";
  readonly command: ScsiCommand;
  lun = 0;
  /** -1: untagged. */
  tag = -1;
  mayDisconnect = false;
  /** Bytes moved over the bus: the current and the saved data pointer. */
  pointer = 0;
  saved = 0;
  /** Bytes to move over the bus in all. */
  end = 0;
  buffer: PhysicalMemory;
  /** Where the data begins in the buffer: at the same place of a page as on the media, so that pages move by reference. */
  start = 0;
  private readonly pool: PagePool;

  constructor(pool: PagePool, index: number, done: (command: ScsiCommand) => void) {
    this.pool = pool;
    this.buffer = bufferOf(pool, SMALLEST_BUFFER);
    this.command = makeScsiCommand(this.buffer, 1);
    this.command.tag = index;
    this.command.done = done;
    this.command.autosense = false;
  }

  /** Makes the command ready for the disk from the bytes that came over the bus: `length` of them, from `from[at]` on. */
  begin(from: Uint8Array, at: number, length: number): void {
    const { command } = this;
    const { cdb } = command;
    // By hand: a dozen bytes are not worth a subarray.
    for (let i = 0; i < length; i++) cdb[i] = from[at + i]!;
    // What is behind it, the last command may have left.
    for (let i = length; i < command.cdbLength; i++) cdb[i] = 0;
    command.cdbLength = length;
    command.lun = this.lun;
    const spec = commandByOpcode(cdb[0]!);
    let bytes = 0;
    this.start = 0;
    command.direction = "none";
    if (spec !== undefined) {
      const moves = spec.kind === "read" || spec.kind === "write";
      if (moves) {
        readExtent(spec, cdb, extent);
        bytes = extent.sectors * SECTOR_SIZE;
        this.start = (extent.lba * SECTOR_SIZE) & FRAME_MASK;
      } else if (!spec.hasExtent) bytes = lengthField(spec, cdb);
      if (bytes > 0) command.direction = takesData(spec) ? "out" : "in";
    }
    command.dataLength = bytes;
    this.pointer = this.saved = this.end = 0;
    const needed = this.start + bytes;
    if (needed > this.buffer.endOfRam) {
      this.buffer = bufferOf(this.pool, 2 ** Math.ceil(Math.log2(needed)));
      command.memory = this.buffer;
    }
    command.segments[0]!.address = this.start;
    command.segments[0]!.length = bytes;
    command.segmentCount = bytes > 0 ? 1 : 0;
  }

  release(): void {
    this.state = "free";
    const { dataLength } = this.command;
    // Nothing else has been in the buffer.
    if (dataLength > 0) this.buffer.pages.clearFirst(Math.ceil((this.start + dataLength) / FRAME_SIZE));
  }
}

function bufferOf(pool: PagePool, bytes: number): PhysicalMemory {
  return new PhysicalMemory(pool, [{ start: 0, end: bytes, type: "ram" }], false);
}
