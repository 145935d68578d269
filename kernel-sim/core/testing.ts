// A small booted machine for specs of kernel code.
import { Machine } from "../../emulator/cpu/machine.ts";
import { PagePool } from "../../emulator/memory/pool.ts";
import { PhysicalMemory } from "../../emulator/memory/memory.ts";
import type { Running } from "../../emulator/cpu/cpu.ts";
import { X86_64_MAP } from "../abi/address-maps.ts";
import { bootKernel, runKernel, type BootOptions } from "./boot.ts";
import type { Kernel } from "./kernel.ts";

const MIB = 1 << 20;

export interface TestMachineOptions {
  readonly cpus?: number;
  readonly seed?: number;
  readonly ramMiB?: number;
  readonly flatMiB?: number;
  /** ia64's interrupt controllers. */
  readonly sapic?: boolean;
  readonly boot?: Partial<BootOptions>;
  readonly init?: () => Running;
}

/** A machine with a booted kernel: 2 CPUs, 64 MiB of RAM of which 24 MiB are the flat window. */
export function bootTestMachine(options: TestMachineOptions = {}): Kernel {
  const ram = (options.ramMiB ?? 64) * MIB;
  const pool = new PagePool((options.flatMiB ?? 24) * MIB, ram * 2 + 64 * MIB);
  const memory = new PhysicalMemory(pool, [
    { start: 0, end: 640 * 1024, type: "ram" },
    { start: 640 * 1024, end: MIB, type: "reserved" },
    { start: MIB, end: ram, type: "ram" },
  ]);
  const machine = new Machine({
    cpus: options.cpus ?? 2,
    seed: options.seed ?? 1,
    memory,
    sapic: options.sapic ?? false,
  });
  return bootKernel({
    machine,
    map: X86_64_MAP,
    release: "2.6.9-5.ELsmp",
    hz: 1000,
    bootArguments: { panicTimeoutSeconds: 0, panicOnOops: false, nmiWatchdog: false },
    ...(options.init ? { init: options.init } : {}),
    ...options.boot,
  });
}

/**
 * Runs a process of a booted kernel to its end. Throws when it does not end in time (virtual seconds): with the console's last
 * lines, and with what `witness` has to say.
 */
export function runToEnd(
  kernel: Kernel,
  program: () => Running,
  seconds = 300,
  witness: () => readonly string[] = () => [],
): void {
  const { machine, console } = kernel;
  if (!runKernel(kernel, program, seconds * 1e9)) {
    const tail = console.lines.slice(-8).map((line) => line.text);
    const why = `the program did not end: ${machine.stopReason ?? "time is up"}`;
    throw new Error([why, ...witness(), ...tail].join("\n"));
  }
  machine.stopReason = undefined;
}
