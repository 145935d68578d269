// What 8139too keeps of a board in RAM (struct rtl8139_private of drivers/net/8139too.c of 2.6.9).
import { spinlock_t } from "../../kernel-sim/abi/structs/base.ts";
import { net_device_stats } from "../../kernel-sim/abi/structs/net.ts";
import { array, int, struct, uint, ulong, voidPtr } from "../../kernel-sim/abi/types.ts";

export const struct_rtl8139_private = struct(
  "rtl8139_private",
  {
    mmio_addr: ulong,
    drv_flags: int,
    stats: net_device_stats,
    rx_ring: voidPtr,
    cur_rx: uint,
    tx_flag: uint,
    cur_tx: ulong,
    dirty_tx: ulong,
    tx_buf: array(voidPtr, 4),
    tx_bufs: voidPtr,
    rx_ring_dma: ulong,
    tx_bufs_dma: ulong,
    lock: spinlock_t,
    rx_lock: spinlock_t,
    chipset: int,
    rx_config: uint,
  },
  { doc: "an RTL8139 (drivers/net/8139too.c)" },
);
