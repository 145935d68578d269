// lo, the interface that every kernel has (drivers/net/loopback.c, net/core/dev.c, net/ipv4/devinet.c of 2.6.9).
import { M, poke32, pokePtr } from "../abi/ram.ts";
import {
  ARPHRD_LOOPBACK,
  IFF_LOOPBACK,
  IFF_RUNNING,
  IFF_UP,
  in_device,
  in_ifaddr,
  net_device,
} from "../abi/structs/net.ts";
import { ptr } from "../abi/types.ts";
import { pokeString } from "../core/c-string.ts";
import type { Kernel } from "../core/kernel.ts";
import { Spinlock } from "../core/spinlock.ts";

const RT_SCOPE_HOST = 254;

/** Addresses lie in network byte order, whatever the machine's. */
function pokeAddress(at: number, ...bytes: readonly number[]): void {
  bytes.forEach((byte, i) => (M.u8[at + i] = byte));
}

/** Registers lo and gives it 127.0.0.1/8. */
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
  const inet = k.view(in_device, k.bootmem(k.sizeOf(in_device)));
  const address = k.view(in_ifaddr, k.bootmem(k.sizeOf(in_ifaddr)));
  lo.ip_ptr = inet.addr;
  inet.dev = lo.addr;
  inet.ifa_list = address.addr;
  poke32(inet.refcnt.addr, 1);
  address.ifa_dev = inet.addr;
  address.ifa_scope = RT_SCOPE_HOST;
  address.ifa_prefixlen = 8;
  const at = (field: string): number => address.addr + k.offsetOf(in_ifaddr, field);
  pokeAddress(at("ifa_local"), 127, 0, 0, 1);
  pokeAddress(at("ifa_address"), 127, 0, 0, 1);
  pokeAddress(at("ifa_mask"), 255, 0, 0, 0);
  pokeString(address.ifa_label, "lo", 16);
}
