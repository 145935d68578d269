// How much host time one I/O through the Fusion-MPT chip costs: registers in, target answers by one event, reply out.
import type { ScsiCommand, ScsiTarget } from "../../emulator/disk/scsi-command.ts";
import { type EventQueue, type TimerEvent, makeEvent } from "../../emulator/time/events.ts";
import { MPI, MPI_REPLY_EMPTY, MPT_MEMORY_BAR } from "../../hba/mptfusion/registers.ts";
import { REQUESTS, SpecHost } from "../../hba/mptfusion/spec-host.ts";

/** One event per command, answers GOOD with everything moved. Allocates nothing. */
class OneEventTarget implements ScsiTarget {
  readonly name = "bench";
  readonly present = true;
  private readonly events: EventQueue;
  private readonly queue: (ScsiCommand | undefined)[] = new Array<ScsiCommand | undefined>(256).fill(undefined);
  private head = 0;
  private tail = 0;
  private readonly event: TimerEvent;

  constructor(events: EventQueue) {
    this.events = events;
    this.event = makeEvent("bench-target", () => this.next());
  }

  submit(command: ScsiCommand): void {
    this.queue[this.tail++ & 255] = command;
    if (!this.event.armed) this.events.arm(this.event, this.events.now + 1000);
  }

  abort(): boolean {
    return false;
  }

  reset(): void {
    this.head = this.tail = 0;
  }

  private next(): void {
    const command = this.queue[this.head++ & 255]!;
    if (this.head !== this.tail) this.events.arm(this.event, this.events.now + 1000);
    command.transferred = command.dataLength;
    command.done(command);
  }
}

export interface MptIoResult {
  readonly ios: number;
  /** Nanoseconds of host time per I/O: two register accesses, fetch, target's event, reply and draining read. */
  readonly nsPerIo: number;
}

/** @param clockMs a monotonic clock in milliseconds; @param depth commands outstanding at a time (at most 64). */
export const benchMptIo = (ios: number, depth: number, clockMs: () => number): MptIoResult => {
  const host = new SpecHost({ variant: "53c1030" }).bringUp();
  const { chip } = host;
  const { events, memory } = host.machine;
  chip.attach(0, new OneEventTarget(events));
  for (let i = 0; i < depth; i++) {
    const frame = new DataView(memory.pool.u8.buffer, REQUESTS + i * 128, 128);
    host.fillIo(frame, i, { cdb: [0x2a, 0, 0, 0, 0, i, 0, 0, 32, 0], direction: "out", length: 16384 });
  }
  const batch = (): void => {
    for (let i = 0; i < depth; i++) chip.write(MPT_MEMORY_BAR, MPI.RequestFifo, 4, REQUESTS + i * 128);
    let answered = 0;
    while (answered < depth) {
      events.fireNext();
      while (chip.read(MPT_MEMORY_BAR, MPI.ReplyFifo, 4) !== MPI_REPLY_EMPTY) answered++;
    }
  };
  for (let i = 0; i < 20_000; i += depth) batch();
  const start = clockMs();
  let done = 0;
  for (; done < ios; done += depth) batch();
  return { ios: done, nsPerIo: ((clockMs() - start) * 1e6) / done };
};
