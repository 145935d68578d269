// The SCSI dump type (drivers/scsi/scsi_dump.c): sanity check, quiesce, block I/O and shutdown through any host adapter driver
// that supplies dump_poll (white paper, chapter 4).
import type { Running } from "../../emulator/cpu/cpu.ts";
import { M } from "../../kernel-sim/abi/ram.ts";
import { struct_scsi_cmnd } from "../../kernel-sim/abi/structs/scsi.ts";
import { array, int, struct, u8, uint, ulong } from "../../kernel-sim/abi/types.ts";
import type { ViewOf } from "../../kernel-sim/abi/view.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import type { LoadedModule } from "../../kernel-sim/core/module.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { spin_is_locked, spin_lock, spin_unlock } from "../../kernel-sim/core/spinlock.ts";
import { delayNs } from "../../kernel-sim/core/timer.ts";
import { scsi_device_online } from "../../kernel-sim/scsi/disposition.ts";
import { SUCCESS, scsi_cmnd, scsi_device } from "../../kernel-sim/scsi/host.ts";
import { checksum, checksumNs } from "./checksum.ts";
import {
  READ,
  WRITE,
  type DiskDump,
  type DumpDevice,
  type DumpPartition,
  type disk_dump_device_ops,
  type TouchedRange,
} from "./disk-dump.ts";
import { diskdump_mdelay, diskdump_update } from "./dump-library.ts";
import { EFBIG, EINVAL, EIO, ENXIO, EROFS } from "./errno.ts";
import { register_disk_dump_type, unregister_disk_dump_type } from "./registration.ts";
import { DumpCommand, SCSI_2, SMALL_BUFFER_BYTES } from "./scsi-command.ts";
import { eh_timeout, rw_intr, send_command } from "./scsi-send.ts";
import { disk_dump_device_ops as ops_struct, disk_dump_type } from "./structs.ts";

const kfunc = moduleFunctions("scsi_dump");

/** "bus reset settle time. 5sec for old disk devices", in milliseconds. */
export const SETTLE_MS = 5000;
/** A struct request of 2.6.9 is smaller; drivers only look at its address and flags. */
const REQUEST_BYTES = 256;
/** In mode data: 4 bytes of header, 8 of block descriptor, then the caching page: PS in its byte 0, WCE in its byte 2. */
const WCE_AT = 14;
const PAGE_CODE_AT = 12;
const WCE = 0x04;
/** A sanity check's "perhaps": the device is used only when none is better and risky dumps are allowed. */
const RISKY = 1;

const scsi_dump_data = struct("scsi_dump_data", {
  scsi_dump_device_ops: ops_struct,
  scsi_dump_type: disk_dump_type,
});
const scsi_dump_bss = struct("scsi_dump_bss", {
  quiesce_ok: int,
  scsi_dump_module_crc: uint,
  scsi_dump_req: array(u8, REQUEST_BYTES),
  scsi_dump_cmnd: struct_scsi_cmnd,
  reserved: ulong,
});

export class ScsiDump {
  readonly dd: DiskDump;
  readonly module: LoadedModule;
  readonly bss: ViewOf<typeof scsi_dump_bss>;
  /** Memory for sense and mode data: 256 bytes of the stack in C. */
  readonly buffer: number;
  readonly ops: disk_dump_device_ops;
  /** Address of the struct disk_dump_type. */
  readonly typeAt: number;
  /** Made with the first device. */
  command: DumpCommand | undefined;

  constructor(dd: DiskDump, module: LoadedModule) {
    this.dd = dd;
    this.module = module;
    this.bss = K.view(scsi_dump_bss, module.bssAt);
    this.buffer = K.bootmem(SMALL_BUFFER_BYTES);
    this.typeAt = module.dataAt + K.offsetOf(scsi_dump_data, "scsi_dump_type");
    const named = <F extends object>(body: F, symbol: { readonly id: number }): F =>
      Object.assign(body, { id: symbol.id });
    this.ops = {
      sanity_check: named((device: DumpDevice) => scsi_dump_sanity_check(this, device), scsi_dump_sanity_check),
      quiesce: named((device: DumpDevice) => scsi_dump_quiesce(this, device), scsi_dump_quiesce),
      shutdown: named((device: DumpDevice) => scsi_dump_shutdown(this, device), scsi_dump_shutdown),
      rw_block: named(
        (partition: DumpPartition, rw: number, block: number, buffer: number, count: number) =>
          rw_block(this, partition, rw, block, buffer, count),
        scsi_dump_rw_block,
      ),
    };
  }

