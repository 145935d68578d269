// A board as 8139too keeps it, and what the parts of the driver agree on (drivers/net/8139too.c of 2.6.9).
import type { Running } from "../../emulator/cpu/cpu.ts";
import type { MmioWindow, PciFunction } from "../../emulator/bus/mmio.ts";
import { M, peekPtr } from "../../kernel-sim/abi/ram.ts";
import type { ViewOf } from "../../kernel-sim/abi/view.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { Spinlock, local_irq_restore } from "../../kernel-sim/core/spinlock.ts";
import type { NetDevice } from "../../kernel-sim/net/netdevice.ts";
import { struct_rtl8139_private } from "./driver-structs.ts";
import { ISR_BITS, RCR_BITS, RTL_MEMORY_BAR } from "./registers.ts";

export const RX_BUF_IDX = 2;
export const RX_BUF_LEN = 8192 << RX_BUF_IDX;
export const RX_BUF_PAD = 16;
/** The chip writes a packet that begins in the ring on behind its end. */
export const RX_BUF_WRAP_PAD = 2048;
export const TX_BUF_SIZE = 1536;
export const ETH_ZLEN = 60;
export const MAX_ETH_FRAME_SIZE = 1536;
/** FIFO threshold none, DMA unlimited. */
export const RX_CONFIG = (RX_BUF_IDX << 11) | RCR_BITS.WRAP | (7 << 13) | (7 << 8);
export const TX_CONFIG = (6 << 8) | (8 << 4);
/** 256 bytes in the FIFO before the first goes out. */
export const TX_FLAG = (256 << 11) & 0x003f0000;

export const RX_ACK_BITS = ISR_BITS.FOVW | ISR_BITS.RXOVW | ISR_BITS.ROK;
export const WEIRD_BITS = ISR_BITS.SERR | ISR_BITS.TimeOut | ISR_BITS.PUN_LinkChg | ISR_BITS.RER;
export const INTR_MASK = WEIRD_BITS | RX_ACK_BITS | ISR_BITS.TER | ISR_BITS.TOK;
export const NORX_INTR_MASK = WEIRD_BITS | ISR_BITS.TER | ISR_BITS.TOK;
/**
 * How the driver leaves interrupts after it has put a packet into the chip and after it has polled. 2.6.9 switches them on, whoever
 * called (spin_unlock_irq, local_irq_enable); later versions leave them as they were, because netpoll calls with interrupts off.
 */
export type IrqManners = "enable" | "restore";

export class rtl8139_private {
  readonly s: ViewOf<typeof struct_rtl8139_private>;
  readonly pci_dev: PciFunction;
  readonly chip: MmioWindow;
  readonly lock: Spinlock;
  readonly rx_lock: Spinlock;
  readonly manners: IrqManners;
  readonly txBufAt: number;

  constructor(name: string, pdev: PciFunction, manners: IrqManners) {
    const addr = K.bootmem(K.sizeOf(struct_rtl8139_private));
    const s = (this.s = K.view(struct_rtl8139_private, addr));
    this.pci_dev = pdev;
    this.chip = pdev.map(RTL_MEMORY_BAR);
    this.manners = manners;
    this.lock = new Spinlock(s.lock.addr, `${name}.lock`);
    this.rx_lock = new Spinlock(s.rx_lock.addr, `${name}.driver_rx_lock`);
    this.txBufAt = s.tx_buf;
    s.mmio_addr = (pdev.readConfig(0x10 + 4 * RTL_MEMORY_BAR, 4) & ~0xf) >>> 0;
  }

  txBuf(entry: number): number {
    return peekPtr(this.txBufAt + entry * (M.word8 ? 8 : 4));
  }

  /** RTL_W16_F: reading back makes sure that the write has arrived. */
  writewFlush(value: number, offset: number): void {
    this.chip.writew(value, offset);
    this.chip.readw(offset);
  }

  /** local_irq_enable(), or what the caller had. */
  leaveIrqs(flags: number): Running {
    return local_irq_restore(this.manners === "enable" ? 1 : flags);
  }
}

export const private_of = (dev: NetDevice): rtl8139_private => dev.priv as rtl8139_private;
