// SCSI disks as block devices: sda, sdb, … (drivers/scsi/sd.c of 2.6.9).
import type { Running } from "../../emulator/cpu/cpu.ts";
import { M } from "../abi/ram.ts";
import { block_device_operations } from "../abi/structs/devices.ts";
import { struct } from "../abi/types.ts";
import { register_blkdev } from "../block/majors.ts";
import { add_disk, alloc_disk, type Gendisk } from "../block/gendisk.ts";
import { blk_queue_issue_flush_fn } from "../block/queue.ts";
import { WRITE, rq_data_dir } from "../block/request.ts";
import { K } from "../core/kernel.ts";
import { moduleFunctions, moduleLeaves, textAddressOf } from "../core/kfunc.ts";
import { printk } from "../core/printk.ts";
import { msleep } from "../core/timer.ts";
import { Semaphore, down, up, type Completion } from "../core/wait.ts";
import { scsi_io_completion } from "./completion.ts";
import { scsi_device_online, sense_key } from "./disposition.ts";
import {
  DMA_FROM_DEVICE,
  DMA_NONE,
  type ScsiDriver,
  type scsi_cmnd,
  type scsi_device,
  type scsi_request,
} from "./host.ts";
import { scsi_allocate_request, scsi_wait_req } from "./internal-request.ts";
import {
  DRIVER_SENSE,
  MEDIUM_ERROR,
  MODE_SENSE,
  NOT_READY,
  READ_10,
  READ_16,
  READ_CAPACITY,
  RECOVERED_ERROR,
  SAM_STAT_CHECK_CONDITION,
  SERVICE_ACTION_IN,
  START_STOP,
  SYNCHRONIZE_CACHE,
  TEST_UNIT_READY,
  UNIT_ATTENTION,
  WRITE_10,
  WRITE_16,
} from "./status.ts";

const kfunc = moduleFunctions("sd_mod");
const kleaf = moduleLeaves("sd_mod");

const SD_MAJOR = 8;
const SD_TIMEOUT_SECONDS = 30;
/** A cache may take long to empty. */
const SD_FLUSH_TIMEOUT_SECONDS = 60;
export const SD_MAX_RETRIES = 5;
const SECTOR_BYTES = 512;
const TYPE_DISK = 0;
const SPIN_UP_SECONDS = 100;
const BUFFER_BYTES = 512;
const TWO_32 = 4294967296;

const sd_mod_data = struct("sd_mod_data", { sd_fops: block_device_operations });

/** Returns: 0, or -ENXIO when the device is gone. Context: process. */
const sd_open = kfunc("sd_open", function* (sd: scsi_disk) {
  return scsi_device_online(sd.device) ? 0 : -6;
});
/** The last user is gone. Context: process. */
const sd_release = kfunc("sd_release", function* (_sd: scsi_disk) {
  return 0;
});

/** "sda" for 0, "sdz" for 25, "sdaa" for 26. */
export function sdName(index: number): string {
  const letter = (n: number): string => String.fromCharCode(97 + n);
  if (index < 26) return `sd${letter(index)}`;
  return `sd${letter(Math.floor(index / 26) - 1)}${letter(index % 26)}`;
}

/** struct scsi_disk: what sd knows of a device. */
export class scsi_disk implements ScsiDriver {
  readonly device: scsi_device;
  disk!: Gendisk;
  /** In blocks of the device. */
  capacity = 0;
  sectorBytes = SECTOR_BYTES;
  WCE = false;
  RCD = false;
  writeProtected = false;
  private readonly sreq: scsi_request;
  private readonly waiting: Completion;
  /** Held by whoever uses the request below. */
  readonly requestLock: Semaphore;
  /** Room for the answers of READ CAPACITY, MODE SENSE. */
  readonly buffer: number;
  readonly rwDone: (cmd: scsi_cmnd) => Running;

  constructor(device: scsi_device) {
    this.device = device;
    const { sreq, waiting } = scsi_allocate_request(device);
    this.sreq = sreq;
    this.waiting = waiting;
    this.requestLock = new Semaphore(K.bootmem(64), `sd ${device.bus_id}.request`, 1);
    this.buffer = K.bootmem(BUFFER_BYTES);
    this.rwDone = sd_rw_intr;
  }

  init_command(cmd: scsi_cmnd): number {
    return sd_init_command(cmd, this);
  }

  /** Sends a command of sd's own. Returns its result. Context: process. */
  send(cdb: readonly number[], bytes: number, timeoutSeconds = SD_TIMEOUT_SECONDS): Running<number> {
    const direction = bytes === 0 ? DMA_NONE : DMA_FROM_DEVICE;
    const ticks = timeoutSeconds * K.hz;
    return scsi_wait_req(this.sreq, this.waiting, cdb, this.buffer, bytes, direction, ticks, SD_MAX_RETRIES);
  }

