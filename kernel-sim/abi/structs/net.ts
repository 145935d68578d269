// Network interfaces (include/linux/netdevice.h, inetdevice.h of 2.6.9), as far as a machine that only has lo needs them.
import { array, char, int, ptr, s16, struct, u16, u8, uint, ulong, voidPtr } from "../types.ts";
import type { CType } from "../types.ts";
import { atomic_t, hlist_node, spinlock_t } from "./base.ts";

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

export const sock_common = struct("sock_common", {
  skc_family: u16,
  skc_state: u8,
  skc_reuse: u8,
  skc_bound_dev_if: int,
  skc_node: hlist_node,
  skc_bind_node: hlist_node,
  skc_refcnt: atomic_t,
});
export const sock = struct(
  "sock",
  {
    __sk_common: sock_common,
    sk_shutdown: u8,
    sk_no_check: u8,
    sk_protocol: u8,
    sk_type: u8,
    sk_rcvbuf: int,
    sk_prot: voidPtr,
    sk_socket: ptr((): CType => socket),
    sk_user_data: voidPtr,
  },
  { doc: "the network's side of a socket (include/net/sock.h)" },
);
export const inet_opt = struct("inet_opt", {
  daddr: uint,
  rcv_saddr: uint,
  dport: u16,
  num: u16,
  saddr: uint,
  uc_ttl: int,
  tos: int,
  cmsg_flags: uint,
  sport: u16,
});
export const inet_sock = struct(
  "inet_sock",
  { sk: sock, inet: inet_opt },
  { doc: "an IPv4 socket (include/linux/ip.h)" },
);
export const socket = struct(
  "socket",
  {
    state: int,
    flags: ulong,
    ops: voidPtr,
    fasync_list: voidPtr,
    file: voidPtr,
    sk: ptr((): CType => sock),
    type: s16,
    passcred: u8,
  },
  { doc: "the user's side of a socket (include/linux/net.h)" },
);