  /** The static command, as one of this device. */
  commandFor(sdev: scsi_device): DumpCommand {
    if (!this.command) {
      const cmd = new scsi_cmnd(sdev, this.bss.addr + K.offsetOf(scsi_dump_bss, "scsi_dump_cmnd"));
      cmd.eh_timeout.func = eh_timeout;
      this.command = new DumpCommand(cmd, this.bss.scsi_dump_req, rw_intr);
    }
    return this.command;
  }

  setChecksum(): void {
    this.bss.scsi_dump_module_crc = checksum(this.module);
  }

  touchedRanges(): TouchedRange[] {
    const { addr } = this.bss;
    return [
      { start: addr, end: addr + K.sizeOf(scsi_dump_bss), what: "scsi_dump's variables" },
      { start: this.buffer, end: this.buffer + SMALL_BUFFER_BYTES, what: "sense and mode data" },
      ...this.dd.devices.flatMap(({ device }) =>
        device instanceof scsi_device
          ? device.host.workingMemory.map((range) => ({ ...range, changesBack: true as const }))
          : [],
      ),
    ];
  }
}

const where = (sdev: scsi_device): string =>
  `host ${sdev.host.host_no} channel ${sdev.channel} id ${sdev.id} lun ${sdev.lun}`;
const sdevOf = (device: DumpDevice): scsi_device => device.device as scsi_device;

/**
 * Is the device sane enough for I/O?
 * Returns: 0 yes, negative no, positive perhaps. The host_lock is never broken open: held means no, or, when it is the one
 * io_request_lock of 2.4, perhaps.
 */
const scsi_dump_sanity_check = kfunc("scsi_dump_sanity_check", function* (sd: ScsiDump, device: DumpDevice) {
  const sdev = sdevOf(device);
  const { host } = sdev;
  yield* delayNs(checksumNs(sd.module));
  if (sd.bss.scsi_dump_module_crc !== checksum(sd.module)) {
    yield* printk("scsi_dump: checksum error. scsi dump module may be compromised.\n", 3);
    device.failure = "scsi_dump module damaged";
    return -EINVAL;
  }
  if (!scsi_device_online(sdev)) {
    yield* printk(`scsi_dump: device not online: ${where(sdev)}\n`, 4);
    device.failure = "device offline";
    return -EIO;
  }
  if (sdev.s.changed !== 0) {
    yield* printk(`scsi_dump: SCSI disk has been changed. Prohibiting further I/O: ${where(sdev)}\n`, 3);
    device.failure = "media changed";
    return -EIO;
  }
  let adapter = 0;
  if (host.hostt.dump_sanity_check) {
    adapter = yield* host.hostt.dump_sanity_check(sdev);
    if (adapter < 0) {
      yield* printk("scsi_dump: adapter status is not sane\n", 4);
      device.failure = "adapter not sane";
      return adapter;
    }
  }
  if (spin_is_locked(host.host_lock)) {
    // RHEL3: a lock of the whole machine may be held for another adapter's sake. Whoever dares waits for it.
    if (K.flavour.scsi.isSharedLock(host)) {
      yield* printk(`scsi_dump: io_request_lock is held: ${where(sdev)}\n`, 4);
      return RISKY;
    }
    yield* printk(`scsi_dump: host_lock is held: ${where(sdev)}\n`, 4);
    device.failure = "host_lock held";
    return -EIO;
  }
  return adapter;
});

