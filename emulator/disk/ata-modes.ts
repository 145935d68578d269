// What an ATA host has told its drive: transfer mode, multiple count, power. [ATA/ATAPI-6 8.37, table 44]
import { MAX_MWDMA_MODE, MAX_PIO_MODE, MAX_UDMA_MODE } from "./ata-identify.ts";

/** Data rates in bytes per second: multiword DMA 0-2, Ultra DMA 0-5. */
const MWDMA_RATE = [4_200_000, 13_300_000, 16_700_000] as const;
const UDMA_RATE = [16_700_000, 25_000_000, 33_300_000, 44_400_000, 66_700_000, 100_000_000] as const;
/** What a drive does before anybody has chosen. */
const POWER_ON_DMA = { kind: "mwdma", mode: 2 } as const;

export class AtaModes {
  /** Sectors in a DRQ block of the MULTIPLE commands; 0: they are not allowed. */
  multiple = 0;
  dma: { readonly kind: "mwdma" | "udma"; readonly mode: number } = POWER_ON_DMA;
  standby = false;
  /** SET FEATURES 66h: a software reset does not bring the defaults back. */
  keepsSettings = false;

  /** Power on. */
  reset(): void {
    this.keepsSettings = false;
    this.standby = false;
    this.multiple = 0;
    this.dma = POWER_ON_DMA;
  }

  /** SRST. The transfer mode stays, as Linux relies on for its recovery. */
  softReset(): void {
    this.standby = false;
    if (!this.keepsSettings) this.multiple = 0;
  }

  /** SET FEATURES 03h with this count. False for a mode that the drive cannot do. */
  selectTransfer(mode: number): boolean {
    const number = mode & 0x07;
    switch (mode >> 3) {
      case 0x00:
        return number <= 1;
      case 0x01:
        return number <= MAX_PIO_MODE;
      case 0x04:
        if (number > MAX_MWDMA_MODE) return false;
        this.dma = { kind: "mwdma", mode: number };
        return true;
      case 0x08:
        if (number > MAX_UDMA_MODE) return false;
        this.dma = { kind: "udma", mode: number };
        return true;
      default:
        return false;
    }
  }

  get dmaBytesPerSecond(): number {
    const { kind, mode } = this.dma;
    return (kind === "udma" ? UDMA_RATE[mode] : MWDMA_RATE[mode]) ?? 1;
  }
}
