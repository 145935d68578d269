// The progress line of a long operation: "4096/261898    92 ETA |", once a second of the machine's time.
import { cpu } from "../../emulator/cpu/cpu.ts";
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { printk } from "../../kernel-sim/core/printk.ts";

const kfunc = moduleFunctions("diskdump");

/** RHEL prints five times a second; one is enough for a log that is kept. */
const INTERVAL_NS = 1e9;
const SPINNER = "/|\\-";

export class StatusLine {
  /** Lines printed since the operation began; a second each. */
  private lapse = 0;
  private printedAt = 0;

  begin(): void {
    this.lapse = 0;
    this.printedAt = cpu.clock;
  }

  get wasPrinted(): boolean {
    return this.lapse > 0;
  }

  isDue(): boolean {
    return cpu.clock - this.printedAt > INTERVAL_NS;
  }

  /** The line for `done` of `all`; counts it as printed. */
  text(done: number, all: number): string {
    this.printedAt = cpu.clock;
    this.lapse++;
    const eta = Math.floor((all / Math.max(1, done)) * this.lapse) - this.lapse;
    return `${Math.max(1, done)}/${all}    ${eta} ETA ${SPINNER[this.lapse & 3]}          \r`;
  }
}

export const print_status = kfunc("print_status", function* (line: StatusLine, done: number, all: number) {
  yield* printk(line.text(done, all), 4);
});

/** Wipes the line, if there was one. */
export const clear_status = kfunc("clear_status", function* (line: StatusLine) {
  if (line.wasPrinted) yield* printk("                                       \r", 4);
});

export const print_last_status = kfunc("print_last_status", function* (done: number, all: number) {
  yield* printk(`${done}/${all}                        \n`, 4);
});
