// netpoll: UDP without the network stack, without interrupts and without sleeping, for netdump and netconsole
// (net/core/netpoll.c and include/linux/netpoll.h of RHEL 4).
import { cpu, finished, step, type Running } from "../../emulator/cpu/cpu.ts";
import { M, peek32, poke32 } from "../abi/ram.ts";
import { ARPHRD_ETHER, LINK_STATE, netpoll as netpoll_struct, netpoll_info } from "../abi/structs/net.ts";
import type { ViewOf } from "../abi/view.ts";
import { pokeString } from "../core/c-string.ts";
import { passIdleRounds } from "../core/idle-poll.ts";
import { kernelString } from "../core/irq.ts";
import { K } from "../core/kernel.ts";
import { kfunc, kleaf } from "../core/kfunc.ts";
import { touch_nmi_watchdog } from "../core/nmi.ts";
import { printk } from "../core/printk.ts";
import {
  Spinlock,
  force_unlock,
  irqs_disabled,
  spin_is_locked,
  spin_lock,
  spin_lock_irqsave,
  spin_trylock,
  spin_unlock,
  spin_unlock_irqrestore,
} from "../core/spinlock.ts";
import { delayNs, msleep } from "../core/timer.ts";
import { GFP_ATOMIC } from "../mm/page-alloc.ts";
import { ETH_HLEN, IP_HLEN, NET_IP_ALIGN, UDP_HLEN, checkedUdp, csumNs, ip_compute_csum, udp_csum } from "./headers.ts";
import { NETDEV_TX_OK, dev_get_by_name, dev_open, type NetDevice } from "./netdevice.ts";
import {
  SkBuffHead,
  __kfree_skb,
  alloc_skb,
  copyNs,
  dev_kfree_skb,
  skb_dequeue,
  skb_queue_head,
  skb_queue_tail,
} from "./skbuff.ts";
import type { SkBuff } from "./skbuff.ts";

const MAX_UDP_CHUNK = 1460;
const MAX_SKBS = 32;
const MAX_RETRIES = 20_000;
const MAX_SKB_SIZE = MAX_UDP_CHUNK + UDP_HLEN + IP_HLEN + ETH_HLEN;
const RETRY_NS = 50_000;
/** Packets in one poll: more while dumping, so that requests are not dropped for want of room in the ring. */
const POLL_BUDGET = 16;
const DUMP_POLL_BUDGET = 64;
const NETPOLL_RX_ENABLED = 1;
const NETPOLL_RX_DROP = 2;

/** Four bytes of an address as one number. */
export const ipNumber = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);

export interface NetpollOptions {
  /** For messages: "netdump". */
  readonly name: string;
  readonly devName: string;
  readonly localIp: number;
  readonly remoteIp: number;
  readonly localPort: number;
  readonly remotePort: number;
  readonly remoteMac: Uint8Array;
  /** A datagram for this client has come: its port, and where its payload lies. Locks held: the interface's rx_lock. Context: any. */
  readonly rx_hook: (np: Netpoll, source: number, data: number, bytes: number) => Running;
}

/** A client of netpoll. */
export class Netpoll {
  readonly options: NetpollOptions;
  readonly s: ViewOf<typeof netpoll_struct>;
  dev: NetDevice | undefined;

  constructor(options: NetpollOptions) {
    this.options = options;
    const s = (this.s = K.view(netpoll_struct, K.bootmem(K.sizeOf(netpoll_struct))));
    pokeString(s.dev_name, options.devName, 16);
    s.name = kernelString(options.name);
    s.local_ip = options.localIp;
    s.remote_ip = options.remoteIp;
    s.local_port = options.localPort;
    s.remote_port = options.remotePort;
    M.u8.set(options.remoteMac, s.remote_mac);
  }
}

/** What netpoll keeps of an interface. */
export class NetpollInfo {
  readonly s: ViewOf<typeof netpoll_info>;
  readonly poll_lock: Spinlock;
  readonly rx_lock: Spinlock;
  readonly tx_backlog: SkBuffHead;
  rx_np: Netpoll | undefined;