/** Resets the adapter (or the bus), lets it settle, and takes the unit attention away. Returns: 0 or a negative errno. */
const scsi_dump_reset = kfunc("scsi_dump_reset", function* (sd: ScsiDump, device: DumpDevice) {
  const sdev = sdevOf(device);
  const { host } = sdev;
  const command = sd.commandFor(sdev);
  command.requestSense(sdev, sd.buffer);
  const reset = host.hostt.eh_host_reset_handler ?? host.hostt.eh_bus_reset_handler;
  if (!reset) return 0;
  yield* spin_lock(host.host_lock);
  const ret = yield* reset(command.cmd);
  spin_unlock(host.host_lock);
  if (ret !== SUCCESS) {
    yield* printk("scsi_dump: adapter reset failed\n", 3);
    device.failure = "adapter reset failed";
    return -EIO;
  }
  for (let i = 0; i < SETTLE_MS; i++) {
    if (!sd.dd.library.nothingDue()) yield* diskdump_update(sd.dd.library);
    yield* diskdump_mdelay(1);
  }
  // The mid-layer notes this after a reset of its own; the reset above did not come by there. A disk that answers even REQUEST
  // SENSE with its unit attention (QEMU's do; SPC says it shall not) is asked once more, not given up.
  sdev.s.expecting_cc_ua = 1;
  command.requestSense(sdev, sd.buffer);
  if ((yield* send_command(sd.dd.library, command)) < 0) {
    yield* printk("scsi_dump: sense failed\n", 3);
    device.failure = "request sense failed";
    return -EIO;
  }
  sdev.s.expecting_cc_ua = 0;
  return 0;
});

/** Without the write cache each write waits for the platter: it is switched on until the next reset of the disk. */
const enable_write_cache = kfunc("enable_write_cache", function* (sd: ScsiDump, sdev: scsi_device) {
  const { buffer } = sd;
  const { u8 } = M;
  const command = sd.commandFor(sdev);
  u8.fill(0, buffer, buffer + SMALL_BUFFER_BYTES);
  command.modeSense(sdev, buffer);
  if ((yield* send_command(sd.dd.library, command)) < 0) {
    yield* printk("scsi_dump: MODE SENSE failed\n", 4);
    return;
  }
  if ((u8[buffer + WCE_AT]! & WCE) !== 0) return;
  const length = u8[buffer]! + 1;
  // Reserved in MODE SELECT: mode data length, medium type, device-specific parameter, PS.
  u8.fill(0, buffer, buffer + 3);
  u8[buffer + PAGE_CODE_AT]! &= 0x7f;
  u8[buffer + WCE_AT]! |= WCE;
  command.modeSelect(sdev, buffer, length);
  if ((yield* send_command(sd.dd.library, command)) < 0) {
    yield* printk("scsi_dump: MODE SELECT failed, but dump \n", 4);
    command.requestSense(sdev, buffer);
    if ((yield* send_command(sd.dd.library, command)) < 0) yield* printk("scsi_dump: sense failed\n", 4);
  }
});

/** Returns: 0 or a negative errno. What was in flight before is gone afterwards. */
const scsi_dump_quiesce = kfunc("scsi_dump_quiesce", function* (sd: ScsiDump, device: DumpDevice) {
  const sdev = sdevOf(device);
  const { hostt } = sdev.host;
  if (hostt.dump_quiesce) {
    const ret = yield* hostt.dump_quiesce(sdev);
    if (ret < 0) return ret;
  }
  const ret = yield* scsi_dump_reset(sd, device);
  if (ret < 0) return ret;
  if (sdev.s.scsi_level >= SCSI_2) yield* enable_write_cache(sd, sdev);
  sd.bss.quiesce_ok = 1;
  return 0;
});

/**
 * One I/O of the dump: plain code that prepares the command, and then send_command() itself, so that a block costs no call
 * more than it must. Returns: as rw_block.
 */
function rw_block(
  sd: ScsiDump,
  partition: DumpPartition,
  rw: number,
  block: number,
  buffer: number,
  count: number,
): Running<number> {
  const { dd } = sd;
  const sdev = sdevOf(partition.device);
  const { s } = sdev;
  const first = block * dd.sectorsPerBlock;
  const sectors = count * dd.sectorsPerBlock;
  if (sd.bss.quiesce_ok === 0 || first + sectors > partition.nr_sects || (rw === WRITE && s.writeable === 0)) {
    return scsi_dump_rw_block(sd, partition, rw, first + sectors);
  }
  // The block layer counts in sectors of 512 bytes, the disk perhaps in larger ones.
  const scale = s.sector_size / 512;
  const command = sd.command!;
  const lba = (first + partition.start_sect) / scale;
  command.transfer(sdev, rw !== READ, lba, sectors / scale, buffer, sectors * 512);
  return send_command(dd.library, command);
}

