// The receiving half of 8139too: out of the ring, into packets (drivers/net/8139too.c of 2.6.9, with NAPI).
import { step } from "../../emulator/cpu/cpu.ts";
import { M } from "../../kernel-sim/abi/ram.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { local_irq_save, spin_lock, spin_unlock } from "../../kernel-sim/core/spinlock.ts";
import { GFP_ATOMIC } from "../../kernel-sim/mm/page-alloc.ts";
import { __netif_rx_complete, netif_receive_skb } from "../../kernel-sim/net/dev.ts";
import { ETH_HLEN, NET_IP_ALIGN } from "../../kernel-sim/net/headers.ts";
import type { NetDevice } from "../../kernel-sim/net/netdevice.ts";
import { alloc_skb, copyNs } from "../../kernel-sim/net/skbuff.ts";
import {
  INTR_MASK,
  MAX_ETH_FRAME_SIZE,
  RX_ACK_BITS,
  RX_BUF_LEN,
  private_of,
  type rtl8139_private,
} from "./driver-board.ts";
import { CR_BITS, ISR_BITS, RTL } from "./registers.ts";

const kfunc = moduleFunctions("8139too");

const RX_STATUS_OK = 1;

/** Clears the receive causes. */
function rtl8139_isr_ack(tp: rtl8139_private): void {
  const status = tp.chip.readw(RTL.ISR) & RX_ACK_BITS;
  if (status === 0) return;
  const { stats } = tp.s;
  if ((status & (ISR_BITS.FOVW | ISR_BITS.RXOVW)) !== 0) {
    stats.rx_errors = stats.rx_errors + 1;
    if ((status & ISR_BITS.FOVW) !== 0) stats.rx_fifo_errors = stats.rx_fifo_errors + 1;
  }
  tp.writewFlush(RX_ACK_BITS, RTL.ISR);
}

/** Takes at most `budget` packets out of the ring. Returns: how many; -1 after the receiver had to be started anew. */
const rtl8139_rx = kfunc("rtl8139_rx", function* (dev: NetDevice, budget: number) {
  const tp = private_of(dev);
  const { s, chip } = tp;
  const ring = s.rx_ring;
  let cur = s.cur_rx;
  let received = 0;
  while (dev.running && received < budget && (chip.readb(RTL.CR) & CR_BITS.BUFE) === 0) {
    const at = ring + (cur % RX_BUF_LEN);
    const header = M.view.getUint32(at, true);
    const size = header >>> 16;
    const bytes = size - 4;
    if (size > MAX_ETH_FRAME_SIZE + 4 || size < 8 || (header & RX_STATUS_OK) === 0) {
      s.stats.rx_errors = s.stats.rx_errors + 1;
      const on = chip.readb(RTL.CR);
      chip.writeb(on & ~CR_BITS.RE, RTL.CR);
      chip.writeb(on, RTL.CR);
      chip.writel(s.rx_config, RTL.RCR);
      s.cur_rx = 0;
      return -1;
    }
    const skb = yield* alloc_skb(bytes + NET_IP_ALIGN, GFP_ATOMIC);
    if (skb) {
      skb.dev = dev;
      skb.s.dev = dev.addr;
      skb.reserve(NET_IP_ALIGN);
      step(copyNs(bytes));
      const to = skb.put(bytes);
      M.u8.copyWithin(to, at + 4, at + 4 + bytes);
      skb.s.protocol = M.view.getUint16(to + 12);
      skb.pull(ETH_HLEN);
      dev.s.last_rx = K.time.jiffies;
      s.stats.rx_bytes = s.stats.rx_bytes + bytes;
      s.stats.rx_packets = s.stats.rx_packets + 1;
      yield* netif_receive_skb(skb);
    } else s.stats.rx_dropped = s.stats.rx_dropped + 1;
    received++;
    cur = (cur + size + 4 + 3) & ~3;
    chip.writew((cur - 16) & 0xffff, RTL.CAPR);
    rtl8139_isr_ack(tp);
  }
  if (received === 0) rtl8139_isr_ack(tp);
  s.cur_rx = cur;
  return received;
});

/** The softirq's part (NAPI). Locks: the board's rx_lock inside. */
export const rtl8139_poll = kfunc("rtl8139_poll", function* (dev: NetDevice, budget: number) {
  const tp = private_of(dev);
  const { chip } = tp;
  const most = Math.min(budget, dev.s.quota);
  let work = 0;
  let done = true;
  yield* spin_lock(tp.rx_lock);
  if ((chip.readw(RTL.ISR) & RX_ACK_BITS) !== 0) {
    work = yield* rtl8139_rx(dev, most);
    if (work > 0) {
      dev.s.quota = dev.s.quota - work;
      done = work < most;
    }
  }
  if (done) {
    // In this order: a packet may come while we think that we are done.
    const flags = local_irq_save();
    tp.writewFlush(INTR_MASK, RTL.IMR);
    __netif_rx_complete(dev);
    yield* tp.leaveIrqs(flags);
  }
  spin_unlock(tp.rx_lock);
  return [Math.max(0, work), !done] as const;
});
