// 8139too: the driver of the RTL8139 (drivers/net/8139too.c of 2.6.9 with NAPI and its poll_controller).
import { step } from "../../emulator/cpu/cpu.ts";
import { pciFunctions, type MmioWindow, type PciFunction } from "../../emulator/bus/mmio.ts";
import { M, peekPtr, pokePtr } from "../../kernel-sim/abi/ram.ts";
import { LINK_STATE } from "../../kernel-sim/abi/structs/net.ts";
import { SA_SHIRQ, disable_irq_nosync, enable_irq, request_irq } from "../../kernel-sim/core/irq.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { pci_alloc_consistent } from "../../kernel-sim/core/pci-dma.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { spin_lock, spin_lock_irqsave, spin_unlock } from "../../kernel-sim/core/spinlock.ts";
import { udelay } from "../../kernel-sim/core/timer.ts";
import { __netif_rx_schedule, netif_rx_schedule_prep } from "../../kernel-sim/net/dev.ts";
import { NETDEV_TX_OK, NetDevice, register_netdev, type net_device_ops } from "../../kernel-sim/net/netdevice.ts";
import { copyNs, dev_kfree_skb, type SkBuff } from "../../kernel-sim/net/skbuff.ts";
import {
  ETH_ZLEN,
  INTR_MASK,
  NORX_INTR_MASK,
  RX_ACK_BITS,
  RX_BUF_LEN,
  RX_BUF_PAD,
  RX_BUF_WRAP_PAD,
  RX_CONFIG,
  TX_BUF_SIZE,
  TX_CONFIG,
  TX_FLAG,
  WEIRD_BITS,
  private_of,
  rtl8139_private,
  type IrqManners,
} from "./driver-board.ts";
import { rtl8139_poll } from "./driver-rx.ts";
import { struct_rtl8139_private } from "./driver-structs.ts";
import {
  CR_BITS,
  CSCR_BITS,
  EEPROM_BITS,
  EEPROM_PROGRAM,
  ISR_BITS,
  MSR_BITS,
  RCR_BITS,
  RTL,
  RTL_DEVICE,
  RTL_VENDOR,
  TSD_BITS,
  TX_DESCRIPTORS,
} from "./registers.ts";

const kfunc = moduleFunctions("8139too");

const PCI_COMMAND = 0x04;
/** Ports, memory, bus master. */
const PCI_COMMAND_ENABLE = 0x7;

const NAPI_WEIGHT = 64;

/** A word of the EEPROM, bit by bit. Context: process. */
const read_eeprom = kfunc("read_eeprom", function* (chip: MmioWindow, location: number, addressBits: number) {
  const { EECS, EESK, EEDI, EEDO } = EEPROM_BITS;
  const drive = (bits: number): void => chip.writeb(EEPROM_PROGRAM | bits, RTL.CR9346);
  const command = location | (6 << addressBits);
  drive(0);
  drive(EECS);
  for (let i = 4 + addressBits; i >= 0; i--) {
    const data = (command & (1 << i)) !== 0 ? EEDI : 0;
    drive(EECS | data);
    chip.readb(RTL.CR9346);
    drive(EECS | data | EESK);
    chip.readb(RTL.CR9346);
  }
  drive(EECS);
  chip.readb(RTL.CR9346);
  let word = 0;
  for (let i = 16; i > 0; i--) {
    drive(EECS | EESK);
    chip.readb(RTL.CR9346);
    word = (word << 1) | ((chip.readb(RTL.CR9346) & EEDO) !== 0 ? 1 : 0);
    drive(EECS);
    chip.readb(RTL.CR9346);
    yield* udelay(0);
  }
  chip.writeb(0, RTL.CR9346);
  return word;
});

/** Returns: true when the chip has come out of its reset. */
const rtl8139_chip_reset = kfunc("rtl8139_chip_reset", function* (chip: MmioWindow) {
  chip.writeb(CR_BITS.RST, RTL.CR);
  for (let i = 1000; i > 0; i--) {
    if ((chip.readb(RTL.CR) & CR_BITS.RST) === 0) return true;
    yield* udelay(10);
  }
  return false;
});

