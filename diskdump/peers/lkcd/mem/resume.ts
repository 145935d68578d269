// Between the stages: the dump is complete in memory; the others halt, and the machine boots without forgetting it.
import { LOST, cpu, type Cpu } from "../../../../emulator/cpu/cpu.ts";
import { bootKernel } from "../../../../kernel-sim/core/boot.ts";
import { M } from "../../../../kernel-sim/abi/ram.ts";
import { K } from "../../../../kernel-sim/core/kernel.ts";
import { printk } from "../../../../kernel-sim/core/printk.ts";
import { touch_nmi_watchdog } from "../../../../kernel-sim/core/nmi.ts";
import { delayNs } from "../../../../kernel-sim/core/timer.ts";
import { PAGE_SIZE } from "../../../../kernel-sim/mm/page.ts";
import type { Lkcd } from "../lkcd.ts";
import { relax, waitBegins } from "../relax.ts";
import { framesOf, type Memdev } from "./map.ts";
import type { DumpMemdev } from "./memdev.ts";
import { kfunc } from "./module.ts";
import { dump_init_stage2 } from "./stage2.ts";
import { DUMP_MAGIC_LIVE, dump_config_block, dump_memdev } from "./structs.ts";

/** The wait before the boot when panic_timeout says nothing. */
const BOOT_SECONDS = 10;

/** The page that the next kernel reads, as a view. */
export function configBlock(dev: DumpMemdev): {
  setStart(pass: number, offset: number): void;
  setEnd(pass: number, offset: number): void;
} {
  const at = dev.configAt;
  const write = (field: "pass_start" | "pass_end", pass: number, value: number): void =>
    M.memory.write64(at + K.offsetOf(dump_config_block, field) + pass * 8, value);
  return {
    setStart: (pass, offset) => write("pass_start", pass, offset),
    setEnd: (pass, offset) => write("pass_end", pass, offset),
  };
}

/** dump_save_config: what the next kernel has to know. */
function saveConfig(dev: DumpMemdev, lkcd: Lkcd): void {
  const at = dev.configAt;
  const to = at + K.offsetOf(dump_config_block, "memdev");
  M.u8.copyWithin(to, dev.memdev.addr, dev.memdev.addr + K.sizeOf(dump_memdev));
  const config = K.view(dump_config_block, at);
  config.header_len = lkcd.headerBytes;
  M.view.setBigUint64(at + K.offsetOf(dump_config_block, "magic"), DUMP_MAGIC_LIVE, true);
}

/** CPUs that neither wait for good nor stand in INIT's slave loop, from which they have answered. */
function online(dev: DumpMemdev, lkcd: Lkcd): Cpu[] {
  const { halted } = dev.bss;
  const slaves = lkcd.data.dump_init_slaves;
  return K.cpus.filter(
    (c) => c !== cpu && Math.floor(halted / 2 ** c.id) % 2 === 0 && Math.floor(slaves / 2 ** c.id) % 2 === 0,
  );
}

/** Ends the first stage. Does not return. Context: dump, interrupts off. */
export const dump_overlay_resume = kfunc("dump_overlay_resume", function* (dev: DumpMemdev, lkcd: Lkcd) {
  const { outcome, data } = lkcd;
  outcome.pagesWritten = data.dump_num_pages;
  yield* printk("saving dump config settings\n", 6);
  saveConfig(dev, lkcd);
  outcome.stage = "halt CPUs";
  dev.bss.halt_cpus = 1;
  waitBegins(lkcd);
  // Without any limit, as everything in here.
  while (online(dev, lkcd).length > 0) yield* relax(lkcd);
  outcome.stage = "soft boot";
  for (let i = 0; i < (K.boot.panicTimeoutSeconds || BOOT_SECONDS); i++) {
    touch_nmi_watchdog();
    yield* delayNs(1e9);
  }
  machine_kexec(dev, lkcd);
  throw LOST;
});

/** The next kernel's image lies where this one's does, its bss and boot memory are cleared; nothing else is. */
function machine_kexec(dev: DumpMemdev, lkcd: Lkcd): void {
  const old = lkcd.kernel;
  const { machine, map, release, hz, flavour } = old;
  const { memory, ioApic } = machine;
  const { configAt: block } = dev;
  const kept = keptFrames(block);
  const clear = (from: number, to: number): void => {
    for (let at = from; at < to; at += PAGE_SIZE) {
      if (kept.has(at / PAGE_SIZE) || memory.offsetForRead(at) < 0) continue;
      const place = memory.offsetForWrite(at);
      memory.pool.u8.fill(0, place, place + PAGE_SIZE);
    }
  };
  const { memMap, reservedEnd } = old.pages;
  clear(0, memory.flatBytes);
  if (memMap >= memory.flatBytes) clear(memMap, reservedEnd);
  for (let irq = 0; irq < ioApic.entries.length; irq++) ioApic.clear(irq);
  const boot = cpu;
  boot.apic.disable();
  boot.apic.enable();
  while (boot.apic.inService.length > 0) boot.apic.endOfInterrupt();
  boot.interruptsEnabled = true;
  const { softBoot } = dev;
  const kernel = bootKernel({
    ...{ machine, map, flavour, release, hz, bootCpu: boot.id, uniprocessor: true },
    bootArguments: { panicTimeoutSeconds: old.boot.panicTimeoutSeconds, panicOnOops: true, nmiWatchdog: false },
    bootSeconds: old.time.bootSeconds + Math.floor(boot.clock / 1e9),
    commandLine: `maxcpus=1 crashdump=0x${block.toString(16)}`,
    region: { start: 0, lowEnd: memory.flatBytes, e820: memory.map, reserved: [] },
    onMemory: () => crashdump_reserve(kept),
    init: () => dump_init_stage2(dev, block),
  });
  softBoot.kernel = kernel;
  // One serial line for both.
  kernel.console.onLine = (line) => {
    old.console.lines.push(line);
    old.console.onLine?.(line);
  };
}

/** The device as the block at `block` has it. */
export const savedMemdev = (block: number): Memdev =>
  K.view(dump_memdev, block + K.offsetOf(dump_config_block, "memdev")) as Memdev;

function keptFrames(block: number): Set<number> {
  const memdev = savedMemdev(block);
  return new Set([block / PAGE_SIZE, ...framesOf(memdev, memdev.last_used_offset / PAGE_SIZE)]);
}

/** Before the first page is handed out: what the dump lies in is nobody's. */
function crashdump_reserve(kept: ReadonlySet<number>): void {
  const frames = [...kept].sort((a, b) => a - b);
  for (let i = 0; i < frames.length;) {
    let end = i + 1;
    while (frames[end] === frames[end - 1]! + 1) end++;
    K.pages.reserveRange(frames[i]! * PAGE_SIZE, (frames[end - 1]! + 1) * PAGE_SIZE);
    i = end;
  }
}
