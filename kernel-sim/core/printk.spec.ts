// Goal: log_buf in RAM holds what a log reader expects, and printing disturbs nobody else's time.
import { describe, expect, test } from "vitest";
import { busyFor, cpu } from "../../emulator/cpu/cpu.ts";
import { MAX_SKEW_NS, type Deadlock } from "../../emulator/cpu/machine.ts";
import { M, peekPtr } from "../abi/ram.ts";
import { bootTestMachine } from "./testing.ts";
import { runKernel } from "./boot.ts";
import { kernel_thread_on } from "./fork.ts";
import { K, type Kernel } from "./kernel.ts";
import { LOG_BUF_BYTES, bust_spinlocks, printk } from "./printk.ts";
import { spin_lock } from "./spinlock.ts";
import { msleep } from "./timer.ts";

/** The log as a reader of the dump finds it: from the symbols. */
function logText(k: Kernel): string {
  const at = peekPtr(k.symbol("log_buf"));
  const size = M.u32[k.symbol("log_buf_len") >>> 2]!;
  const end = M.u32[k.symbol("log_end") >>> 2]!;
  let text = "";
  for (let i = Math.max(0, end - size); i < end; i++) text += String.fromCharCode(M.u8[at + (i & (size - 1))]!);
  return text;
}

describe("the log", () => {
  test("has each line's level at its start, however the line was put together", () => {
    const k = bootTestMachine();
    runKernel(k, function* () {
      yield* printk("Call Trace:", 0);
      yield* printk("{panic+32} ", 0);
      yield* printk("{die+32}\n", 0);
      yield* printk("two\nlines\n", 6);
    });
    expect(logText(k).endsWith("\n<0>Call Trace:{panic+32} {die+32}\n<6>two\n<6>lines\n")).toBe(true);
    expect(k.console.lines.slice(-3).map(({ text }) => text)).toEqual([
      "Call Trace:{panic+32} {die+32}",
      "two",
      "lines",
    ]);
  });

  test("is a ring: the newest 128 KiB are there", () => {
    const k = bootTestMachine();
    const message = `${"x".repeat(99)}\n`;
    runKernel(k, function* () {
      for (let i = 0; i < 2000; i++) yield* printk(`${i} ${message}`, 6);
    });
    const text = logText(k);
    expect(text).toHaveLength(LOG_BUF_BYTES);
    expect(text.endsWith(`<6>1999 ${message}`)).toBe(true);
    expect(k.console.lines.at(-1)!.text).toBe(`1999 ${message.trimEnd()}`);
  });

  test("keeps lines whole when CPUs print at once, and a long line holds up no other CPU's time", () => {
    const k = bootTestMachine({ cpus: 4 });
    runKernel(k, function* () {
      for (let id = 0; id < 4; id++) {
        yield* kernel_thread_on(
          `t${id}`,
          function* () {
            for (let i = 0; i < 20; i++) {
              yield* printk(`${String(id).repeat(900)}\n`, 6);
              yield* busyFor(3000);
            }
          },
          id,
        );
      }
      yield* msleep(5);
    });
    const lines = k.console.lines.filter(({ text }) => text.length === 900);
    expect(lines).toHaveLength(80);
    for (const { text } of lines) expect(text).toBe(text[0]!.repeat(900));
    expect(k.machine.maxSkewNs).toBeLessThanOrEqual(MAX_SKEW_NS);
  });
});

describe("with logbuf_lock held by a frozen CPU", () => {
  function frozenPrinter(then: () => Generator<void, void, void>): { k: Kernel; found: Deadlock[] } {
    const k = bootTestMachine();
    const found: Deadlock[] = [];
    k.machine.onDeadlock = (deadlock) => {
      found.push(deadlock);
      k.machine.stopReason = "dead";
    };
    runKernel(k, function* () {
      yield* kernel_thread_on(
        "printer",
        function* () {
          yield* spin_lock(K.console.logbufLock);
          K.machine.stop(cpu);
          yield;
        },
        1,
      );
      yield* busyFor(1e6);
      yield* then();
    });
    return { k, found };
  }

  test("an ordinary message waits for ever, and that is known", () => {
    const { found } = frozenPrinter(function* () {
      yield* printk("lost\n", 4);
    });
    expect(found[0]).toMatchObject({ end: "frozen cpu", chain: [{ waitsFor: "logbuf_lock", heldBy: 1 }] });
  });

  test("an oops gets out", () => {
    const { k, found } = frozenPrinter(function* () {
      bust_spinlocks(1);
      yield* printk("Oops\n", 0);
    });
    expect(found).toEqual([]);
    expect(k.console.lines.at(-1)!.text).toBe("Oops");
  });
});
