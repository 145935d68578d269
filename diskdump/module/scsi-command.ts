// The commands of the SCSI dump: one static scsi_cmnd, filled in anew for each I/O (drivers/scsi/scsi_dump.c).
//
// A dump of 8 GiB builds half a million of them, so the struct is filled by plain stores whose time is paid at once.
import { step } from "../../emulator/cpu/cpu.ts";
import { M, poke32, poke64, pokePtr } from "../../kernel-sim/abi/ram.ts";
import { SCSI_SENSE_BUFFERSIZE, struct_scsi_cmnd } from "../../kernel-sim/abi/structs/scsi.ts";
import { timer_list } from "../../kernel-sim/abi/structs/base.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { textAddressOf } from "../../kernel-sim/core/kfunc.ts";
import {
  DMA_FROM_DEVICE,
  DMA_NONE,
  DMA_TO_DEVICE,
  type ScsiDone,
  type scsi_cmnd,
  type scsi_device,
} from "../../kernel-sim/scsi/host.ts";
import {
  COMMAND_SIZE,
  MODE_SENSE,
  READ_10,
  REQUEST_SENSE,
  SYNCHRONIZE_CACHE,
  WRITE_10,
} from "../../kernel-sim/scsi/status.ts";

const MODE_SELECT = 0x15;
/** scsi_level of SCSI-2 (include/scsi/scsi.h). */
export const SCSI_2 = 3;
const MAX_RETRIES = 5;
/** SD_TIMEOUT, in seconds; nothing counts it while dumping, but drivers may look. */
const COMMAND_TIMEOUT_SECONDS = 60;
/** memset of the struct and two dozen stores. */
const INIT_COMMAND_NS = 110;
/** Bytes of the buffer for sense and mode data; commands ask for one byte less. */
export const SMALL_BUFFER_BYTES = 256;
/** The mode page that holds WCE. */
const CACHING_PAGE = 0x08;
const TIMER_MAGIC = 0x4b87ad6e;

type Field = keyof typeof struct_scsi_cmnd.fields;

export class DumpCommand {
  readonly cmd: scsi_cmnd;
  private readonly size: number;
  private readonly at: Readonly<Record<string, number>>;
  private readonly done: ScsiDone;
  private readonly doneText: number;
  private readonly request: number;
  private readonly magicAt: number;
  private readonly dataCmndAt: number;
  /** The last transfer's struct: nearly every command of a dump differs from the one before in its block number only. */
  private readonly last: {
    sdev: scsi_device | undefined;
    write: boolean;
    buffer: number;
    bytes: number;
    readonly image: Uint8Array;
  };

  /**
   * @param cmd the static command, in the module's memory
   * @param request physical address of the static struct request that drivers may look at
   * @param done what ends it: rw_intr
   */
  constructor(cmd: scsi_cmnd, request: number, done: ScsiDone & { readonly id: number }) {
    this.cmd = cmd;
    this.size = K.sizeOf(struct_scsi_cmnd);
    const offset = (field: Field): number => cmd.addr + K.offsetOf(struct_scsi_cmnd, field);
    this.at = Object.fromEntries(Object.keys(struct_scsi_cmnd.fields).map((name) => [name, offset(name as Field)]));
    this.done = done;
    this.doneText = textAddressOf(done.id);
    this.request = request;
    this.dataCmndAt = this.at["data_cmnd"]!;
    this.last = { sdev: undefined, write: false, buffer: 0, bytes: 0, image: new Uint8Array(this.size) };
    this.magicAt = cmd.eh_timeout.addr + K.offsetOf(timer_list, "magic");
  }

  private clear(): void {
    step(INIT_COMMAND_NS);
    const { addr } = this.cmd;
    M.u8.fill(0, addr, addr + this.size);
  }

  /** init_scsi_command: everything but the command block, which must be there already. */
  private init(sdev: scsi_device, buffer: number, length: number, direction: number, setLun: boolean): void {
    const { at, cmd } = this;
    const { u8 } = M;
    const { s } = sdev;
    cmd.device = sdev;
    cmd.done = this.done;
    pokePtr(at["request"]!, this.request);
    pokePtr(at["device"]!, sdev.addr);
    pokePtr(at["buffer"]!, buffer);
    pokePtr(at["request_buffer"]!, buffer);
    poke32(at["bufflen"]!, length);
    poke32(at["request_bufflen"]!, length);
    poke32(at["sc_data_direction"]!, direction);
    if (setLun && s.scsi_level <= SCSI_2) u8[cmd.cmnd + 1]! |= (sdev.lun << 5) & 0xe0;
    u8.copyWithin(at["data_cmnd"]!, cmd.cmnd, cmd.cmnd + 16);
    const commandLength = COMMAND_SIZE(u8[cmd.cmnd]!);
    u8[at["cmd_len"]!] = commandLength;
    u8[at["old_cmd_len"]!] = commandLength;
    poke32(at["transfersize"]!, s.sector_size);
    if (direction === DMA_TO_DEVICE) poke32(at["underflow"]!, length);
    poke32(at["allowed"]!, MAX_RETRIES);
    poke32(at["timeout_per_command"]!, COMMAND_TIMEOUT_SECONDS * K.hz);
    pokePtr(at["done"]!, this.doneText);
    this.initTimer();
  }

