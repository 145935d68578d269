// Network interfaces, packets and what netpoll keeps (include/linux/netdevice.h, skbuff.h, netpoll.h, inetdevice.h of 2.6.9 and
// RHEL 4), as far as a machine needs them that has lo and an Ethernet.
import { array, char, funcPtr, int, ptr, s16, struct, u16, u8, uint, ulong, voidPtr } from "../types.ts";
import type { CType } from "../types.ts";
import { atomic_t, hlist_node, listHead, spinlock_t } from "./base.ts";

/** net_device.type of the loopback interface (include/linux/if_arp.h). */
export const ARPHRD_LOOPBACK = 772;
export const ARPHRD_ETHER = 1;
export const IFF_UP = 0x1;
export const IFF_BROADCAST = 0x2;
export const IFF_LOOPBACK = 0x8;
export const IFF_RUNNING = 0x40;
export const IFF_MULTICAST = 0x1000;
/** Bits of net_device.state (enum netdev_state_t). */
export const LINK_STATE = {
  XOFF: 1 << 0,
  START: 1 << 1,
  PRESENT: 1 << 2,
  SCHED: 1 << 3,
  NOCARRIER: 1 << 4,
  RX_SCHED: 1 << 5,
};

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
    xmit_lock_owner: int,
    poll_list: listHead,
    quota: int,
    weight: int,
    trans_start: ulong,
    last_rx: ulong,
    open: funcPtr,
    hard_start_xmit: funcPtr,
    poll: funcPtr,
    poll_controller: funcPtr,
    npinfo: ptr((): CType => netpoll_info),
  },
  { doc: "a network interface (include/linux/netdevice.h); all of them from `dev_base`" },
);
/** net_device_stats, by the drivers (include/linux/netdevice.h). */
export const net_device_stats = struct("net_device_stats", {
  rx_packets: ulong,
  tx_packets: ulong,
  rx_bytes: ulong,
  tx_bytes: ulong,
  rx_errors: ulong,
  tx_errors: ulong,
  rx_dropped: ulong,
  tx_dropped: ulong,
  rx_fifo_errors: ulong,
  rx_missed_errors: ulong,
});
export const sk_buff_head = struct("sk_buff_head", {
  next: ptr((): CType => sk_buff),
  prev: ptr((): CType => sk_buff),
  qlen: uint,
  lock: spinlock_t,
});
export const sk_buff = struct(
  "sk_buff",
  {
    next: ptr((): CType => sk_buff),
    prev: ptr((): CType => sk_buff),
    list: ptr(() => sk_buff_head),
    dev: ptr(() => net_device),
    len: uint,
    data_len: uint,
    csum: uint,
    pkt_type: u8,
    ip_summed: u8,
    protocol: u16,
    users: atomic_t,
    truesize: uint,
    head: voidPtr,
    data: voidPtr,
    tail: voidPtr,
    end: voidPtr,
  },
  { doc: "a packet (include/linux/skbuff.h)" },
);
export const softnet_data = struct(
  "softnet_data",
  { throttle: int, completion_queue: ptr(() => sk_buff), poll_list: listHead },
  { doc: "what a CPU has to do for the network; per_cpu__softnet_data (include/linux/netdevice.h)" },
);
export const netpoll_info = struct(
  "netpoll_info",
  {
    poll_lock: spinlock_t,
    poll_owner: int,
    tries: int,
    rx_flags: int,
    rx_lock: spinlock_t,
    rx_np: ptr((): CType => netpoll),
    tx_backlog: sk_buff_head,
  },
  { doc: "what netpoll keeps of an interface (include/linux/netpoll.h of RHEL 4)" },
);
export const netpoll = struct(
  "netpoll",
  {
    dev: ptr(() => net_device),
    dev_name: array(char, 16),
    name: ptr(() => char),
    rx_hook: funcPtr,
    dump_func: funcPtr,
    local_ip: uint,
    remote_ip: uint,
    local_port: u16,
    remote_port: u16,
    local_mac: array(u8, 6),
    remote_mac: array(u8, 6),
  },
  { doc: "a client of netpoll: netdump (include/linux/netpoll.h of RHEL 4)" },
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
