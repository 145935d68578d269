// What the kernel's own idioms cost: each in a loop of its own on a booted machine, interrupts off, as in a dump.
import { cpu, finished, type Running } from "../../emulator/cpu/cpu.ts";
import { storePtr } from "../../kernel-sim/abi/ram.ts";
import { runKernel } from "../../kernel-sim/core/boot.ts";
import { kfunc, kleaf, kquick } from "../../kernel-sim/core/kfunc.ts";
import { Spinlock, spin_trylock, spin_unlock } from "../../kernel-sim/core/spinlock.ts";
import { bootTestMachine } from "../../kernel-sim/core/testing.ts";
import { median, type Row } from "./measure.ts";

const generator = kfunc("bench_generator", function* (a: number): Generator<void, number, void> {
  return a + 1;
});
const quick = kquick("bench_quick", (a: number): Running<number> => finished(a + 1));
const leaf = kleaf("bench_leaf", (a: number): number => a + 1);

/** Prices in ns; they inform, and have no goal. */
export function kernelRows(smoke: boolean): Row[] {
  const count = smoke ? 200_000 : 2_000_000;
  const k = bootTestMachine({ cpus: 1 });
  const lock = new Spinlock(k.bootmem(8), "bench_lock");
  const at = k.bootmem(64);
  const price = (name: string, detail: string, loop: () => Generator<void, void, void>): Row => ({
    name,
    detail,
    unit: " ns",
    ratio: median(3, () => {
      let ns = 0;
      const program = function* (): Generator<void, void, void> {
        cpu.interruptsEnabled = false;
        const start = process.hrtime.bigint();
        yield* loop();
        ns = Number(process.hrtime.bigint() - start) / count;
        cpu.interruptsEnabled = true;
      };
      runKernel(k, program, 1e12);
      return ns;
    }),
  });
  return [
    price("kernel function (kfunc)", "a generator body that need not give way", function* () {
      for (let i = 0; i < count; i++) yield* generator(i);
    }),
    price("kernel function (kquick)", "a plain body", function* () {
      for (let i = 0; i < count; i++) yield* quick(i);
    }),
    price("kernel function (kleaf)", "no preemption point", function* () {
      for (let i = 0; i < count; i++) leaf(i);
    }),
    price("spin_trylock and spin_unlock", "uncontended", function* () {
      for (let i = 0; i < count; i++) if (spin_trylock(lock)) spin_unlock(lock);
    }),
    price("store of a pointer", "a micro-step", function* () {
      for (let i = 0; i < count; i++) storePtr(at, at);
    }),
  ];
}
