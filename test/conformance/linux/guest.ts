// A Linux guest: a PC without disks of its own, run on virtual time and talked to over its serial line.
import { readFileSync } from "node:fs";
import { Board } from "./board.ts";
import { GuestBus, GuestHost } from "./guest-bus.ts";
import { GuestMemory } from "./guest-memory.ts";
import { DONE_MARK, READY } from "./initramfs.ts";
import type { LinuxFiles } from "./packages.ts";
import { RegisterLog } from "./register-log.ts";
import { loadV86, type LoadedV86, type V86Options } from "./v86.ts";
import { VirtualClock } from "./virtual-clock.ts";

const MEMORY_BYTES = 256 * 2 ** 20;
const NS_PER_MS = 1_000_000;
/** One count of the PC's timer chip. */
const LEAST_SLEEP_NS = 839;
const NS_PER_S = 1_000_000_000;
/** Virtual time that a command may take before it counts as hung. */
const COMMAND_LIMIT_S = 120;
const BOOT_LIMIT_S = 120;
/** One processor, no ACPI, a trusted clock, nothing that waits for entropy or for a missing disk's BIOS. */
export const COMMAND_LINE =
  "console=ttyS0 tsc=reliable mitigations=off nosmp noapic nolapic acpi=off edd=off random.trust_cpu=on cryptomgr.notests";

export interface Snapshot {
  readonly state: ArrayBuffer;
  /** Virtual time at which it was taken. */
  readonly ns: number;
  /** The configuration space of what is ours on its board. */
  readonly board: Uint8Array;
}

export interface CommandResult {
  readonly status: number;
  /** What the command printed, lines ended by "\n", without the last line's end. */
  readonly output: string;
}

const bytesOf = (file: string): ArrayBuffer => {
  const bytes = readFileSync(file);
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
};

export class Guest {
  readonly clock: VirtualClock;
  readonly log = new RegisterLog();
  readonly bus: GuestBus;
  readonly host: GuestHost;
  readonly board: Board;
  /** Everything that came over the serial line. */
  transcript = "";
  private readonly loaded: LoadedV86;
  private line = "";
  private pendingTick = 0;
  private sleepMs = 0;

  private constructor(clock: VirtualClock, bus: GuestBus, log: RegisterLog, loaded: LoadedV86) {
    this.clock = clock;
    this.bus = bus;
    this.log = log;
    this.loaded = loaded;
    const { emulator } = loaded;
    this.host = new GuestHost(new GuestMemory(emulator.v86.cpu, MEMORY_BYTES));
    bus.start(emulator.v86.cpu, this.host);
    this.board = new Board(emulator.v86.cpu, this.host, bus);
    emulator.v86.yield = (sleepMs, tick) => {
      this.sleepMs = sleepMs;
      this.pendingTick = tick;
    };
    emulator.add_listener("serial0-output-byte", (byte: number) => {
      const character = String.fromCharCode(byte);
      this.transcript += character;
      this.line += character;
    });
    emulator.v86.run();
  }

  private static async make(files: LinuxFiles, startNs: number, more: Partial<V86Options>): Promise<Guest> {
    const clock = new VirtualClock(startNs);
    const log = new RegisterLog();
    const bus = new GuestBus(clock, log);
    const options = { memoryBytes: MEMORY_BYTES, bios: bytesOf(files.bios), vgaBios: bytesOf(files.vgaBios), ...more };
    return new Guest(clock, bus, log, await loadV86(options, clock, (imports) => bus.hook(imports)));
  }

  /** Switches a new guest on and waits until it takes commands. */
  static async boot(files: LinuxFiles, initrd: Uint8Array<ArrayBuffer>): Promise<Guest> {
    const guest = await Guest.make(files, 0, {
      kernel: bytesOf(files.kernel),
      initrd: initrd.buffer,
      commandLine: COMMAND_LINE,
    });
    guest.runUntil(() => guest.line.includes(`${READY}\n`), BOOT_LIMIT_S, "booting");
    return guest;
  }

  /** A guest as it was when `snapshot` was taken. */
  static async restore(files: LinuxFiles, snapshot: Snapshot): Promise<Guest> {
    const guest = await Guest.make(files, snapshot.ns, { state: snapshot.state });
    guest.board.configure(snapshot.board);
    return guest;
  }

  snapshot(): Snapshot {
    const { clock, board, loaded } = this;
    return { ns: clock.nowNs(), board: board.configuration(), state: loaded.emulator.v86.save_state() };
  }

  /** Types a command and waits for its end. Throws, with what the guest printed last, when it takes too long. */
  run(command: string, limitS = COMMAND_LIMIT_S): CommandResult {
    this.line = "";
    for (const byte of new TextEncoder().encode(`${command}\n`)) {
      this.loaded.emulator.bus.send("serial0-input", byte);
    }
    const end = new RegExp(`${DONE_MARK}(\\d+)\\n`);
    this.runUntil(() => end.test(this.line), limitS, command);
    const found = end.exec(this.line)!;
    return { status: Number(found[1]), output: this.line.slice(0, found.index).replace(/\n$/, "") };
  }

  /** Like `run`, for a command that must succeed: throws when it does not. Returns its output. */
  expect(command: string, limitS = COMMAND_LIMIT_S): string {
    const { status, output } = this.run(command, limitS);
    if (status !== 0) throw new Error(`guest: "${command}" ended with ${status}:\n${output}`);
    return output;
  }

  /** Lets the guest run for so much virtual time. */
  wait(ms: number): void {
    const end = this.clock.nowNs() + ms * NS_PER_MS;
    this.runUntil(() => this.clock.nowNs() >= end, Infinity, "waiting");
  }

  private runUntil(done: () => boolean, limitS: number, what: string): void {
    const { v86 } = this.loaded.emulator;
    const limit = this.clock.nowNs() + limitS * NS_PER_S;
    while (!done()) {
      if (this.clock.nowNs() > limit) {
        const said = this.transcript.slice(-600);
        const accesses = this.log.tail().slice(-8).join("\n  ");
        throw new Error(
          `guest: "${what}" is not done after ${limitS} s of virtual time.\nIt printed last:\n${said}\nIts last register accesses:\n  ${accesses}`,
        );
      }
      this.loaded.deliverTranslations();
      const before = this.clock.nowNs();
      v86.yield_callback(this.pendingTick);
      // A CPU that ran nothing is asleep. The timer chip may name no time, or one that its own counter rounds away.
      if (this.clock.nowNs() === before) {
        this.clock.jump(Math.max(LEAST_SLEEP_NS, Math.ceil(this.sleepMs * NS_PER_MS)));
      } else if (this.sleepMs > 0) this.clock.jump(Math.ceil(this.sleepMs * NS_PER_MS));
    }
  }
}
