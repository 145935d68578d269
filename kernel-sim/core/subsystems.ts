// The rest of start_kernel(): what is set up once memory can be handed out, and before anything runs.
import { paging_init } from "../mm/page-tables.ts";
import { init_swap } from "../mm/swap.ts";
import { net_dev_init } from "../net/loopback.ts";
import type { Kernel } from "./kernel.ts";
import { init_load_average } from "./load-average.ts";
import { setup_arch } from "./setup.ts";
import { init_taint } from "./taint.ts";

export function init_subsystems(k: Kernel): void {
  setup_arch(k);
  init_taint(k);
  init_load_average(k);
  paging_init(k);
  init_swap(k);
  net_dev_init(k);
}
