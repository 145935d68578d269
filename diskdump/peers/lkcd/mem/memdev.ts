// Free memory as a dump device: the dump is kept there over a soft boot, and the next kernel writes it to a disk
// (drivers/dump/dump_memdev.c of LKCD on 2.5; the idea is Mission Critical Linux' mcore).
import { cpu, finished, halt, step, type Running } from "../../../../emulator/cpu/cpu.ts";
import { M } from "../../../../kernel-sim/abi/ram.ts";
import type { ViewOf } from "../../../../kernel-sim/abi/view.ts";
import { K } from "../../../../kernel-sim/core/kernel.ts";
import { printk } from "../../../../kernel-sim/core/printk.ts";
import { local_irq_disable } from "../../../../kernel-sim/core/spinlock.ts";
import { GFP_KERNEL, __get_free_pages } from "../../../../kernel-sim/mm/page-alloc.ts";
import { PAGE_SIZE } from "../../../../kernel-sim/mm/page.ts";
import { ENOSPC } from "../blockdev.ts";
import type { DumpDevice } from "../dump-device.ts";
import type { Lkcd } from "../lkcd.ts";
import { addSpace, appendIndirectMap, lookup, mapEntries, type Memdev } from "./map.ts";
import { kfunc } from "./module.ts";
import { dump_overlay_sequencer } from "./overlay.ts";
import { dump_overlay_resume, savedMemdev } from "./resume.ts";
import { SoftBootRecord, type SoftBootPlan } from "./soft-boot.ts";
import { dump_memdev_bss } from "./structs.ts";

/** DUMP_NR_BOOTSTRAP: pages that are space before any is free. */
const BOOTSTRAP_PAGES = 64;
const COPY_PAGE_NS = 1500;
const EEXIST = 17;

export class DumpMemdev implements DumpDevice {
  readonly name: string;
  readonly number = 0x14;
  readonly greeting = "Dumping to memory";
  readonly needsInterrupts = false;
  readonly startOffset = 0;
  readonly grainBytes = PAGE_SIZE;
  readonly failure = "the dump in memory failed";
  readonly bss: ViewOf<typeof dump_memdev_bss>;
  readonly memdev: Memdev;
  readonly plan: SoftBootPlan;
  readonly softBoot = new SoftBootRecord();
  /** Address of the dump_config_block. */
  readonly configAt: number;
  /** The first stage ran out of space. */
  full = false;
  private lkcd: Lkcd | undefined;

  constructor(plan: SoftBootPlan, bss: ViewOf<typeof dump_memdev_bss>, configAt: number) {
    this.name = plan.target;
    this.plan = plan;
    this.bss = bss;
    this.memdev = bss.memdev as unknown as Memdev;
    this.configAt = configAt;
    bss.dump_saved_config = configAt;
  }

  /** As the next kernel finds it: this one's variables go with its image. */
  savedMemdev(): Memdev {
    return savedMemdev(this.configAt);
  }

  attach(lkcd: Lkcd): void {
    this.lkcd = lkcd;
  }

  silence(): Running<number> {
    // "We can safely disable interrupts": nothing is going to wait for one before the next kernel.
    local_irq_disable();
    return finished(this.memdev.last_offset > this.memdev.last_bs_offset ? -EEXIST : 0);
  }
  write(from: number, bytes: number): Running<number> {
    return dump_mem_write(this, this.lkcd!, from, bytes);
  }
  ready(): Running<number> {
    return finished(0);
  }
  sequencer(): Running<number> {
    return dump_overlay_sequencer(this, this.lkcd!);
  }
  resume(): Running {
    return dump_overlay_resume(this, this.lkcd!);
  }
  /** A CPU that waits in schedule(): stops for good when the machine is to be booted. */
  standing(): Running {
    return this.bss.halt_cpus === 0 ? finished() : halt_this_cpu(this);
  }
}

const halt_this_cpu = kfunc("dump_halt_cpu", function* (dev: DumpMemdev) {
  local_irq_disable();
  dev.bss.halted = dev.bss.halted + 2 ** cpu.id;
  cpu.apic.disable();
  for (;;) yield* halt();
});

/** Data in whole pages, appended or written again. Returns: 0, or -ENOSPC when there is no page for it. */
const dump_mem_write = kfunc("dump_mem_write", function* (dev: DumpMemdev, lkcd: Lkcd, from: number, bytes: number) {
  const { data, outcome } = lkcd;
  const { memdev } = dev;
  if (data.dump_offset + bytes > memdev.last_offset) {
    yield* printk("Out of space to write\n", 4);
    dev.full = true;
    return -ENOSPC;
  }
  for (let done = 0; done < bytes; done += PAGE_SIZE) {
    step(COPY_PAGE_NS);
    const pfn = lookup(memdev, (data.dump_offset + done) / PAGE_SIZE)!;
    M.memory.copyPage(from + done, pfn * PAGE_SIZE);
  }
  data.dump_offset = data.dump_offset + bytes;
  memdev.last_used_offset = Math.max(memdev.last_used_offset, data.dump_offset);
  outcome.writesEnded++;
  return 0;
});

/** Makes the indirect maps and the first pages, and the page that the next kernel reads. Context: process. */
export const dump_mem_open = kfunc("dump_mem_open", function* (plan: SoftBootPlan) {
  const module = K.modules.load("dump_memdev", { data: 64, bss: dump_memdev_bss });
  const bss = K.view(dump_memdev_bss, module.bssAt);
  const block = yield* __get_free_pages(GFP_KERNEL, 0);
  if (block === 0) return "no memory" as const;
  const dev = new DumpMemdev(plan, bss, block);
  const { memdev } = dev;
  const maps = Math.floor(K.pages.maxPfn / mapEntries());
  let last = 0;
  for (let i = 0; i < maps || last === 0; i += mapEntries() - 1) {
    const map = yield* __get_free_pages(GFP_KERNEL, 0);
    if (map === 0) return "no memory" as const;
    appendIndirectMap(memdev, last, map);
    last = map;
  }
  memdev.curr_map = memdev.indirect_map_root;
  for (let i = 0; i < BOOTSTRAP_PAGES; i++) {
    const at = yield* __get_free_pages(GFP_KERNEL, 0);
    if (at === 0) return "no memory" as const;
    addSpace(memdev, at / PAGE_SIZE);
  }
  memdev.last_bs_offset = memdev.last_offset;
  dev.softBoot.bootstrapPages = memdev.last_offset / PAGE_SIZE;
  yield* printk(`dump memdev init: ${maps} maps, ${BOOTSTRAP_PAGES} bootstrap pgs\n`, 6);
  return dev;
});