/** Starts both halves with the ring and the descriptors empty. */
const rtl8139_hw_start = kfunc("rtl8139_hw_start", function* (dev: NetDevice) {
  const tp = private_of(dev);
  const { chip, s } = tp;
  yield* rtl8139_chip_reset(chip);
  chip.writeb(0xc0, RTL.CR9346);
  const { view } = M;
  chip.writel(view.getUint32(dev.devAddr, true), RTL.IDR0);
  chip.writel(view.getUint16(dev.devAddr + 4, true), RTL.IDR4);
  chip.writeb(CR_BITS.RE | CR_BITS.TE, RTL.CR);
  s.rx_config = RX_CONFIG | RCR_BITS.AB | RCR_BITS.APM;
  chip.writel(s.rx_config, RTL.RCR);
  chip.writel(TX_CONFIG, RTL.TCR);
  s.cur_rx = 0;
  chip.writeb(0, RTL.CR9346);
  chip.writel(s.rx_ring_dma, RTL.RBSTART);
  for (let i = 0; i < TX_DESCRIPTORS; i++) {
    chip.writel(
      s.tx_bufs_dma + (tp.txBuf(i) - peekPtr(s.addr + K.offsetOf(struct_rtl8139_private, "tx_bufs"))),
      RTL.TSAD0 + 4 * i,
    );
  }
  chip.writel(0, RTL.MPC);
  chip.writel(0, RTL.MAR0);
  chip.writel(0, RTL.MAR4);
  chip.writew(chip.readw(RTL.MULINT) & 0xf000, RTL.MULINT);
  tp.writewFlush(INTR_MASK, RTL.IMR);
});

/** ifconfig up. Returns: 0 or a negative errno. Context: process. */
const rtl8139_open = kfunc("rtl8139_open", function* (dev: NetDevice) {
  const tp = private_of(dev);
  const { s, pci_dev } = tp;
  const ret = yield* request_irq(dev.s.irq, (_irq, _devId) => rtl8139_interrupt(dev), SA_SHIRQ, dev.name, dev.addr);
  if (ret !== 0) return ret;
  s.tx_bufs = pci_alloc_consistent(pci_dev, TX_BUF_SIZE * TX_DESCRIPTORS);
  s.rx_ring = pci_alloc_consistent(pci_dev, RX_BUF_LEN + RX_BUF_PAD + RX_BUF_WRAP_PAD);
  s.tx_bufs_dma = s.tx_bufs;
  s.rx_ring_dma = s.rx_ring;
  s.cur_tx = 0;
  s.dirty_tx = 0;
  for (let i = 0; i < TX_DESCRIPTORS; i++) {
    pokePtr(tp.txBufAt + i * (M.word8 ? 8 : 4), s.tx_bufs + i * TX_BUF_SIZE);
  }
  s.tx_flag = TX_FLAG;
  yield* rtl8139_hw_start(dev);
  dev.clearState(LINK_STATE.XOFF);
  yield* rtl_check_media(dev);
  return 0;
});

/** Says what the cable is like, from the chip's own PHY. */
const rtl_check_media = kfunc("rtl_check_media", function* (dev: NetDevice) {
  const { chip } = private_of(dev);
  const partner = chip.readw(RTL.ANLPAR);
  if ((chip.readb(RTL.MSR) & MSR_BITS.LINKB) !== 0) {
    dev.setState(LINK_STATE.NOCARRIER);
    yield* printk(`${dev.name}: link down\n`, 6);
    return;
  }
  dev.clearState(LINK_STATE.NOCARRIER);
  const speed = (partner & 0x0180) !== 0 ? 100 : 10;
  const duplex = (partner & 0x0140) !== 0 ? "full" : "half";
  const lpa = partner.toString(16).toUpperCase().padStart(4, "0");
  yield* printk(`${dev.name}: link up, ${speed}Mbps, ${duplex}-duplex, lpa 0x${lpa}\n`, 6);
});

/**
 * Copies a packet into the next descriptor's buffer and hands it to the chip.
 * Returns: 0. Locks held: xmit_lock; the board's lock inside. Context: any. The queue must not be stopped.
 */