  /** Some drivers put eh_timeout into the timer list: it must be a timer, though one that does nothing. */
  private initTimer(): void {
    const { eh_timeout: timer, addr } = this.cmd;
    const { magicAt } = this;
    if (M.word8) poke64(magicAt, TIMER_MAGIC);
    else poke32(magicAt, TIMER_MAGIC);
    timer.data = addr;
  }

  /** Makes the command ready to be sent once more; its count of retries goes on. */
  again(): void {
    const { cmd, at } = this;
    step(INIT_COMMAND_NS);
    cmd.done = this.done;
    pokePtr(at["done"]!, this.doneText);
    poke32(at["result"]!, 0);
    M.u8.fill(0, cmd.sense_buffer, cmd.sense_buffer + SCSI_SENSE_BUFFERSIZE);
  }

  modeSense(sdev: scsi_device, buffer: number): void {
    this.clear();
    const { u8 } = M;
    const { cmnd } = this.cmd;
    u8[cmnd] = MODE_SENSE;
    u8[cmnd + 2] = CACHING_PAGE;
    u8[cmnd + 4] = SMALL_BUFFER_BYTES - 1;
    this.init(sdev, buffer, SMALL_BUFFER_BYTES, DMA_FROM_DEVICE, true);
  }

  modeSelect(sdev: scsi_device, buffer: number, length: number): void {
    this.clear();
    const { u8 } = M;
    const { cmnd } = this.cmd;
    u8[cmnd] = MODE_SELECT;
    // PF=1, SP=0: the change lasts until the next reset of the disk.
    u8[cmnd + 1] = 0x10;
    u8[cmnd + 4] = length;
    this.init(sdev, buffer, length, DMA_TO_DEVICE, true);
  }

  synchronizeCache(sdev: scsi_device): void {
    this.clear();
    M.u8[this.cmd.cmnd] = SYNCHRONIZE_CACHE;
    this.init(sdev, 0, 0, DMA_NONE, false);
  }

  requestSense(sdev: scsi_device, buffer: number): void {
    this.clear();
    M.u8[this.cmd.cmnd] = REQUEST_SENSE;
    M.u8[this.cmd.cmnd + 4] = SMALL_BUFFER_BYTES - 1;
    this.init(sdev, buffer, SMALL_BUFFER_BYTES, DMA_FROM_DEVICE, true);
  }

  /** READ(10) or WRITE(10) of `sectors` device sectors from `lba`. */
  transfer(sdev: scsi_device, write: boolean, lba: number, sectors: number, buffer: number, bytes: number): void {
    const { cmd, last } = this;
    const { u8 } = M;
    const { cmnd } = cmd;
    if (last.sdev === sdev && last.write === write && last.buffer === buffer && last.bytes === bytes) {
      // The same but for the place: what clearing and filling it in would come to, at the same price.
      step(INIT_COMMAND_NS);
      u8.set(last.image, cmd.addr);
      cmd.device = sdev;
      cmd.done = this.done;
      cmd.eh_timeout.data = cmd.addr;
    } else {
      this.clear();
      u8[cmnd] = write ? WRITE_10 : READ_10;
      u8[cmnd + 7] = sectors >>> 8;
      u8[cmnd + 8] = sectors;
      this.init(sdev, buffer, bytes, write ? DMA_TO_DEVICE : DMA_FROM_DEVICE, true);
      Object.assign(last, { sdev, write, buffer, bytes });
      last.image.set(u8.subarray(cmd.addr, cmd.addr + this.size));
    }
    const { dataCmndAt } = this;
    u8[dataCmndAt + 2] = u8[cmnd + 2] = lba >>> 24;
    u8[dataCmndAt + 3] = u8[cmnd + 3] = lba >>> 16;
    u8[dataCmndAt + 4] = u8[cmnd + 4] = lba >>> 8;
    u8[dataCmndAt + 5] = u8[cmnd + 5] = lba;
  }

  /** RAM of the command. */
  get range(): { start: number; end: number; what: string } {
    return { start: this.cmd.addr, end: this.cmd.addr + this.size, what: "scsi_dump_cmnd" };
  }
}
