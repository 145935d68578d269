// `lkcd config`: the modules are loaded, the dump device is opened, and what the dump needs is allocated while that is possible.
import { K } from "../../../kernel-sim/core/kernel.ts";
import { bio_alloc, type Bio } from "../../../kernel-sim/block/bio.ts";
import { blkdev_get, type BlockDevice } from "../../../kernel-sim/block/gendisk.ts";
import { moduleFunctions } from "../../../kernel-sim/core/kfunc.ts";
import { printk } from "../../../kernel-sim/core/printk.ts";
import { GFP_KERNEL } from "../../../kernel-sim/mm/page-alloc.ts";
import { PAGE_SIZE } from "../../../kernel-sim/mm/page.ts";
import { LKCD_COMPRESS, lkcdArch } from "../../cores/lkcd-header.ts";
import { LEVEL_BITS } from "./configure-header.ts";
import { dump_execute } from "./execute.ts";
import { DUMP_BUFFER_BYTES, Lkcd, setLkcd } from "./lkcd.ts";
import type { LkcdOptions } from "./options.ts";
import { answer_from_init } from "./other-cpus.ts";
import { lkcd_data } from "./structs.ts";

const kfunc = moduleFunctions("dump");

/**
 * Configures LKCD for a device. Returns: its state, or what is wrong: "no layout" for a machine whose LKCD header is not known,
 * "no memory", or "no device". Context: process.
 */
export const init_lkcd = kfunc("dump_configure", function* (bdev: BlockDevice, options: LkcdOptions) {
  if (!lkcdArch(K.map.model)) return "no layout" as const;
  const module = K.modules.load("dump", { data: lkcd_data, exports: ["dump_execute", "dump_schedule"] });
  const pages = Math.min(K.flavour.block.pagesPerIo, DUMP_BUFFER_BYTES / PAGE_SIZE);
  const bios: Bio[] = [];
  while (bios.length * pages * PAGE_SIZE < DUMP_BUFFER_BYTES) {
    const bio = yield* bio_alloc(GFP_KERNEL, pages);
    if (!bio) return "no memory" as const;
    bios.push(bio);
  }
  if ((yield* blkdev_get(bdev)) !== 0) return "no device" as const;
  const lkcd = new Lkcd(K, module, bdev, bios, options);
  const { data } = lkcd;
  data.dump_level = LEVEL_BITS[options.level];
  data.dump_compress = LKCD_COMPRESS[options.compress];
  data.dump_device = bdev.s.bd_dev;
  data.dump_okay = 1;
  setLkcd(K, lkcd);
  K.crashdump.lkcd = (regs) => dump_execute(lkcd, regs);
  if (options.slavesAnswer) K.initSlaveCallback = (c, regs) => answer_from_init(lkcd, c, regs);
  yield* printk(`dump: configured for ${bdev.name}: level ${options.level}, compression ${options.compress}\n`, 6);
  return lkcd;
});
