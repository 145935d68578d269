// printk: into the log_buf ring in RAM, and to the console (kernel/printk.c of 2.6.9).
import { cpu, giveWay, mustGiveWay, step, type Running } from "../../emulator/cpu/cpu.ts";
import { M, peek32, poke64, pokePtr, poke32 } from "../abi/ram.ts";
import { semaphore } from "../abi/structs/base.ts";
import { array, char, charPtr, int, ulong } from "../abi/types.ts";
import { K } from "./kernel.ts";
import { kfunc, kleaf } from "./kfunc.ts";
import { Spinlock, force_unlock, spin_lock_irqsave, spin_unlock_irqrestore } from "./spinlock.ts";

const NEWLINE = 10;

export interface ConsoleLine {
  /** Nanoseconds since power-on. */
  readonly ns: number;
  readonly cpu: number;
  readonly text: string;
}

/** CONFIG_LOG_BUF_SHIFT 17 */
export const LOG_BUF_BYTES = 1 << 17;
/** Formatting and the ring: per character; the console itself writes to a buffered device. */
const CHARACTER_NS = 12;
/** Characters between two preemption points: a long message must not hold up the other CPUs' time. */
const PIECE = 64;
const ZAP_INTERVAL_NS = 30e9;
/** KERN_WARNING: the level of messages that name none. */
const DEFAULT_LEVEL = 4;

export class Console {
  readonly lines: ConsoleLine[] = [];
  onLine: ((line: ConsoleLine) => void) | undefined;
  readonly logbufLock: Spinlock;
  private readonly bufAt: number;
  private readonly endAt: number;
  private end = 0;
  private partial = "";
  private atLineStart = true;
  /** oops_in_progress: the log's lock is broken open rather than waited for. */
  oopsInProgress = false;
  /** Consoles beside the one that `lines` is: each writes what log_buf has got since it was last called. */
  readonly drivers: (() => Running)[] = [];
  private readonly semaphoreAt: number;
  zapAgainAt = 0;

  constructor() {
    this.bufAt = K.static("__log_buf", array(char, LOG_BUF_BYTES));
    pokePtr(K.static("log_buf", charPtr), this.bufAt);
    poke32(K.static("log_buf_len", int), LOG_BUF_BYTES);
    this.endAt = K.static("log_end", ulong);
    this.logbufLock = new Spinlock(K.staticBytes("logbuf_lock", 8, 8), "logbuf_lock");
    this.semaphoreAt = K.static("console_sem", semaphore);
    poke32(this.semaphoreAt, 1);
  }

  /** Bytes that log_buf has got so far: log_end. */
  get logEnd(): number {
    return this.end;
  }

  /** The bytes number `from` to `to` of the log, of which log_buf still holds the last 128 KiB. */
  logBytes(from: number, to: number): Uint8Array {
    return Uint8Array.from({ length: to - from }, (_, i) => M.u8[this.bufAt + ((from + i) & (LOG_BUF_BYTES - 1))]!);
  }

  /** down_trylock(&console_sem): who has it prints what others leave in log_buf. */
  tryTake(): boolean {
    step(4);
    if (peek32(this.semaphoreAt) !== 1) return false;
    poke32(this.semaphoreAt, 0);
    return true;
  }

  giveBack(): void {
    step(4);
    poke32(this.semaphoreAt, 1);
  }

  private store(character: number): void {
    M.u8[this.bufAt + (this.end & (LOG_BUF_BYTES - 1))] = character;
    this.end++;
  }

  /** Puts text into the ring (with its level) and completed lines on the console. */
  emit(level: number, text: string): void {
    for (let i = 0; i < text.length; i++) {
      // The level stands at the start of each line, not of each call.
      if (this.atLineStart) for (let j = 0; j < 3; j++) this.store("<0>".charCodeAt(j) + (j === 1 ? level : 0));
      const character = text.charCodeAt(i);
      this.store(character);
      this.atLineStart = character === NEWLINE;
    }
    if (M.word8) poke64(this.endAt, this.end);
    else poke32(this.endAt, this.end);
    for (const piece of text.split(/([\r\n])/)) {
      if (piece === "\n") {
        const line = { ns: cpu.clock, cpu: cpu.id, text: this.partial };
        this.partial = "";
        this.lines.push(line);
        this.onLine?.(line);
      } else if (piece === "\r") {
        // A line that is printed over: the screen keeps the last one, log_buf has them all.
        this.partial = "";
      } else this.partial += piece;
    }
  }
}

export function init_console(): void {
  K.console = new Console();
}

/**
 * Prints a message; `text` usually ends in a newline. Context: any. Locks: logbuf_lock, irqs off inside.
 * @param level 0 (emergency) .. 7 (debug); 4 when not given, as in C
 */
export const printk = kfunc("printk", function* (text: string, level: number) {
  const { console } = K;
  if (console.oopsInProgress && console.logbufLock.isHeld) zap_locks();
  const flags = yield* spin_lock_irqsave(console.logbufLock);
  for (let at = 0; at < text.length; at += PIECE) {
    const piece = text.slice(at, at + PIECE);
    step(piece.length * CHARACTER_NS);
    console.emit(level ?? DEFAULT_LEVEL, piece);
    if (mustGiveWay()) yield* giveWay(cpu);
  }
  yield* spin_unlock_irqrestore(console.logbufLock, flags);
  if (console.drivers.length === 0) return;
  if (console.oopsInProgress) zap_console_sem();
  yield* call_console_drivers();
});

/** Lets every console write what is new. Where somebody is at it already, he does it. Context: any. Sleeps never. */
const call_console_drivers = kfunc("call_console_drivers", function* () {
  const { console } = K;
  if (!console.tryTake()) return;
  let seen: number;
  do {
    seen = console.logEnd;
    for (const write of console.drivers) yield* write();
  } while (console.logEnd !== seen);
  console.giveBack();
});

/** Breaks the log's lock open: an oops must get out. */
const zap_locks = kleaf("zap_locks", () => {
  force_unlock(K.console.logbufLock);
});

/** The same for the consoles: whoever was at it will not come back. Not again before 30 s have passed. */
const zap_console_sem = kleaf("zap_console_sem", () => {
  const { console } = K;
  if (cpu.clock < console.zapAgainAt) return;
  console.zapAgainAt = cpu.clock + ZAP_INTERVAL_NS;
  console.giveBack();
});

/** bust_spinlocks(1) before, (0) after an oops report. */
export const bust_spinlocks = kleaf("bust_spinlocks", (yes: number) => {
  K.console.oopsInProgress = yes !== 0;
});
