// The network layer at boot, and lo, the interface that every kernel has (drivers/net/loopback.c, net/core/dev.c of 2.6.9).
import { poke32, pokePtr } from "../abi/ram.ts";
import { ARPHRD_LOOPBACK, IFF_LOOPBACK, IFF_RUNNING, IFF_UP, net_device, sk_buff } from "../abi/structs/net.ts";
import { atomic_t } from "../abi/structs/base.ts";
import { ptr } from "../abi/types.ts";
import { pokeString } from "../core/c-string.ts";
import type { Kernel } from "../core/kernel.ts";
import { INIT_LIST_HEAD } from "../core/list.ts";
import { NET_RX_SOFTIRQ, open_softirq } from "../core/softirq.ts";
import { Spinlock } from "../core/spinlock.ts";
import { kmem_cache_create } from "../mm/slab.ts";
import { net_rx_action, pollListHead } from "./dev.ts";
import { inet_insert_ifa } from "./netdevice.ts";

/** Sets the layer up; registers lo and gives it 127.0.0.1/8. */
export function net_dev_init(k: Kernel): void {
  const head = k.static(
    "dev_base",
    ptr(() => net_device),
  );
  const lo = k.view(net_device, k.static("loopback_dev", net_device));
  pokeString(lo.name, "lo", 16);
  lo.ifindex = 1;
  lo.iflink = 1;
  lo.flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING;
  lo.mtu = 16436;
  lo.type = ARPHRD_LOOPBACK;
  lo.hard_header_len = 14;
  lo.addr_len = 6;
  poke32(lo.refcnt.addr, 1);
  new Spinlock(lo.xmit_lock.addr, "lo.xmit_lock");
  new Spinlock(lo.queue_lock.addr, "lo.queue_lock");
  pokePtr(head, lo.addr);
  inet_insert_ifa(k, lo, [127, 0, 0, 1], 8);
  const skbBytes = k.sizeOf(sk_buff);
  k.net = {
    devices: [],
    skbCache: kmem_cache_create("skbuff_head_cache", skbBytes),
    skbBytes,
    pollLists: k.machine.cpus.map(() => []),
    trappedAt: k.static("trapped", atomic_t),
  };
  for (const c of k.machine.cpus) INIT_LIST_HEAD(pollListHead(c.id));
  open_softirq(NET_RX_SOFTIRQ, net_rx_action);
}