  constructor(dev: NetDevice) {
    const addr = K.bootmem(K.sizeOf(netpoll_info));
    const s = (this.s = K.view(netpoll_info, addr));
    this.poll_lock = new Spinlock(s.poll_lock.addr, `${dev.name}.poll_lock`);
    this.rx_lock = new Spinlock(s.rx_lock.addr, `${dev.name}.rx_lock`);
    this.tx_backlog = new SkBuffHead(addr + K.offsetOf(netpoll_info, "tx_backlog"), `${dev.name}.tx_backlog.lock`);
    s.poll_owner = -1;
    s.tries = MAX_RETRIES;
    dev.s.npinfo = addr;
    dev.npinfo = this;
  }
}

/** The packets that are kept for when there is no memory: one pool for all (skbs, nr_skbs, skb_list_lock). */
class SkbPool {
  readonly lock: Spinlock;
  readonly skbs: SkBuff[] = [];
  private readonly countAt: number;

  constructor() {
    this.lock = new Spinlock(K.bootmem(64), "skb_list_lock");
    this.countAt = K.bootmem(64);
  }

  push(skb: SkBuff): void {
    skb.s.next = this.skbs.at(-1)?.addr ?? 0;
    this.skbs.push(skb);
    poke32(this.countAt, this.skbs.length);
  }

  pop(): SkBuff | undefined {
    const skb = this.skbs.pop();
    if (skb) skb.s.next = 0;
    poke32(this.countAt, this.skbs.length);
    return skb;
  }
}

const pools = new WeakMap<object, SkbPool>();
function pool(): SkbPool {
  let found = pools.get(K);
  if (!found) pools.set(K, (found = new SkbPool()));
  return found;
}

/** True while packets that are not netpoll's are thrown away. */
export const netpoll_trap = (): boolean => peek32(K.net.trappedAt) !== 0;

function addTrapped(by: number): void {
  step(4);
  poke32(K.net.trappedAt, (peek32(K.net.trappedAt) + by) >>> 0);
}

/** Bypasses the network stack: what comes is netpoll's or nobody's. */
export const netpoll_set_trap = kleaf("netpoll_set_trap", (trap: boolean) => addTrapped(trap ? 1 : -1));

/** For the softirq: nobody else polls this interface meanwhile. */
export function netpoll_poll_lock(dev: NetDevice): Running {
  return dev.npinfo ? takePollLock(dev.npinfo) : finished();
}

const takePollLock = kfunc("netpoll_poll_lock", function* (info: NetpollInfo) {
  yield* spin_lock(info.poll_lock);
  info.s.poll_owner = cpu.id;
});

export function netpoll_poll_unlock(dev: NetDevice): void {
  const { npinfo } = dev;
  if (!npinfo) return;
  npinfo.s.poll_owner = -1;
  spin_unlock(npinfo.poll_lock);
}

const refill_skbs = kfunc("refill_skbs", function* () {
  const spare = pool();
  const flags = yield* spin_lock_irqsave(spare.lock);
  while (spare.skbs.length < MAX_SKBS) {
    const skb = yield* alloc_skb(MAX_SKB_SIZE, GFP_ATOMIC);
    if (!skb) break;
    spare.push(skb);
  }
  yield* spin_unlock_irqrestore(spare.lock, flags);
});

/** A packet with `reserve` of `len` bytes left in front; tries for ever, polling. */
const find_skb = kfunc("find_skb", function* (np: Netpoll, len: number, reserve: number) {
  const spare = pool();
  touch_nmi_watchdog();
  for (let count = 0; ;) {
    if (spare.skbs.length < MAX_SKBS) yield* refill_skbs();
    let skb = yield* alloc_skb(len, GFP_ATOMIC);
    if (!skb) {
      const flags = yield* spin_lock_irqsave(spare.lock);
      skb = spare.pop();
      yield* spin_unlock_irqrestore(spare.lock, flags);
    }
    if (skb) {
      skb.reserve(reserve);
      return skb;
    }
    if (++count === 1_000_000) yield* printk("out of netpoll skbs!\n", 4);
    yield* netpoll_poll(np);
  }
});

/** Polls the packets that wait on an interface that is marked for it, unless somebody is at it. */
const poll_napi = kfunc("poll_napi", function* (dev: NetDevice, info: NetpollInfo) {
  const { s } = info;
  if ((dev.s.state & LINK_STATE.RX_SCHED) === 0 || s.poll_owner === cpu.id || !spin_trylock(info.poll_lock)) return;
  s.rx_flags = s.rx_flags | NETPOLL_RX_DROP;
  addTrapped(1);
  yield* dev.ops.poll(dev, K.netdumpMode ? DUMP_POLL_BUDGET : POLL_BUDGET);
  addTrapped(-1);
  s.rx_flags = s.rx_flags & ~NETPOLL_RX_DROP;
  spin_unlock(info.poll_lock);
});