  /** Sense data of the last command. */
  get sense(): { key: number; asc: number; ascq: number } {
    const at = this.sreq.s.sr_sense_buffer;
    return { key: M.u8[at + 2]! & 0xf, asc: M.u8[at + 12]!, ascq: M.u8[at + 13]! };
  }
}

const be32 = (at: number): number => M.view.getUint32(at, false);

/** Builds READ or WRITE for a file system's request. Returns: 1, or 0 when it cannot be carried out. */
const sd_init_command = kleaf("sd_init_command", (cmd: scsi_cmnd, sd: scsi_disk): number => {
  const rq = cmd.request!;
  const { s } = cmd;
  const block = rq.s.sector;
  const count = rq.s.nr_sectors;
  if (!scsi_device_online(cmd.device) || block + count > sd.disk.capacity || count === 0) return 0;
  const ratio = sd.sectorBytes / SECTOR_BYTES;
  if (block % ratio !== 0 || count % ratio !== 0) return 0;
  const write = rq_data_dir(rq) === WRITE;
  if (write && cmd.device.s.writeable === 0) return 0;
  const lba = block / ratio;
  const blocks = count / ratio;
  const { u8, view } = M;
  const at = cmd.cmnd;
  u8.fill(0, at, at + 16);
  if (lba > 0xffffffff || blocks > 0xffff) {
    u8[at] = write ? WRITE_16 : READ_16;
    view.setUint32(at + 2, Math.floor(lba / TWO_32), false);
    view.setUint32(at + 6, lba >>> 0, false);
    view.setUint32(at + 10, blocks, false);
    s.cmd_len = 16;
  } else {
    u8[at] = write ? WRITE_10 : READ_10;
    view.setUint32(at + 2, lba, false);
    view.setUint16(at + 7, blocks, false);
    s.cmd_len = 10;
  }
  s.request_bufflen = count * SECTOR_BYTES;
  s.transfersize = sd.sectorBytes;
  s.underflow = count * SECTOR_BYTES;
  s.allowed = SD_MAX_RETRIES;
  s.timeout_per_command = SD_TIMEOUT_SECONDS * K.hz;
  cmd.done = sd.rwDone;
  return 1;
});

/** A read or write has ended: how much of it is good? Context: softirq. */
export const sd_rw_intr = kfunc("sd_rw_intr", function* (cmd: scsi_cmnd) {
  const { s } = cmd;
  let good = s.result === 0 ? s.bufflen : 0;
  let lost = 0;
  if ((s.result & 0x3e) === SAM_STAT_CHECK_CONDITION && (M.u8[cmd.sense_buffer]! & 0x7f) === 0x70) {
    const key = sense_key(cmd);
    if (key === MEDIUM_ERROR && (M.u8[cmd.sense_buffer]! & 0x80) !== 0) {
      const ratio = (cmd.request!.disk!.privateData as scsi_disk).sectorBytes / SECTOR_BYTES;
      const error = be32(cmd.sense_buffer + 3) * ratio;
      const first = cmd.request!.s.sector;
      // One block is lost; what lies before it was transferred.
      lost = ratio * SECTOR_BYTES;
      good = (error - first) * SECTOR_BYTES;
      if (good < 0 || good >= s.bufflen) good = 0;
    } else if (key === RECOVERED_ERROR) {
      s.result = 0;
      M.u8[cmd.sense_buffer] = 0;
      good = s.bufflen;
    }
  }
  yield* scsi_io_completion(cmd, good, lost);
});

/** Waits until the disk is ready, starts its motor if it asks for that. Returns true when it is. */
const sd_spinup_disk = kfunc("sd_spinup_disk", function* (sd: scsi_disk) {
  let started = false;
  for (let tries = 0; tries < SPIN_UP_SECONDS; tries++) {
    const result = yield* sd.send([TEST_UNIT_READY], 0);
    if (result === 0) return true;
    const { key, asc, ascq } = sd.sense;
    if (((result >> 24) & DRIVER_SENSE) === 0) return false;
    if (key === UNIT_ATTENTION) continue;
    if (key !== NOT_READY || asc !== 0x04) return false;
    if (ascq === 0x02 && !started) {
      started = true;
      yield* printk(`${sd.disk.name}: Spinning up disk...\n`, 5);
      yield* sd.send([START_STOP, 1, 0, 0, 1, 0], 0);
    }
    yield* msleep(1000);
  }
  return false;
});