const rtl8139_start_xmit = kfunc("rtl8139_start_xmit", function* (skb: SkBuff, dev: NetDevice) {
  const tp = private_of(dev);
  const { s, chip } = tp;
  const entry = s.cur_tx % TX_DESCRIPTORS;
  const { len } = skb;
  if (len >= TX_BUF_SIZE) {
    s.stats.tx_dropped = s.stats.tx_dropped + 1;
    yield* dev_kfree_skb(skb);
    return NETDEV_TX_OK;
  }
  const buffer = tp.txBuf(entry);
  step(copyNs(len));
  // The chip does not pad.
  if (len < ETH_ZLEN) M.u8.fill(0, buffer, buffer + ETH_ZLEN);
  M.u8.copyWithin(buffer, skb.data, skb.data + len);
  yield* dev_kfree_skb(skb);
  const flags = yield* spin_lock_irqsave(tp.lock);
  chip.writel(s.tx_flag | Math.max(len, ETH_ZLEN), RTL.TSD0 + 4 * entry);
  chip.readl(RTL.TSD0 + 4 * entry);
  dev.s.trans_start = K.time.jiffies;
  s.cur_tx = s.cur_tx + 1;
  if (s.cur_tx - TX_DESCRIPTORS === s.dirty_tx) dev.stopQueue();
  spin_unlock(tp.lock);
  yield* tp.leaveIrqs(flags);
  return NETDEV_TX_OK;
});

/** Takes back the descriptors that the chip has sent. Locks held: the board's. */
const rtl8139_tx_interrupt = kfunc("rtl8139_tx_interrupt", function* (dev: NetDevice) {
  const { s, chip } = private_of(dev);
  const { stats } = s;
  let dirty = s.dirty_tx;
  for (; dirty !== s.cur_tx; dirty++) {
    const status = chip.readl(RTL.TSD0 + 4 * (dirty % TX_DESCRIPTORS));
    if ((status & (TSD_BITS.TOK | TSD_BITS.TUN | TSD_BITS.TABT)) === 0) break;
    if ((status & (TSD_BITS.OWC | TSD_BITS.TABT)) !== 0) {
      stats.tx_errors = stats.tx_errors + 1;
      if ((status & TSD_BITS.TABT) !== 0) {
        chip.writel(TX_CONFIG | 1, RTL.TCR);
        chip.writew(ISR_BITS.TER, RTL.ISR);
      }
    } else {
      stats.tx_bytes = stats.tx_bytes + (status & 0x7ff);
      stats.tx_packets = stats.tx_packets + 1;
    }
  }
  if (s.cur_tx - dirty > TX_DESCRIPTORS) {
    yield* printk(`${dev.name}: Out-of-sync dirty pointer, ${dirty} vs. ${s.cur_tx}.\n`, 3);
    dirty += TX_DESCRIPTORS;
  }
  if (dirty === s.dirty_tx) return;
  s.dirty_tx = dirty;
  dev.wakeQueue();
});

/** The rare causes. */
const rtl8139_weird_interrupt = kfunc(
  "rtl8139_weird_interrupt",
  function* (dev: NetDevice, status: number, link: boolean) {
    const { s, chip } = private_of(dev);
    const { stats } = s;
    stats.rx_missed_errors = stats.rx_missed_errors + chip.readl(RTL.MPC);
    chip.writel(0, RTL.MPC);
    if ((status & ISR_BITS.PUN_LinkChg) !== 0 && link) yield* rtl_check_media(dev);
    else if ((status & (ISR_BITS.PUN_LinkChg | ISR_BITS.RER)) !== 0) stats.rx_errors = stats.rx_errors + 1;
    if ((status & ISR_BITS.SERR) !== 0) yield* printk(`${dev.name}: PCI Bus error.\n`, 3);
  },
);

