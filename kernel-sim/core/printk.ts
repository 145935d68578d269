// printk: into the log_buf ring in RAM, and to the console (kernel/printk.c of 2.6.9).
import { cpu, giveWay, mustGiveWay, step } from "../../emulator/cpu/cpu.ts";
import { M, poke64, pokePtr, poke32 } from "../abi/ram.ts";
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

  constructor() {
    this.bufAt = K.static("__log_buf", array(char, LOG_BUF_BYTES));
    pokePtr(K.static("log_buf", charPtr), this.bufAt);
    poke32(K.static("log_buf_len", int), LOG_BUF_BYTES);
    this.endAt = K.static("log_end", ulong);
    this.logbufLock = new Spinlock(K.staticBytes("logbuf_lock", 8, 8), "logbuf_lock");
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
});

/** Breaks the log's lock open: an oops must get out. */
const zap_locks = kleaf("zap_locks", () => {
  force_unlock(K.console.logbufLock);
});

/** bust_spinlocks(1) before, (0) after an oops report. */
export const bust_spinlocks = kleaf("bust_spinlocks", (yes: number) => {
  K.console.oopsInProgress = yes !== 0;
});