const sd_read_capacity = kfunc("sd_read_capacity", function* (sd: scsi_disk) {
  const { buffer } = sd;
  for (let tries = 0; tries < 3; tries++) {
    if ((yield* sd.send([READ_CAPACITY], 8)) !== 0) continue;
    sd.capacity = be32(buffer) + 1;
    sd.sectorBytes = be32(buffer + 4);
    if (sd.capacity <= 0xffffffff) return true;
    // More than READ CAPACITY(10) can say.
    const long = [SERVICE_ACTION_IN, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0];
    if ((yield* sd.send(long, 32)) !== 0) continue;
    sd.capacity = be32(buffer) * TWO_32 + be32(buffer + 4) + 1;
    sd.sectorBytes = be32(buffer + 8);
    return true;
  }
  yield* printk(`${sd.disk.name} : READ CAPACITY failed.\n`, 5);
  return false;
});

/** Write protection (page 3F) and the caching page (08). */
const sd_read_modes = kfunc("sd_read_cache_type", function* (sd: scsi_disk) {
  const { buffer } = sd;
  if ((yield* sd.send([MODE_SENSE, 0, 0x3f, 0, 4, 0], 4)) === 0) {
    sd.writeProtected = (M.u8[buffer + 2]! & 0x80) !== 0;
    sd.device.s.writeable = sd.writeProtected ? 0 : 1;
  }
  if ((yield* sd.send([MODE_SENSE, 0, 0x08, 0, 4, 0], 4)) !== 0) return;
  const length = Math.min(M.u8[buffer]! + 1, 128);
  if ((yield* sd.send([MODE_SENSE, 0, 0x08, 0, length, 0], length)) !== 0) return;
  const page = buffer + 4 + M.u8[buffer + 3]!;
  if ((M.u8[page]! & 0x3f) !== 0x08) return;
  sd.WCE = (M.u8[page + 2]! & 4) !== 0;
  sd.RCD = (M.u8[page + 2]! & 1) !== 0;
  const kind = sd.WCE ? "write back" : "write through";
  yield* printk(`SCSI device ${sd.disk.name}: drive cache: ${kind}\n`, 5);
});

/** SYNCHRONIZE CACHE. Returns 0 or -EIO. Context: process. */
export const sd_sync_cache = kfunc("sd_sync_cache", function* (sd: scsi_disk) {
  if (!sd.WCE) return 0;
  // The disk's one scsi_request: several processes may fsync at a time. (In C each call allocates one of its own.)
  yield* down(sd.requestLock);
  const result = yield* sd.send([SYNCHRONIZE_CACHE, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0, SD_FLUSH_TIMEOUT_SECONDS);
  yield* up(sd.requestLock);
  return result === 0 ? 0 : -5;
});

/** Makes a device that is a disk the next sdX, with its partitions. Returns: it, or undefined. Context: process. */
export const sd_probe = kfunc("sd_probe", function* (sdev: scsi_device) {
  if (sdev.s.type !== TYPE_DISK || sdev.driver !== undefined) return undefined;
  const index = K.block.disks.filter((disk) => disk.s.major === SD_MAJOR).length;
  const sd = new scsi_disk(sdev);
  const disk = alloc_disk(sdName(index), sdev.request_queue, sd, SD_MAJOR, index * 16);
  sd.disk = disk;
  disk.s.fops = K.symbol("sd_fops");
  disk.open = () => sd_open(sd);
  sdev.driver = sd;
  const ready = (yield* sd_spinup_disk(sd)) && (yield* sd_read_capacity(sd));
  sdev.s.sector_size = sd.sectorBytes;
  disk.capacity = (sd.capacity * sd.sectorBytes) / SECTOR_BYTES;
  const megabytes = Math.round((sd.capacity * sd.sectorBytes) / 1e6);
  yield* printk(`SCSI device ${disk.name}: ${sd.capacity} ${sd.sectorBytes}-byte hdwr sectors (${megabytes} MB)\n`, 5);
  if (ready) yield* sd_read_modes(sd);
  blk_queue_issue_flush_fn(sdev.request_queue, () => sd_sync_cache(sd));
  yield* add_disk(disk);
  const { host, channel, id, lun } = sdev;
  yield* printk(
    `Attached scsi disk ${disk.name} at scsi${host.host_no}, channel ${channel}, id ${id}, lun ${lun}\n`,
    5,
  );
  return sd;
});

/** Loads sd_mod, which makes every disk that has been found and has no name yet the next sdX. Returns: them. Context: process. */
export function sd_attach_all(): Running<scsi_disk[]> {
  K.modules.load("sd_mod", { data: sd_mod_data });
  const fops = K.view(block_device_operations, K.symbol("sd_fops"));
  fops.open = textAddressOf(sd_open.id);
  fops.release = textAddressOf(sd_release.id);
  fops.owner = K.modules.loaded.get("sd_mod")!.addr;
  register_blkdev(SD_MAJOR, "sd");
  return init_sd();
}

const init_sd = kfunc("init_sd", function* () {
  const found: scsi_disk[] = [];
  for (const sdev of K.scsi.devices) {
    const sd = yield* sd_probe(sdev);
    if (sd) found.push(sd);
  }
  return found;
});
