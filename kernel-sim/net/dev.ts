// Receiving: the softirq that polls interfaces, and where packets go from there (net/core/dev.c of 2.6.9, netdevice.h).
//
// There is no IP stack above: what is not netpoll's has been heard by nobody, and is freed.
import { cpu, step } from "../../emulator/cpu/cpu.ts";
import { LINK_STATE, softnet_data } from "../abi/structs/net.ts";
import { K } from "../core/kernel.ts";
import { kfunc, kleaf } from "../core/kfunc.ts";
import { list_add_tail, list_del } from "../core/list.ts";
import { NET_RX_SOFTIRQ, raise_softirq_irqoff } from "../core/softirq.ts";
import { local_irq_disable, local_irq_enable, local_irq_restore, local_irq_save } from "../core/spinlock.ts";
import { softnet, type NetDevice } from "./netdevice.ts";
import { netpoll_poll_lock, netpoll_poll_unlock, netpoll_rx } from "./netpoll.ts";
import { dev_kfree_skb, type SkBuff } from "./skbuff.ts";

/** netdev_max_backlog: packets in one run of the softirq. */
const BUDGET = 300;

export const pollListHead = (cpuId: number): number =>
  K.perCpuAreas.addressOf(softnet, cpuId) + K.offsetOf(softnet_data, "poll_list");

/** Marks an interface as to be polled. Returns: false when it is marked already. */
export const netif_rx_schedule_prep = kleaf("netif_rx_schedule_prep", (dev: NetDevice) => {
  step(4);
  if (!dev.running || (dev.s.state & LINK_STATE.RX_SCHED) !== 0) return false;
  dev.setState(LINK_STATE.RX_SCHED);
  return true;
});

/** Puts a marked interface on this CPU's list, and asks for the softirq. Context: any. */
export const __netif_rx_schedule = kfunc("__netif_rx_schedule", function* (dev: NetDevice) {
  const flags = local_irq_save();
  list_add_tail(dev.pollList, pollListHead(cpu.id));
  K.net.pollLists[cpu.id]!.push(dev);
  dev.s.quota = dev.s.quota < 0 ? dev.s.quota + dev.s.weight : dev.s.weight;
  raise_softirq_irqoff(NET_RX_SOFTIRQ);
  yield* local_irq_restore(flags);
});

/** Polling is over for now. Must be called with interrupts off. */
export const __netif_rx_complete = kleaf("__netif_rx_complete", (dev: NetDevice) => {
  list_del(dev.pollList);
  // Under netpoll that may be another CPU's list, as in C.
  for (const list of K.net.pollLists) {
    const at = list.indexOf(dev);
    if (at >= 0) list.splice(at, 1);
  }
  dev.clearState(LINK_STATE.RX_SCHED);
});

/** The softirq: polls what this CPU's list holds, each in its turn. */
export const net_rx_action = kfunc("net_rx_action", function* () {
  const list = K.net.pollLists[cpu.id]!;
  const started = K.time.jiffies;
  let budget = BUDGET;
  local_irq_disable();
  while (list.length > 0) {
    if (budget <= 0 || K.time.jiffies - started > 1) {
      raise_softirq_irqoff(NET_RX_SOFTIRQ);
      break;
    }
    yield* local_irq_enable();
    const dev = list[0]!;
    yield* netpoll_poll_lock(dev);
    const [work, more] = dev.s.quota <= 0 ? ([0, true] as const) : yield* dev.ops.poll(dev, budget);
    netpoll_poll_unlock(dev);
    local_irq_disable();
    budget -= work;
    if (more && list.includes(dev)) {
      list.splice(list.indexOf(dev), 1);
      list.push(dev);
      list_del(dev.pollList);
      list_add_tail(dev.pollList, pollListHead(cpu.id));
      dev.s.quota = dev.s.quota < 0 ? dev.s.quota + dev.s.weight : dev.s.weight;
    }
  }
  yield* local_irq_enable();
});

/** A driver has a packet, its Ethernet header seen to. Context: softirq, or netpoll with interrupts off. */
export const netif_receive_skb = kfunc("netif_receive_skb", function* (skb: SkBuff) {
  if (yield* netpoll_rx(skb)) return;
  yield* dev_kfree_skb(skb);
});
