// The first stage: what matters least is saved first, packed, and its pages become the room for what comes next
// (drivers/dump/dump_overlay.c). The second stage turns the order round.
import { cpu, giveWay, mustGiveWay, step } from "../../../../emulator/cpu/cpu.ts";
import { printk } from "../../../../kernel-sim/core/printk.ts";
import { touch_nmi_watchdog } from "../../../../kernel-sim/core/nmi.ts";
import { M } from "../../../../kernel-sim/abi/ram.ts";
import { DUMP_BUFFER_BYTES, type Lkcd } from "../lkcd.ts";
import { LKCD_LEVELS } from "../options.ts";
import { Filling, LOOK_NS, PACK_NS_PER_BYTE, PASSES, PIECE_NS, kindOf } from "../write-memory.ts";
import { check_and_free_page } from "./free-pages.ts";
import type { DumpMemdev } from "./memdev.ts";
import { kfunc } from "./module.ts";
import { configBlock } from "./resume.ts";

/** Returns: 0 or a negative errno; what has been saved until then stays. */
export const dump_overlay_sequencer = kfunc("dump_overlay_sequencer", function* (dev: DumpMemdev, lkcd: Lkcd) {
  const { data, options, pageSize } = lkcd;
  const config = configBlock(dev);
  const filling = new Filling(lkcd);
  data.dump_offset = lkcd.headerBytes;
  let error = 0;
  for (let pass = PASSES.length - 1; pass >= 0 && error === 0; pass--) {
    const kind = PASSES[pass]!;
    const save = pass <= LKCD_LEVELS.indexOf(options.level);
    const packNs = save ? PACK_NS_PER_BYTE[options.compress] * pageSize : 0;
    // Each pass begins with a page: the second stage finds it by its offset.
    const aligned = Math.ceil(filling.used / pageSize) * pageSize;
    M.u8.fill(0, lkcd.bufferAt + filling.used, lkcd.bufferAt + aligned);
    filling.used = aligned;
    config.setStart(pass, data.dump_offset + filling.used);
    for (const { first, count } of lkcd.ram) {
      for (let pfn = first; pfn < first + count && error === 0; pfn++) {
        step(LOOK_NS);
        // A page is a frame: a scenario with larger pages is refused.
        if (kindOf(pfn, 1) !== kind) continue;
        if (save) {
          for (let left = packNs; left > 0; left -= PIECE_NS) {
            step(Math.min(left, PIECE_NS));
            if (mustGiveWay()) yield* giveWay(cpu);
          }
          filling.add(pfn);
          data.dump_num_pages = data.dump_num_pages + 1;
          if (filling.used >= DUMP_BUFFER_BYTES) error = yield* flush(dev, lkcd, filling, DUMP_BUFFER_BYTES);
        }
        if (error === 0) check_and_free_page(dev.memdev, pfn);
        if (mustGiveWay()) yield* giveWay(cpu);
      }
    }
    config.setEnd(pass, error === 0 ? data.dump_offset + filling.used : data.dump_offset);
    yield* printk(`${save ? "saved" : "skipped"} pass ${pass}\n`, 6);
  }
  const rest = Math.ceil(filling.used / pageSize) * pageSize;
  if (error === 0 && rest > 0) error = yield* flush(dev, lkcd, filling, rest);
  lkcd.outcome.pagesWritten = data.dump_num_pages;
  return error;
});

const flush = kfunc(
  "dump_overlay_write_buffer",
  function* (dev: DumpMemdev, lkcd: Lkcd, filling: Filling, bytes: number) {
    touch_nmi_watchdog();
    const error = yield* dev.write(lkcd.bufferAt, bytes);
    if (error === 0) filling.emptied();
    return error;
  },
);