/** Returns: whether the interrupt was ours. Locks: the board's lock inside. Context: hardirq, or netpoll. */
const rtl8139_interrupt = kfunc("rtl8139_interrupt", function* (dev: NetDevice) {
  const tp = private_of(dev);
  const { chip } = tp;
  yield* spin_lock(tp.lock);
  const status = chip.readw(RTL.ISR);
  if ((status & INTR_MASK) === 0 || status === 0xffff) {
    spin_unlock(tp.lock);
    return status === 0xffff;
  }
  if (!dev.running) chip.writew(0, RTL.IMR);
  else {
    const link = (status & ISR_BITS.PUN_LinkChg) !== 0 && (chip.readw(RTL.CSCR) & CSCR_BITS.LinkChange) !== 0;
    const acknowledged = status & ~(RX_ACK_BITS | ISR_BITS.TER);
    if (acknowledged !== 0) chip.writew(acknowledged, RTL.ISR);
    if ((status & RX_ACK_BITS) !== 0 && netif_rx_schedule_prep(dev)) {
      tp.writewFlush(NORX_INTR_MASK, RTL.IMR);
      yield* __netif_rx_schedule(dev);
    }
    if ((status & WEIRD_BITS) !== 0) yield* rtl8139_weird_interrupt(dev, status, link);
    if ((status & (ISR_BITS.TOK | ISR_BITS.TER)) !== 0) {
      yield* rtl8139_tx_interrupt(dev);
      if ((status & ISR_BITS.TER) !== 0) chip.writew(ISR_BITS.TER, RTL.ISR);
    }
  }
  spin_unlock(tp.lock);
  return true;
});

/** Returns: nothing. Locks held: none. Context: netpoll, interrupts off. Must not: sleep. */
const rtl8139_poll_controller = kfunc("rtl8139_poll_controller", function* (dev: NetDevice) {
  yield* disable_irq_nosync(dev.s.irq);
  yield* rtl8139_interrupt(dev);
  yield* enable_irq(dev.s.irq);
});

const RTL8139_OPS: net_device_ops = {
  open: rtl8139_open,
  hard_start_xmit: rtl8139_start_xmit,
  poll: rtl8139_poll,
  poll_controller: rtl8139_poll_controller,
};

const rtl8139_init_one = kfunc("rtl8139_init_one", function* (pdev: PciFunction, index: number, manners: IrqManners) {
  pdev.writeConfig(PCI_COMMAND, 2, pdev.readConfig(PCI_COMMAND, 2) | PCI_COMMAND_ENABLE);
  const name = `eth${index}`;
  const tp = new rtl8139_private(name, pdev, manners);
  const { chip } = tp;
  if (chip.readl(RTL.TCR) === 0xffffffff) {
    yield* printk("8139too: Chip not responding, ignoring board\n", 3);
    return undefined;
  }
  yield* rtl8139_chip_reset(chip);
  const dev = new NetDevice(name, RTL8139_OPS, tp, NAPI_WEIGHT);
  const addressBits = (yield* read_eeprom(chip, 0, 8)) === 0x8129 ? 8 : 6;
  for (let i = 0; i < 3; i++) {
    const word = yield* read_eeprom(chip, i + 7, addressBits);
    M.view.setUint16(dev.devAddr + 2 * i, word, true);
  }
  dev.s.irq = pdev.readConfig(0x3c, 1);
  dev.s.base_addr = tp.s.mmio_addr;
  dev.s.priv = tp.s.addr;
  register_netdev(dev);
  const address = [...dev.address].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
  yield* printk(`${name}: RealTek RTL8139 at 0x${tp.s.mmio_addr.toString(16)}, ${address}, IRQ ${dev.s.irq}\n`, 6);
  return dev;
});

/** Probes every RTL8139 on the bus. Returns: their interfaces. Context: process. */
export const rtl8139_init_module = kfunc("rtl8139_init_module", function* (manners: IrqManners) {
  const devices: NetDevice[] = [];
  yield* printk("8139too Fast Ethernet driver 0.9.27\n", 6);
  for (const pdev of pciFunctions(K.machine.pci)) {
    if (pdev.readConfig(0x00, 2) !== RTL_VENDOR || pdev.readConfig(0x02, 2) !== RTL_DEVICE) continue;
    const dev = yield* rtl8139_init_one(pdev, devices.length, manners);
    if (dev) devices.push(dev);
  }
  return devices;
});

/** Puts the module's text and data into RAM; must come before rtl8139_init_module. Context: process or boot. */
export function loadRtl8139(): void {
  K.modules.load("8139too", 1024);
}