export const netpoll_poll_dev = kfunc("netpoll_poll_dev", function* (dev: NetDevice) {
  const { npinfo } = dev;
  if (!npinfo || !dev.running || !dev.ops.poll_controller) return;
  yield* dev.ops.poll_controller(dev);
  yield* poll_napi(dev, npinfo);
  touch_nmi_watchdog();
});

/** Does the work of the interface's interrupt handler and of its softirq. Context: any. */
export const netpoll_poll = kfunc("netpoll_poll", function* (np: Netpoll) {
  if (np.dev) yield* netpoll_poll_dev(np.dev);
});

/**
 * Sends a packet, polling while the interface's queue is full. Gives up after 20000 tries without success, and leaves it in the
 * backlog. Context: any. Locks: xmit_lock inside, and what the driver takes; waits for other CPUs' locks for ever.
 */
export const netpoll_send_skb = kfunc("netpoll_send_skb", function* (skb: SkBuff) {
  const dev = skb.dev!;
  const info = dev.npinfo;
  if (!info || !dev.running || info.s.poll_owner === cpu.id) {
    yield* __kfree_skb(skb);
    return;
  }
  yield* skb_queue_tail(info.tx_backlog, skb);
  do {
    info.s.tries = info.s.tries - 1;
    if (!spin_trylock(dev.xmit_lock)) {
      // On this very CPU: whoever has it was interrupted by us.
      if (dev.s.xmit_lock_owner === cpu.id) return;
      yield* spin_lock(dev.xmit_lock);
    }
    dev.s.xmit_lock_owner = cpu.id;
    let sent = false;
    if (!dev.queueStopped) {
      sent = yield* send_backlog(dev, info);
    }
    dev.s.xmit_lock_owner = -1;
    spin_unlock(dev.xmit_lock);
    if (sent) {
      info.s.tries = MAX_RETRIES;
      return;
    }
    const start = cpu.clock;
    yield* netpoll_poll_dev(dev);
    yield* delayNs(RETRY_NS);
    // Each round is a try as well.
    if (dev.queueStopped && irqs_disabled()) info.s.tries = info.s.tries - passIdleRounds(start, Infinity);
  } while (info.s.tries > 0);
});

/** Returns: true when the driver took all that waits. */
const send_backlog = kfunc("netpoll_send_backlog", function* (dev: NetDevice, info: NetpollInfo) {
  for (;;) {
    const next = yield* skb_dequeue(info.tx_backlog);
    if (!next) return true;
    if ((yield* dev.ops.hard_start_xmit(next, dev)) !== NETDEV_TX_OK) {
      yield* skb_queue_head(info.tx_backlog, next);
      return false;
    }
    // The next packet finds a stopped queue: the driver does not expect it.
    if (dev.queueStopped) return info.tx_backlog.isEmpty;
  }
});

/**
 * Sends one datagram: `bytes` bytes that lie at `from` (physical, flat window), at most 1460.
 * Context: any. Locks: as netpoll_send_skb.
 */
export const netpoll_send_udp = kfunc("netpoll_send_udp", function* (np: Netpoll, from: number, bytes: number) {
  const dev = np.dev!;
  const total = ETH_HLEN + IP_HLEN + UDP_HLEN + bytes + NET_IP_ALIGN;
  const skb = yield* find_skb(np, total, total - bytes);
  step(copyNs(bytes));
  const payload = skb.put(bytes);
  M.u8.copyWithin(payload, from, from + bytes);
  const { view } = M;
  const { localIp, remoteIp, localPort, remotePort } = np.options;
  const udpBytes = UDP_HLEN + bytes;

  const udp = skb.push(UDP_HLEN);
  view.setUint16(udp, localPort);
  view.setUint16(udp + 2, remotePort);
  view.setUint16(udp + 4, udpBytes);
  view.setUint16(udp + 6, 0);
  step(csumNs(udpBytes));
  // Zero would say that there is no checksum.
  view.setUint16(udp + 6, udp_csum(udp, udpBytes, localIp, remoteIp) || 0xffff);

  const ip = skb.push(IP_HLEN);
  view.setUint16(ip, 0x4500);
  view.setUint16(ip + 2, IP_HLEN + udpBytes);
  view.setUint32(ip + 4, 0);
  view.setUint16(ip + 8, 0x4011);
  view.setUint16(ip + 10, 0);
  view.setUint32(ip + 12, localIp);
  view.setUint32(ip + 16, remoteIp);
  step(csumNs(IP_HLEN));
  view.setUint16(ip + 10, ip_compute_csum(ip, IP_HLEN));

  const eth = skb.push(ETH_HLEN);
  M.u8.copyWithin(eth, np.s.remote_mac, np.s.remote_mac + 6);
  M.u8.copyWithin(eth + 6, np.s.local_mac, np.s.local_mac + 6);
  view.setUint16(eth + 12, 0x0800);
  skb.dev = dev;
  skb.s.dev = dev.addr;
  yield* netpoll_send_skb(skb);
});