/** An I/O that is refused: says why. Returns: a negative errno. */
const scsi_dump_rw_block = kfunc(
  "scsi_dump_rw_block",
  function* (sd: ScsiDump, partition: DumpPartition, rw: number, end: number) {
    if (sd.bss.quiesce_ok === 0) {
      yield* printk("scsi_dump: quiesce not called\n", 3);
      return -EIO;
    }
    if (end > partition.nr_sects) {
      yield* printk(`scsi_dump: block number ${end} is larger than ${partition.nr_sects}\n`, 3);
      yield* printk("scsi_dump: init_rw_command failed\n", 3);
      return -EFBIG;
    }
    yield* printk(`scsi_dump: ${rw === WRITE ? "writable media" : `Unknown command ${rw}`}\n`, 3);
    return -EROFS;
  },
);

const scsi_dump_shutdown = kfunc("scsi_dump_shutdown", function* (sd: ScsiDump, device: DumpDevice) {
  const sdev = sdevOf(device);
  const { hostt } = sdev.host;
  if (sdev.s.scsi_level >= SCSI_2 && sd.command) {
    sd.command.synchronizeCache(sdev);
    if ((yield* send_command(sd.dd.library, sd.command)) < 0)
      yield* printk("scsi_dump: SYNCHRONIZE_CACHE failed.\n", 4);
  }
  return hostt.dump_shutdown ? yield* hostt.dump_shutdown(sdev) : 0;
});

/** A SCSI device whose driver can be polled. */
const scsi_dump_probe = (candidate: unknown): unknown =>
  candidate instanceof scsi_device && candidate.host.hostt.dump_poll ? candidate : undefined;

const scsi_dump_add_device = kfunc("scsi_dump_add_device", function* (sd: ScsiDump, device: DumpDevice) {
  const sdev = sdevOf(device);
  if (!sdev.host.hostt.dump_poll) return -ENXIO;
  device.ops = sd.ops;
  const { max_sectors } = sdev.host.s;
  if (max_sectors > 0) device.s.max_blocks = Math.floor((sdev.s.sector_size * max_sectors) / sd.dd.pageSize);
  sd.commandFor(sdev);
  sd.setChecksum();
  return 0;
});

const scsi_dump_remove_device = kfunc("scsi_dump_remove_device", function* (_device: DumpDevice) {});

const loaded = new WeakMap<DiskDump, ScsiDump>();
/** The SCSI dump module's state, if it is loaded. */
export const scsiDumpOf = (dd: DiskDump): ScsiDump | undefined => loaded.get(dd);

/** modprobe scsi_dump. Returns: its state. Context: process; diskdump must be loaded. */
export const init_scsi_dump = kfunc("init_scsi_dump", function* (dd: DiskDump) {
  const known = loaded.get(dd);
  if (known) return known;
  const module = K.modules.load("scsi_dump", { data: scsi_dump_data, bss: scsi_dump_bss });
  const sd = new ScsiDump(dd, module);
  loaded.set(dd, sd);
  dd.otherTouchedRanges.push(() => sd.touchedRanges());
  yield* register_disk_dump_type(dd, {
    name: "scsi",
    probe: scsi_dump_probe,
    add_device: (device) => scsi_dump_add_device(sd, device),
    remove_device: (device) => scsi_dump_remove_device(device),
    compute_cksum: () => sd.setChecksum(),
    owner: module.addr,
    addr: sd.typeAt,
  });
  sd.setChecksum();
  return sd;
});

/** rmmod scsi_dump. Devices that are registered must have gone before. */
export const cleanup_scsi_dump = kfunc("cleanup_scsi_dump", function* (dd: DiskDump) {
  yield* unregister_disk_dump_type(dd, "scsi");
  loaded.delete(dd);
});
