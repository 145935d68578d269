// Network interfaces: struct net_device in RAM, on the list dev_base (net/core/dev.c, net/ethernet/eth.c of 2.6.9).
import { step, type Running } from "../../emulator/cpu/cpu.ts";
import { M, peekPtr, poke32, pokePtr } from "../abi/ram.ts";
import {
  ARPHRD_ETHER,
  IFF_BROADCAST,
  IFF_MULTICAST,
  IFF_RUNNING,
  IFF_UP,
  LINK_STATE,
  in_device,
  in_ifaddr,
  net_device,
  softnet_data,
} from "../abi/structs/net.ts";
import type { ViewOf } from "../abi/view.ts";
import { pokeString } from "../core/c-string.ts";
import { K, type Kernel } from "../core/kernel.ts";
import { kfunc, textAddressOf } from "../core/kfunc.ts";
import { INIT_LIST_HEAD } from "../core/list.ts";
import { DEFINE_PER_CPU } from "../core/percpu-data.ts";
import { Spinlock } from "../core/spinlock.ts";
import type { KmemCache } from "../mm/slab.ts";
import type { NetpollInfo } from "./netpoll.ts";
import type { SkBuff } from "./skbuff.ts";

export const softnet = DEFINE_PER_CPU("softnet_data", softnet_data);

export const NETDEV_TX_OK = 0;
export const NETDEV_TX_BUSY = 1;

/** What a driver supplies for its interface. */
export interface net_device_ops {
  /** Brings the interface up. Returns: 0 or a negative errno. Context: process. */
  readonly open: (dev: NetDevice) => Running<number>;
  /**
   * Hands a packet to the hardware. Returns: 0 when it is the driver's now; 1 when it must be offered again later.
   * Locks held: xmit_lock. Context: any. Must not: sleep; be called while the queue is stopped.
   */
  readonly hard_start_xmit: (skb: SkBuff, dev: NetDevice) => Running<number>;
  /**
   * Takes up to `budget` packets (and not more than dev.quota) from the hardware and gives them to netif_receive_skb.
   * Returns: how many were taken, and whether some are left, as [work, more]. Locks held: netpoll's poll_lock. Context: softirq, or
   * netpoll with interrupts off.
   */
  readonly poll: (dev: NetDevice, budget: number) => Running<readonly [work: number, more: boolean]>;
  /** Does what the interrupt handler would do. Locks held: none. Context: netpoll, interrupts off. Must not: sleep, wait for an interrupt. */
  readonly poll_controller?: (dev: NetDevice) => Running;
}

export class NetDevice {
  readonly name: string;
  readonly addr: number;
  readonly s: ViewOf<typeof net_device>;
  readonly ops: net_device_ops;
  readonly xmit_lock: Spinlock;
  /** The driver's own. */
  readonly priv: unknown;
  readonly pollList: number;
  npinfo: NetpollInfo | undefined;
  /** Six bytes, in RAM. */
  readonly devAddr: number;

  constructor(name: string, ops: net_device_ops, priv: unknown, weight: number) {
    this.name = name;
    this.ops = ops;
    this.priv = priv;
    this.addr = K.bootmem(K.sizeOf(net_device));
    const s = (this.s = K.view(net_device, this.addr));
    pokeString(s.name, name, 16);
    s.type = ARPHRD_ETHER;
    s.mtu = 1500;
    s.hard_header_len = 14;
    s.addr_len = 6;
    s.tx_queue_len = 1000;
    s.flags = IFF_BROADCAST | IFF_MULTICAST;
    s.state = LINK_STATE.PRESENT | LINK_STATE.NOCARRIER;
    s.xmit_lock_owner = -1;
    s.weight = weight;
    s.quota = weight;
    poke32(s.refcnt.addr, 1);
    M.u8.fill(0xff, s.broadcast, s.broadcast + 6);
    for (const [field, f] of Object.entries(ops)) {
      const at = this.addr + K.offsetOf(net_device, field);
      pokePtr(at, textAddressOf((f as unknown as { id?: number }).id ?? 0));
    }
    this.devAddr = s.dev_addr;
    this.xmit_lock = new Spinlock(s.xmit_lock.addr, `${name}.xmit_lock`);
    new Spinlock(s.queue_lock.addr, `${name}.queue_lock`);
    this.pollList = this.addr + K.offsetOf(net_device, "poll_list");
    INIT_LIST_HEAD(this.pollList);
  }