/** Offers a packet (its data begin behind the Ethernet header) to netpoll. Returns: true when it has been seen to, and freed. */
export function netpoll_rx(skb: SkBuff): Running<boolean> {
  const { npinfo } = skb.dev!;
  if (!npinfo || npinfo.s.rx_flags === 0) return finished(false);
  return receive(skb, npinfo);
}

const receive = kfunc("__netpoll_rx", function* (skb: SkBuff, info: NetpollInfo) {
  const flags = yield* spin_lock_irqsave(info.rx_lock);
  const np = info.rx_np;
  let mine = false;
  if (np && info.s.rx_flags !== 0 && skb.dev!.s.type === ARPHRD_ETHER) {
    step(csumNs(skb.len));
    const { localIp, remoteIp, localPort } = np.options;
    const datagram = checkedUdp(skb);
    mine =
      datagram !== undefined &&
      datagram.targetIp === localIp &&
      datagram.sourceIp === remoteIp &&
      datagram.targetPort === localPort;
    if (mine) yield* np.options.rx_hook(np, datagram!.sourcePort, datagram!.payload, datagram!.bytes);
  }
  const taken = mine || netpoll_trap();
  if (taken) yield* dev_kfree_skb(skb);
  yield* spin_unlock_irqrestore(info.rx_lock, flags);
  return taken;
});

/** Connects a client with its interface, bringing that up. Returns: 0, or -1 when it cannot be. Context: process. */
export const netpoll_setup = kfunc("netpoll_setup", function* (np: Netpoll) {
  const { name, devName } = np.options;
  const dev = dev_get_by_name(devName);
  if (!dev) {
    yield* printk(`${name}: ${devName} doesn't exist, aborting.\n`, 3);
    return -1;
  }
  if (!dev.ops.poll_controller) {
    yield* printk(`${name}: ${devName} doesn't support polling, aborting.\n`, 3);
    return -1;
  }
  const info = dev.npinfo ?? new NetpollInfo(dev);
  if (!dev.running) {
    yield* printk(`${name}: device ${devName} not up yet, forcing it\n`, 6);
    if ((yield* dev_open(dev)) < 0) {
      yield* printk(`${name}: failed to open ${devName}\n`, 3);
      return -1;
    }
    for (let waited = 0; waited < 4000 && (dev.s.state & LINK_STATE.NOCARRIER) !== 0; waited += 100) yield* msleep(100);
  }
  M.u8.copyWithin(np.s.local_mac, dev.devAddr, dev.devAddr + 6);
  np.dev = dev;
  np.s.dev = dev.addr;
  const flags = yield* spin_lock_irqsave(info.rx_lock);
  info.s.rx_flags = info.s.rx_flags | NETPOLL_RX_ENABLED;
  info.s.rx_np = np.s.addr;
  info.rx_np = np;
  yield* spin_unlock_irqrestore(info.rx_lock, flags);
  yield* refill_skbs();
  return 0;
});

/** True when a stopped CPU is in the interface's poll(): nobody else can poll it any more. */
export const netpoll_poll_locked = (np: Netpoll): boolean =>
  np.dev?.npinfo !== undefined && spin_is_locked(np.dev.npinfo.poll_lock);

/** After a crash: opens the locks that netpoll itself takes. The driver's own are not its business. */
export const netpoll_reset_locks = kleaf("netpoll_reset_locks", (np: Netpoll) => {
  force_unlock(pool().lock);
  force_unlock(np.dev!.xmit_lock);
});
