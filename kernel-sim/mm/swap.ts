// Swap (mm/swap_state.c, swapfile.c of 2.6.9): its variables as they are on a machine without a swap area.
import { address_space } from "../abi/structs/mm.ts";
import { MAX_SWAPFILES, swap_info_struct } from "../abi/structs/system.ts";
import { array, long, uint } from "../abi/types.ts";
import type { Kernel } from "../core/kernel.ts";
import { Spinlock } from "../core/spinlock.ts";

export function init_swap(k: Kernel): void {
  const swapper = k.view(address_space, k.static("swapper_space", address_space));
  new Spinlock(swapper.tree_lock.addr, "swapper_space.tree_lock");
  k.static("swap_info", array(swap_info_struct, MAX_SWAPFILES));
  k.static("nr_swapfiles", uint);
  k.static("nr_swap_pages", long);
  k.static("total_swap_pages", long);
}
