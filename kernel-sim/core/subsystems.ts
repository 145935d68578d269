// The rest of start_kernel(): what is set up once memory can be handed out, and before anything runs.
import { device_init } from "../block/majors.ts";
import { chrdev_init } from "../fs/char-dev.ts";
import { vfs_caches_init } from "../fs/vfs.ts";
import { proc_caches_init } from "../mm/process-memory.ts";
import { paging_init } from "../mm/page-tables.ts";
import { init_swap } from "../mm/swap.ts";
import { net_dev_init } from "../net/loopback.ts";
import type { Kernel } from "./kernel.ts";
import { init_load_average } from "./load-average.ts";
import { init_task_resources } from "./process.ts";
import { setup_arch } from "./setup.ts";
import { init_taint } from "./taint.ts";

export function init_subsystems(k: Kernel): void {
  device_init(k);
  chrdev_init(k);
  vfs_caches_init(k);
  proc_caches_init(k);
  setup_arch(k);
  init_taint(k);
  init_load_average(k);
  paging_init(k);
  init_swap(k);
  net_dev_init(k);
  init_task_resources(k);
}
