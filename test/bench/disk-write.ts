// What a cached 16 KiB WRITE(10) costs the host, its event included: the disk's share of a dump of 8 GiB.
import { ScsiDisk } from "../../emulator/disk/scsi-disk.ts";
import { makeScsiCommand, type ScsiCommand } from "../../emulator/disk/scsi-command.ts";
import { PhysicalMemory } from "../../emulator/memory/memory.ts";
import { PagePool } from "../../emulator/memory/pool.ts";
import { EventQueue } from "../../emulator/time/events.ts";

export interface DiskWriteResult {
  readonly writes: number;
  /** Host nanoseconds per write, one entry per round. */
  readonly nsPerWrite: readonly number[];
  readonly eventsPerWrite: number;
  /** Virtual time of the last round. */
  readonly virtualNs: number;
}

const WRITE_BYTES = 16384;
const SECTORS = WRITE_BYTES / 512;

/** Writes all of a sparse RAM (every tenth 16 KiB block touched) to a disk of the same size, `rounds` times over. */
export function benchDiskWrite(totalBytes = 8 * 2 ** 30, rounds = 5): DiskWriteResult {
  const pool = new PagePool(16 * 2 ** 20);
  const memory = new PhysicalMemory(pool, [{ start: 0, end: totalBytes, type: "ram" }]);
  for (let address = memory.flatBytes; address < totalBytes; address += 10 * WRITE_BYTES) {
    for (let page = 0; page < 4; page++) memory.write32(address + page * 4096, address / 4096 + page + 1);
  }
  const events = new EventQueue();
  const disk = new ScsiDisk(events, pool, { name: "sda", sizeBytes: totalBytes });
  disk.takeAttention();
  const command: ScsiCommand = makeScsiCommand(memory, 1);
  const { cdb } = command;
  cdb[0] = 0x2a;
  cdb[8] = SECTORS;
  command.cdbLength = 10;
  command.direction = "out";
  command.dataLength = WRITE_BYTES;
  command.segmentCount = 1;
  const segment = command.segments[0]!;
  segment.length = WRITE_BYTES;
  let finished = 0;
  command.done = () => finished++;

  const writes = totalBytes / WRITE_BYTES;
  const nsPerWrite: number[] = [];
  const firedBefore = events.fired;
  let virtualNs = 0;
  for (let round = 0; round < rounds; round++) {
    finished = 0;
    const virtualStart = events.now;
    const start = performance.now();
    for (let i = 0; i < writes; i++) {
      const lba = i * SECTORS;
      cdb[2] = lba >>> 24;
      cdb[3] = lba >>> 16;
      cdb[4] = lba >>> 8;
      cdb[5] = lba;
      segment.address = i * WRITE_BYTES;
      disk.submit(command);
      while (finished === i) events.fireNext();
    }
    nsPerWrite.push(((performance.now() - start) * 1e6) / writes);
    virtualNs = events.now - virtualStart;
    if (command.status !== 0) throw new Error(`bench: write failed with status ${command.status}`);
  }
  return { writes, nsPerWrite, eventsPerWrite: (events.fired - firedBefore) / (writes * rounds), virtualNs };
}
