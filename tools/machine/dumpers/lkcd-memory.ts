// LKCD's memory method on a trial's machine: the disk that the next kernel writes to, and how it finds it.
import { finished, type Running } from "../../../emulator/cpu/cpu.ts";
import { dump_block_open } from "../../../diskdump/peers/lkcd/blockdev.ts";
import { dump_mem_open } from "../../../diskdump/peers/lkcd/mem/memdev.ts";
import { lookup_bdev } from "../../../kernel-sim/block/gendisk.ts";
import type { Lab } from "../lab.ts";
import { probe_adapters } from "./kdump.ts";
import type { OpenDevice } from "./lkcd.ts";

/** Returns: what makes the device in memory. */
export function lkcd_memory_of(lab: Lab): Running<OpenDevice> {
  const target = lab.scenario.dump.devices[0]!;
  const plan = {
    target,
    probe: () => probe_adapters(lab),
    open: () => {
      const bdev = lookup_bdev(target.replace("/dev/", ""));
      return bdev ? dump_block_open(bdev) : finished("no device" as const);
    },
  };
  return finished(() => dump_mem_open(plan));
}
