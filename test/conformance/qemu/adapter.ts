// What the harness must know of an adapter: how QEMU makes one, and which of our drivers drives it. One file per adapter.
import type { Running } from "../../../emulator/cpu/cpu.ts";
import type { Scsi_Host, scsi_cmnd } from "../../../kernel-sim/scsi/host.ts";
import type { Machine } from "../../../emulator/cpu/machine.ts";
import type { Forgets, QemuFunction } from "./qemu-function.ts";
import type { QemuMachine } from "./qemu-machine.ts";

/** Where adapters are plugged on QEMU's bus and on ours. */
export const ADAPTER_SLOT = 4;

/** A chip with disks: what a whole trial needs. */
export interface QemuChip {
  readonly devfn: number;
  /** The input of QEMU's I/O APIC that it drives. */
  readonly gsi: number;
  readonly forgets: Forgets;
  /** Arguments that make the adapter. */
  readonly device: readonly string[];
  /** The -device argument of the disk with target id `id` that shows block device `drive`. */
  disk(id: number, drive: string): string;
  /** Puts it on the machine's bus, where that takes more than a slot and a PCI interrupt. */
  plug?(machine: Machine, qemu: QemuMachine, name: string): { readonly fn: QemuFunction; readonly irq: number };
  /** What puts the adapter into the scenario "learn". */
  readonly scenario: readonly string[];
}

export interface QemuAdapter extends QemuChip {
  /** QEMU's name of the model. */
  readonly model: string;
  /** Row of the conformance matrix. */
  readonly row: string;
  /** Loads the driver's modules. */
  load(): void;
  /** Probes. Context: process. */
  init(): Running<Scsi_Host[]>;
  /** Commands that the driver lets a disk have at a time. */
  readonly queueDepth: number;
  /** Commands that the adapter has. */
  held(host: Scsi_Host): scsi_cmnd[];
  /** Masks the adapter's interrupts, or lets them through as the driver has them; not every model can. Context: process. */
  mask?(host: Scsi_Host, masked: boolean): void;
  /** Why a command that fails after its disk has let go of the bus cannot be tried on QEMU's model; undefined when it can. */
  readonly lateErrorsFail?: string;
  /** What QEMU's disk can be interrupted in: some models stay connected until a write has ended. */
  readonly interruptible: "read" | "write";
  /** A line of the log that each handler leaves behind when it has done what it should. */
  readonly says: Readonly<Record<ErrorHandler, string>>;
}

/** The error handling hooks, the mildest first. */
export const ERROR_HANDLERS = {
  eh_abort_handler: "abort",
  eh_device_reset_handler: "target reset",
  eh_bus_reset_handler: "bus reset",
  eh_host_reset_handler: "host reset",
} as const;
export type ErrorHandler = keyof typeof ERROR_HANDLERS;
