// Network interfaces (include/linux/netdevice.h, inetdevice.h of 2.6.9), as far as a machine that only has lo needs them.
import { array, char, int, ptr, struct, u16, u8, uint, ulong, voidPtr } from "../types.ts";
import type { CType } from "../types.ts";
import { atomic_t, spinlock_t } from "./base.ts";

/** net_device.type of the loopback interface (include/linux/if_arp.h). */
export const ARPHRD_LOOPBACK = 772;
export const IFF_UP = 0x1;
export const IFF_LOOPBACK = 0x8;
export const IFF_RUNNING = 0x40;

export const net_device = struct(
  "net_device",
  {
    name: array(char, 16),
    mem_end: ulong,
    mem_start: ulong,
    base_addr: ulong,
    irq: uint,
    state: ulong,
    next: ptr((): CType => net_device),
    init: voidPtr,
    ifindex: int,
    iflink: int,
    flags: u16,
    gflags: u16,
    mtu: uint,
    type: u16,
    hard_header_len: u16,
    priv: voidPtr,
    broadcast: array(u8, 32),
    dev_addr: array(u8, 32),
    addr_len: u8,
    promiscuity: int,
    allmulti: int,
    ip_ptr: ptr((): CType => in_device),
    tx_queue_len: ulong,
    xmit_lock: spinlock_t,
    queue_lock: spinlock_t,
    refcnt: atomic_t,
  },
  { doc: "a network interface (include/linux/netdevice.h); all of them from `dev_base`" },
);
export const in_device = struct(
  "in_device",
  { dev: ptr((): CType => net_device), refcnt: atomic_t, dead: int, ifa_list: ptr((): CType => in_ifaddr) },
  { doc: "what IPv4 keeps of an interface (include/linux/inetdevice.h)" },
);
export const in_ifaddr = struct(
  "in_ifaddr",
  {
    ifa_next: ptr((): CType => in_ifaddr),
    ifa_dev: ptr((): CType => in_device),
    ifa_local: uint,
    ifa_address: uint,
    ifa_mask: uint,
    ifa_broadcast: uint,
    ifa_anycast: uint,
    ifa_scope: u8,
    ifa_flags: u8,
    ifa_prefixlen: u8,
    ifa_label: array(char, 16),
  },
  { doc: "an IPv4 address in network byte order (include/linux/inetdevice.h)" },
);
