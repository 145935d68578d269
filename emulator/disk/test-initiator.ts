// What the specs use in place of a host adapter: it sends descriptor blocks and waits for the answers.
import { PhysicalMemory } from "../memory/memory.ts";
import { PagePool } from "../memory/pool.ts";
import { EventQueue } from "../time/events.ts";
import { makeScsiCommand, type ScsiCommand } from "./scsi-command.ts";
import { ScsiDisk, type ScsiDiskOptions } from "./scsi-disk.ts";
import { SECTOR_SIZE } from "./timing.ts";

export interface Answer {
  readonly status: number;
  /** "06/29/01" when there is sense data, else "". */
  readonly sense: string;
  readonly senseBytes: Uint8Array;
  readonly transferred: number;
  readonly data: Uint8Array;
  /** Virtual time from submit to completion. */
  readonly tookNs: number;
}

const hex = (byte: number): string => byte.toString(16).padStart(2, "0");

export class TestInitiator {
  readonly events = new EventQueue();
  readonly pool = new PagePool(64 * 1024, 64 * 2 ** 20);
  readonly memory = new PhysicalMemory(this.pool, [{ start: 0, end: 32 * 2 ** 20, type: "ram" }]);
  readonly disk: ScsiDisk;
  private tags = 0;
  private nextBuffer = 0x10000;

  /** A disk that has already reported its power-on attention. */
  constructor(options: Partial<ScsiDiskOptions> = {}) {
    this.disk = new ScsiDisk(this.events, this.pool, { name: "sda", sizeBytes: 64 * 2 ** 20, ...options });
    this.disk.takeAttention();
  }

  /** A command record with its data in RAM, ready to be submitted. */
  prepare(cdb: readonly number[], data: { out?: Uint8Array; in?: number } = {}): ScsiCommand {
    const command = makeScsiCommand(this.memory, 4);
    command.cdb.set(cdb);
    command.cdbLength = cdb.length;
    command.tag = ++this.tags;
    const length = data.out?.length ?? data.in ?? 0;
    if (length > 0) {
      if (this.nextBuffer + length > this.memory.endOfRam) this.nextBuffer = 0x10000;
      command.segments[0]!.address = this.nextBuffer;
      command.segments[0]!.length = length;
      command.segmentCount = 1;
      command.dataLength = length;
      command.direction = data.out ? "out" : "in";
      if (data.out) this.memory.writeBytes(this.nextBuffer, data.out);
      this.nextBuffer = Math.ceil((this.nextBuffer + length) / 4096) * 4096;
    }
    return command;
  }

  /** Runs events until nothing is left or `until` says stop. */
  run(until: () => boolean = () => false): void {
    for (let fired = 0; this.events.nextAt < Infinity && !until(); fired++) {
      if (fired > 1_000_000) throw new Error("initiator: a million events without an end");
      this.events.fireNext();
    }
  }

  /** Lets virtual time pass, events included. */
  wait(ns: number): void {
    const until = this.events.now + ns;
    while (this.events.nextAt <= until) this.events.fireNext();
    this.events.now = until;
  }

  /** Sends a command and waits; undefined when no answer ever comes. */
  send(
    cdb: readonly number[],
    data: { out?: Uint8Array; in?: number } = {},
    change?: (command: ScsiCommand) => void,
  ): Answer | undefined {
    const command = this.prepare(cdb, data);
    change?.(command);
    let done = false;
    command.done = () => (done = true);
    const start = this.events.now;
    this.disk.submit(command);
    this.run(() => done);
    return done ? this.answerOf(command, start) : undefined;
  }

  answerOf(command: ScsiCommand, start = 0): Answer {
    const data = new Uint8Array(command.direction === "in" ? command.transferred : 0);
    if (data.length > 0) this.memory.readBytes(command.segments[0]!.address, data);
    const { sense } = command;
    return {
      status: command.status,
      sense: command.senseLength > 0 ? `${hex(sense[2]! & 0xf)}/${hex(sense[12]!)}/${hex(sense[13]!)}` : "",
      senseBytes: sense.slice(0, command.senseLength),
      transferred: command.transferred,
      data,
      tookNs: this.events.now - start,
    };
  }

  /** Like `send`, for tests that expect an answer. */
  ask(cdb: readonly number[], data: { out?: Uint8Array; in?: number } = {}): Answer {
    const answer = this.send(cdb, data);
    if (!answer) throw new Error(`initiator: no answer to ${cdb.map(hex).join(" ")}`);
    return answer;
  }

  read(lba: number, sectors: number): Answer {
    return this.ask(extent10(0x28, lba, sectors), { in: sectors * SECTOR_SIZE });
  }

  write(lba: number, bytes: Uint8Array): Answer {
    return this.ask(extent10(0x2a, lba, bytes.length / SECTOR_SIZE), { out: bytes });
  }
}

/** A ten-byte descriptor block with LBA and length. */
export const extent10 = (opcode: number, lba: number, sectors: number, flags = 0): number[] => [
  opcode,
  flags,
  (lba >>> 24) & 0xff,
  (lba >>> 16) & 0xff,
  (lba >>> 8) & 0xff,
  lba & 0xff,
  0,
  (sectors >> 8) & 0xff,
  sectors & 0xff,
  0,
];

/** Sectors filled with one byte. */
export const filled = (sectors: number, value: number): Uint8Array => new Uint8Array(sectors * SECTOR_SIZE).fill(value);
