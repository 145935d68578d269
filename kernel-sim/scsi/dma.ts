// The data of a SCSI command for the adapter: pci_map_sg or pci_map_single, as the command has it.
import type { PciFunction } from "../../emulator/bus/mmio.ts";
import type { DmaPort } from "../../emulator/bus/pci.ts";
import { DMA_NONE, DMA_TO_DEVICE, sg_dma_address, sg_dma_len, type scsi_cmnd } from "./host.ts";

/** Calls `each` for every piece of memory that the command's data lies in. */
function forEachPiece(cmd: scsi_cmnd, each: (address: number, bytes: number) => void): void {
  const { s } = cmd;
  if (s.sc_data_direction === DMA_NONE || s.request_bufflen === 0) return;
  if (s.use_sg === 0) each(s.request_buffer, s.request_bufflen);
  else for (let i = 0; i < s.use_sg; i++) each(sg_dma_address(s.request_buffer, i), sg_dma_len(s.request_buffer, i));
}

const lend = (cmd: scsi_cmnd, dma: DmaPort): void => forEachPiece(cmd, (address, bytes) => dma.lend(address, bytes));

function giveBack(cmd: scsi_cmnd, dma: DmaPort): void {
  const filled = cmd.s.sc_data_direction !== DMA_TO_DEVICE;
  forEachPiece(cmd, (address, bytes) => dma.giveBack(address, bytes, filled));
}

/**
 * Hands the command's data buffers to the adapter; before the adapter is told of the command. Every path on which the adapter
 * is done with the command calls scsi_dma_unmap once. Context: queuecommand's. Must not: be called twice for one command.
 */
export function scsi_dma_map(cmd: scsi_cmnd, pdev: PciFunction): void {
  if (pdev.dma !== undefined) lend(cmd, pdev.dma);
}

/** Takes the buffers back, before the command's done is called. Context: any. */
export function scsi_dma_unmap(cmd: scsi_cmnd, pdev: PciFunction): void {
  if (pdev.dma !== undefined) giveBack(cmd, pdev.dma);
}
