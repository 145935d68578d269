// Block majors and who answers for a block device number (drivers/block/genhd.c, drivers/base/map.c of 2.6.9).
import { peekPtr, pokePtr } from "../abi/ram.ts";
import { list_head } from "../abi/structs/base.ts";
import { MAX_PROBE_HASH, blk_major_name, kobj_map, probe } from "../abi/structs/devices.ts";
import { array, ptr } from "../abi/types.ts";
import { pokeString } from "../core/c-string.ts";
import { K, type Kernel } from "../core/kernel.ts";
import { INIT_LIST_HEAD } from "../core/list.ts";

const EBUSY = 16;

/** Device numbers in the kernel: major and minor in one word. */
export const MKDEV = (major: number, minor: number): number => major * 2 ** 20 + minor;
export const MAJOR = (dev: number): number => dev >>> 20;
export const MINOR = (dev: number): number => dev & 0xfffff;

/** Makes major_names, bdev_map and all_bdevs. Boot. */
export function device_init(k: Kernel): void {
  k.static(
    "major_names",
    array(
      ptr(() => blk_major_name),
      MAX_PROBE_HASH,
    ),
  );
  pokePtr(
    k.static(
      "bdev_map",
      ptr(() => kobj_map),
    ),
    k.bootmem(k.sizeOf(kobj_map)),
  );
  INIT_LIST_HEAD(k.static("all_bdevs", list_head));
}

/** Takes a major. Returns: 0, or -EBUSY when somebody has it. Context: process or boot. */
export function register_blkdev(major: number, name: string): number {
  let link = K.symbol("major_names") + (major % MAX_PROBE_HASH) * K.map.model.wordBytes;
  for (let at = peekPtr(link); at !== 0; at = peekPtr(link)) {
    const known = K.view(blk_major_name, at);
    if (known.major === major) return -EBUSY;
    link = at + K.offsetOf(blk_major_name, "next");
  }
  const entry = K.view(blk_major_name, K.bootmem(K.sizeOf(blk_major_name)));
  entry.major = major;
  pokeString(entry.addr + K.offsetOf(blk_major_name, "name"), name, 16);
  pokePtr(link, entry.addr);
  return 0;
}

/** The disk at `gendisk` answers for `range` device numbers from `dev` on: narrow ranges are asked first. */
export function blk_register_region(dev: number, range: number, gendisk: number): void {
  const map = peekPtr(K.symbol("bdev_map"));
  let link = map + K.offsetOf(kobj_map, "probes") + (MAJOR(dev) % MAX_PROBE_HASH) * K.map.model.wordBytes;
  for (let at = peekPtr(link); at !== 0 && K.view(probe, at).range < range; at = peekPtr(link)) link = at;
  const p = K.view(probe, K.bootmem(K.sizeOf(probe)));
  p.dev = dev;
  p.range = range;
  p.data = gendisk;
  p.next = peekPtr(link);
  pokePtr(link, p.addr);
}