  get running(): boolean {
    return (this.s.state & LINK_STATE.START) !== 0;
  }

  get queueStopped(): boolean {
    return (this.s.state & LINK_STATE.XOFF) !== 0;
  }

  setState(bit: number): void {
    step(4);
    this.s.state = this.s.state | bit;
  }

  clearState(bit: number): void {
    step(4);
    this.s.state = this.s.state & ~bit;
  }

  stopQueue(): void {
    this.setState(LINK_STATE.XOFF);
  }

  /** Nobody queues packets above a driver here (no qdisc): who found the queue stopped looks again by itself. */
  wakeQueue(): void {
    if (this.queueStopped) this.clearState(LINK_STATE.XOFF);
  }

  get address(): Uint8Array {
    return M.u8.subarray(this.devAddr, this.devAddr + 6);
  }
}

/** The network layer's own state on a kernel. */
export interface Net {
  readonly devices: NetDevice[];
  readonly skbCache: KmemCache;
  readonly skbBytes: number;
  /** What each CPU has to poll, in its order; linked in RAM from per_cpu__softnet_data.poll_list. */
  readonly pollLists: NetDevice[][];
  /** netpoll's `trapped`: the address of the counter. */
  readonly trappedAt: number;
}

/** Puts an interface at the end of dev_base. Context: process. */
export function register_netdev(dev: NetDevice): void {
  const next = K.offsetOf(net_device, "next");
  let at = K.symbol("dev_base");
  let index = 1;
  for (let found = peekPtr(at); found !== 0; found = peekPtr(at)) {
    at = found + next;
    index++;
  }
  pokePtr(at, dev.addr);
  dev.s.ifindex = index;
  dev.s.iflink = index;
  K.net.devices.push(dev);
}

export const dev_get_by_name = (name: string): NetDevice | undefined =>
  K.net.devices.find((device) => device.name === name);

/** ifconfig up. Returns: 0 or a negative errno. Context: process. */
export const dev_open = kfunc("dev_open", function* (dev: NetDevice) {
  if ((dev.s.flags & IFF_UP) !== 0) return 0;
  dev.setState(LINK_STATE.START);
  const ret = yield* dev.ops.open(dev);
  if (ret !== 0) dev.clearState(LINK_STATE.START);
  else dev.s.flags = dev.s.flags | IFF_UP | IFF_RUNNING;
  return ret;
});

/** Gives an interface an IPv4 address: four bytes and the length of its prefix (devinet.c). */
export function inet_insert_ifa(
  k: Kernel,
  dev: ViewOf<typeof net_device>,
  ip: readonly number[],
  prefix: number,
): void {
  const inet = k.view(in_device, k.bootmem(k.sizeOf(in_device)));
  const address = k.view(in_ifaddr, k.bootmem(k.sizeOf(in_ifaddr)));
  dev.ip_ptr = inet.addr;
  inet.dev = dev.addr;
  inet.ifa_list = address.addr;
  poke32(inet.refcnt.addr, 1);
  address.ifa_dev = inet.addr;
  address.ifa_scope = ip[0] === 127 ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
  address.ifa_prefixlen = prefix;
  const mask = [0, 8, 16, 24].map((shift) => 0xff & (0xff << Math.max(0, Math.min(8, 8 - (prefix - shift)))));
  // Addresses lie in network byte order, whatever the machine's.
  const put = (field: string, bytes: readonly number[]): void =>
    M.u8.set(bytes, address.addr + k.offsetOf(in_ifaddr, field));
  put("ifa_local", ip);
  put("ifa_address", ip);
  put("ifa_mask", mask);
  let label = "";
  for (let i = 0; M.u8[dev.name + i] !== 0; i++) label += String.fromCharCode(M.u8[dev.name + i]!);
  pokeString(address.ifa_label, label, 16);
}

const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_HOST = 254;
