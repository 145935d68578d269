// For tests: a SCSI host adapter and its driver without registers: commands take a while, then wait to be polled.
import { finished, type Running } from "../../emulator/cpu/cpu.ts";
import { PageStore } from "../../emulator/memory/store.ts";
import { makeEvent } from "../../emulator/time/events.ts";
import { M } from "../../kernel-sim/abi/ram.ts";
import { struct_Scsi_Host, struct_scsi_device } from "../../kernel-sim/abi/structs/scsi.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { kfunc } from "../../kernel-sim/core/kfunc.ts";
import {
  SDEV_RUNNING,
  SUCCESS,
  Scsi_Host,
  scsi_device,
  type ScsiDone,
  type scsi_cmnd,
  type scsi_host_template,
} from "../../kernel-sim/scsi/host.ts";
import { MODE_SENSE, READ_10, WRITE_10 } from "../../kernel-sim/scsi/status.ts";
import type { DumpTarget } from "./disk-dump.ts";

export interface FakeAdapterOptions {
  readonly hostNo?: number;
  readonly sectors: number;
  /** Time from queuecommand to the end of a command. */
  readonly latencyNs?: number;
  /** Hooks to replace or add. */
  readonly hooks?: Partial<scsi_host_template>;
  /** Result of a command instead of 0; sense data is the caller's affair. Called when a command ends. */
  readonly resultOf?: (opcode: number, lba: number, cmd: scsi_cmnd) => number;
  /** A command for which this says true is never ended. */
  readonly loses?: (opcode: number, lba: number) => boolean;
}

/** One adapter with one disk. */
export class FakeAdapter {
  readonly disk: PageStore;
  readonly host: Scsi_Host;
  readonly sdev: scsi_device;
  /** Opcodes in the order in which they were sent. */
  readonly opcodes: number[] = [];
  resets = 0;
  /** Bytes 0.. of the caching page's mode data; byte 14 bit 2 is WCE. */
  readonly modeData = new Uint8Array(24);
  private pending: scsi_cmnd | undefined;
  private ended = false;
  private readonly options: FakeAdapterOptions;
  private readonly event = makeEvent("fake.complete", () => this.transfer());

  constructor(options: FakeAdapterOptions) {
    this.options = options;
    this.disk = new PageStore(K.machine.memory.pool, "disk", options.sectors * 512);
    this.modeData.set([23, 0, 0, 8], 0);
    this.modeData.set([0x88, 10], 12);
    const template: scsi_host_template = {
      name: "fake adapter",
      proc_name: "fake",
      can_queue: 1,
      this_id: 7,
      sg_tablesize: 16,
      max_sectors: 1024,
      cmd_per_lun: 1,
      use_clustering: false,
      queuecommand: (cmd, done) => fake_queuecommand(this, cmd, done),
      eh_host_reset_handler: () => fake_host_reset(this),
      dump_poll: () => fake_poll(this),
      ...options.hooks,
    };
    const hostNo = options.hostNo ?? 0;
    this.host = new Scsi_Host(template, hostNo, K.bootmem(K.sizeOf(struct_Scsi_Host)), { maxId: 8, maxLun: 1 });
    this.sdev = new scsi_device(this.host, 0, 0, 0, K.bootmem(K.sizeOf(struct_scsi_device)));
    this.sdev.s.sdev_state = SDEV_RUNNING;
    this.sdev.s.sector_size = 512;
    this.sdev.s.scsi_level = 4;
  }

  target(name: string, start_sect: number, nr_sects: number): DumpTarget {
    return { name, device: this.sdev, start_sect, nr_sects };
  }

  private lbaOf(cmd: scsi_cmnd): number {
    return M.view.getUint32(cmd.cmnd + 2, false);
  }

  begin(cmd: scsi_cmnd): void {
    this.pending = cmd;
    this.ended = false;
    const opcode = M.u8[cmd.cmnd]!;
    this.opcodes.push(opcode);
    if (this.options.loses?.(opcode, this.lbaOf(cmd))) return;
    K.machine.events.arm(this.event, K.machine.now() + (this.options.latencyNs ?? 150_000));
  }

  private transfer(): void {
    const cmd = this.pending!;
    const opcode = M.u8[cmd.cmnd]!;
    const { request_buffer: buffer, request_bufflen: length } = cmd.s;
    const { memory } = K.machine;
    const at = this.lbaOf(cmd) * 512;
    if (opcode === READ_10) memory.copyFromStore(this.disk, at, buffer, length);
    else if (opcode === WRITE_10) memory.copyToStore(buffer, this.disk, at, length);
    else if (opcode === MODE_SENSE) memory.writeBytes(buffer, this.modeData);
    this.ended = true;
  }

  /** The command that has ended and waits to be noticed, with its result. */
  take(): { cmd: scsi_cmnd; result: number } | undefined {
    if (!this.ended) return undefined;
    const cmd = this.pending!;
    this.ended = false;
    this.pending = undefined;
    return { cmd, result: this.options.resultOf?.(M.u8[cmd.cmnd]!, this.lbaOf(cmd), cmd) ?? 0 };
  }
}

const fake_queuecommand = kfunc("fake_queuecommand", function* (adapter: FakeAdapter, cmd: scsi_cmnd, done: ScsiDone) {
  cmd.scsi_done = done;
  adapter.begin(cmd);
  return 0;
});

const fake_poll = kfunc("fake_poll", function* (adapter: FakeAdapter) {
  const ended = adapter.take();
  if (!ended) return;
  ended.cmd.s.result = ended.result;
  yield* ended.cmd.scsi_done!(ended.cmd);
});

const fake_host_reset = (adapter: FakeAdapter): Running<number> => {
  adapter.resets++;
  return finished(SUCCESS);
};
