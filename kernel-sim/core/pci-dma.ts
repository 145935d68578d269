// Memory that a device reads and writes: the mapping calls of 2.6.9 (Documentation/DMA-mapping.txt).
//
// Bus addresses are physical addresses, and the devices of this machine see RAM as the CPUs do: a mapping costs nothing. A
// function whose device is emulated elsewhere has a DmaPort, which must hear of every piece of memory before the device does.
import type { PciFunction } from "../../emulator/bus/mmio.ts";
import { K } from "./kernel.ts";

/** enum dma_data_direction: which way data goes. */
export const PCI_DMA_BIDIRECTIONAL = 0;
export const PCI_DMA_TODEVICE = 1;
export const PCI_DMA_FROMDEVICE = 2;

/**
 * Memory for good that driver and device both see: descriptors, message frames.
 * Returns: its address for both (it lies below 4 GiB). Context: process, at probe.
 */
export function pci_alloc_consistent(pdev: PciFunction, bytes: number, align = 64): number {
  const address = K.bootmem(bytes, align);
  pdev.dma?.share(address, bytes);
  return address;
}

/** Hands `bytes` bytes to the device. Returns: the address that the device is to use. Context: any. */
export function pci_map_single(pdev: PciFunction, address: number, bytes: number): number {
  if (pdev.dma !== undefined) pdev.dma.lend(address, bytes);
  return address;
}

/** Takes back what pci_map_single handed over; from now on the CPU may read what the device wrote. Context: any. */
export function pci_unmap_single(pdev: PciFunction, address: number, bytes: number, direction: number): void {
  if (pdev.dma !== undefined) pdev.dma.giveBack(address, bytes, direction !== PCI_DMA_TODEVICE);
}

/**
 * A write barrier towards the device: for memory that it looks at by itself, without being told by a register. What was
 * written before is there when it sees what is written after. Context: any.
 */
export function wmb(pdev: PciFunction): void {
  if (pdev.dma !== undefined) pdev.dma.order();
}
