// The IDE dump type (drivers/ide/ide_dump.c of diskdump 1.0): a drive is dumped to by port and by polling, past the IDE
// subsystem: no request, no interrupt, no DMA, none of its locks (white paper, 2.4).
import { cpu } from "../../emulator/cpu/cpu.ts";
import { int, struct, uint, ulong } from "../../kernel-sim/abi/types.ts";
import type { ViewOf } from "../../kernel-sim/abi/view.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import type { LoadedModule } from "../../kernel-sim/core/module.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { delayNs, udelay } from "../../kernel-sim/core/timer.ts";
import {
  BUSY_STAT,
  DRQ_STAT,
  ERR_STAT,
  IDE_COMMAND,
  IDE_CONTROL,
  IDE_ERROR,
  IDE_FEATURE,
  IDE_HCYL,
  IDE_LCYL,
  IDE_NSECTOR,
  IDE_SECTOR,
  IDE_SELECT,
  IDE_STATUS,
  OK_STAT,
  WIN_SETMULT,
  WRERR_STAT,
  ide_disk,
  ide_drive_t,
} from "../../kernel-sim/ide/ide.ts";
import { flushCommand } from "../../kernel-sim/ide/ide-disk.ts";
import { ide_load_taskfile, pioCommand } from "../../kernel-sim/ide/ide-disk-rw.ts";
import { SELECT_DRIVE, ata_input_data, ata_output_data, pre_reset } from "../../kernel-sim/ide/ide-iops.ts";
import { checksum, checksumNs } from "./checksum.ts";
import { READ, type DiskDump, type DumpDevice, type DumpPartition, type TouchedRange } from "./disk-dump.ts";
import { diskdump_mdelay, diskdump_update } from "./dump-library.ts";
import { EINVAL, EIO } from "./errno.ts";
import { register_disk_dump_type, unregister_disk_dump_type } from "./registration.ts";
import { disk_dump_device_ops as ops_struct, disk_dump_type } from "./structs.ts";

const kfunc = moduleFunctions("ide_dump");

/** Largest transfer: what a 28-bit command can name. */
const MAX_SECTORS = 256;
/** How long a drive that is not busy may take to show what is waited for. */
export const IDE_DUMP_TIMEOUT_NS = 30e9;
/** How long a drive may be busy with one command, or with its reset; the C code waits for ever. */
export const IDE_DUMP_BUSY_NS = 60e9;

const ide_dump_data = struct("ide_dump_data", { ide_dump_device_ops: ops_struct, ide_dump_type: disk_dump_type });
const ide_dump_bss = struct("ide_dump_bss", {
  ide_quiesce_ok: int,
  ide_dump_module_crc: uint,
  ide_dump_reserved: ulong,
});

class IdeDump {
  readonly dd: DiskDump;
  readonly module: LoadedModule;
  readonly bss: ViewOf<typeof ide_dump_bss>;
  readonly typeAt: number;

  constructor(dd: DiskDump, module: LoadedModule) {
    this.dd = dd;
    this.module = module;
    this.bss = K.view(ide_dump_bss, module.bssAt);
    this.typeAt = module.dataAt + K.offsetOf(ide_dump_data, "ide_dump_type");
  }

  setChecksum(): void {
    this.bss.ide_dump_module_crc = checksum(this.module);
  }

  touchedRanges(): TouchedRange[] {
    const { addr } = this.bss;
    return [{ start: addr, end: addr + K.sizeOf(ide_dump_bss), what: "ide_dump's variables" }];
  }
}

const driveOf = (device: DumpDevice): ide_drive_t => device.device as ide_drive_t;

/**
 * Is the drive sane enough for I/O? Neither ide_lock nor the group's busy flag counts: the dump uses neither.
 * Returns: 0 yes, negative no. Context: dump, irqs off.
 */
const ide_dump_sanity_check = kfunc("ide_dump_sanity_check", function* (id: IdeDump, device: DumpDevice) {
  const { s, name } = driveOf(device);
  yield* delayNs(checksumNs(id.module));
  if (id.bss.ide_dump_module_crc !== checksum(id.module)) {
    yield* printk("ide_dump: checksum error. ide dump module may be compromised.\n", 3);
    device.failure = "ide_dump module damaged";
    return -EINVAL;
  }
  if (s.suspend_reset !== 0 || s.sleep !== 0) {
    yield* printk(`ide_dump: ${name}: bad state\n`, 3);
    device.failure = "adapter not sane";
    return -EIO;
  }
  return 0;
});

/** Says what the registers say. */
const drive_error = kfunc("ide_dump_error", function* (drive: ide_drive_t, what: string) {
  const { io } = drive.hwif;
  const [status, error] = [io.inb(IDE_STATUS), io.inb(IDE_ERROR)];
  yield* printk(`ide_dump: ${drive.name}: ${what}, status ${status.toString(16)} error ${error.toString(16)}\n`, 3);
});

/**
 * Polls until the drive is not busy, and then until it shows all of `good` and none of `bad`.
 * Returns: 0, or -EIO when it does not. Context: dump, irqs off.
 */
const ide_dump_wait = kfunc("ide_dump_wait", function* (id: IdeDump, drive: ide_drive_t, good: number, bad: number) {
  const { library } = id.dd;
  const { io } = drive.hwif;
  yield* udelay(1);
  for (let limit = cpu.clock + IDE_DUMP_BUSY_NS; ;) {
    const start = cpu.clock;
    if ((io.inb(IDE_STATUS) & BUSY_STAT) === 0) break;
    if (start > limit) return -EIO;
    if (!library.nothingDue()) yield* diskdump_update(library);
    else library.skipIdleRounds(start, limit);
  }
  for (let limit = cpu.clock + IDE_DUMP_TIMEOUT_NS; ;) {
    const start = cpu.clock;
    yield* udelay(1);
    if (OK_STAT(io.inb(IDE_STATUS), good, bad)) return 0;
    if (start > limit) return -EIO;
    if (!library.nothingDue()) yield* diskdump_update(library);
    else library.skipIdleRounds(start, limit);
  }
});

/** A command without data. Returns: 0 or -EIO. */
const issue_simple_cmd = kfunc(
  "issue_simple_cmd",
  function* (id: IdeDump, drive: ide_drive_t, command: number, feature: number, nsector: number) {
    const { io } = drive.hwif;
    io.outb(feature, IDE_FEATURE);
    io.outb(nsector, IDE_NSECTOR);
    for (const register of [IDE_SECTOR, IDE_LCYL, IDE_HCYL]) io.outb(0, register);
    io.outb(drive.unit << 4, IDE_SELECT);
    io.outb(command, IDE_COMMAND);
    if ((yield* ide_dump_wait(id, drive, 0, ERR_STAT | DRQ_STAT)) === 0) return 0;
    yield* drive_error(drive, `Cmd ${command.toString(16)} failed`);
    return -EIO;
  },
);

/** SRST with nIEN: whatever the channel was doing ends, and nothing on it interrupts any more. Returns: 0 or -EIO. */
const ide_dump_reset = kfunc("ide_dump_reset", function* (_id: IdeDump, drive: ide_drive_t) {
  const { hwif, s } = drive;
  for (const one of hwif.drives) pre_reset(one);
  hwif.ctl.outb(s.ctl | 4, IDE_CONTROL);
  yield* udelay(10);
  hwif.ctl.outb(s.ctl | 2, IDE_CONTROL);
  yield* udelay(10);
  for (let waited = 0; (hwif.io.inb(IDE_STATUS) & BUSY_STAT) !== 0; waited += 1e6) {
    if (waited > IDE_DUMP_BUSY_NS) {
      yield* printk("ide_dump: reset timed out\n", 3);
      return -EIO;
    }
    yield* diskdump_mdelay(1);
  }
  const error = hwif.io.inb(IDE_ERROR);
  if (error === 1) return 0;
  yield* printk(`ide_dump: reset failed ${error.toString(16)}\n`, 3);
  return -EIO;
});

/** Returns: 0 or a negative errno. Afterwards the drive takes port commands in blocks of mult_count sectors. */
const ide_dump_quiesce = kfunc("ide_dump_quiesce", function* (id: IdeDump, device: DumpDevice) {
  const drive = driveOf(device);
  const { s } = drive;
  // The bus master may be in the middle of a transfer.
  const { bm, dmaBase } = drive.hwif;
  bm.outb(0, dmaBase);
  if ((yield* ide_dump_reset(id, drive)) < 0) {
    device.failure = "adapter reset failed";
    return -EIO;
  }
  const count = drive.id.max_multsect;
  s.mult_count = (yield* issue_simple_cmd(id, drive, WIN_SETMULT, 0, count)) < 0 ? 0 : count;
  s.mult_req = s.mult_count;
  s.special = 0;
  if (s.no_io_32bit === 0) s.io_32bit = 3;
  id.bss.ide_quiesce_ok = 1;
  return 0;
});

/** One I/O of the dump. Returns: 0 or a negative errno. */
const ide_dump_rw_block = kfunc(
  "ide_dump_rw_block",
  function* (id: IdeDump, partition: DumpPartition, rw: number, block: number, buffer: number, count: number) {
    const drive = driveOf(partition.device);
    const { s, hwif } = drive;
    const sector = block * id.dd.sectorsPerBlock;
    let left = count * id.dd.sectorsPerBlock;
    if (sector + left > partition.nr_sects) {
      yield* printk(`ide_dump: ${drive.name}: bad access: block=${block}, count=${left}\n`, 3);
      return -EIO;
    }
    SELECT_DRIVE(drive);
    if ((yield* ide_dump_wait(id, drive, s.ready_stat, BUSY_STAT | DRQ_STAT)) < 0) {
      yield* drive_error(drive, "not ready after selecting drive");
      return -EIO;
    }
    const write = rw !== READ;
    ide_load_taskfile(drive, sector + partition.start_sect + s.sect0, left);
    hwif.io.outb(pioCommand(drive, write), IDE_COMMAND);
    const most = Math.max(1, s.mult_count);
    for (let at = buffer; left > 0;) {
      if ((yield* ide_dump_wait(id, drive, DRQ_STAT, ERR_STAT | WRERR_STAT)) < 0) {
        yield* drive_error(drive, "no DRQ after issueing command");
        return -EIO;
      }
      const sectors = Math.min(left, most);
      if (write) yield* ata_output_data(drive, at, sectors * 128);
      else yield* ata_input_data(drive, at, sectors * 128);
      left -= sectors;
      at += sectors * 512;
    }
    // How the last block went shows when the drive is no longer busy.
    if ((yield* ide_dump_wait(id, drive, s.ready_stat, ERR_STAT | WRERR_STAT | DRQ_STAT)) === 0) return 0;
    yield* drive_error(drive, write ? "write failed" : "read failed");
    return -EIO;
  },
);

/** FLUSH CACHE. Returns: 0; a drive that cannot flush is no reason to call the dump failed. */
const ide_dump_shutdown = kfunc("ide_dump_shutdown", function* (id: IdeDump, device: DumpDevice) {
  const drive = driveOf(device);
  yield* issue_simple_cmd(id, drive, flushCommand(drive), 0, 0);
  return 0;
});

/** A disk, and one that takes LBA addresses. */
const ide_dump_probe = (candidate: unknown): unknown =>
  candidate instanceof ide_drive_t && candidate.s.media === ide_disk && (candidate.s.select & 0x40) !== 0
    ? candidate
    : undefined;

const ide_dump_add_device = kfunc("ide_dump_add_device", function* (id: IdeDump, device: DumpDevice) {
  const named = <F extends object>(body: F, symbol: { readonly id: number }): F =>
    Object.assign(body, { id: symbol.id });
  device.ops = {
    sanity_check: named((d: DumpDevice) => ide_dump_sanity_check(id, d), ide_dump_sanity_check),
    quiesce: named((d: DumpDevice) => ide_dump_quiesce(id, d), ide_dump_quiesce),
    shutdown: named((d: DumpDevice) => ide_dump_shutdown(id, d), ide_dump_shutdown),
    rw_block: named(
      (partition: DumpPartition, rw: number, block: number, buffer: number, count: number) =>
        ide_dump_rw_block(id, partition, rw, block, buffer, count),
      ide_dump_rw_block,
    ),
  };
  device.s.max_blocks = Math.floor(MAX_SECTORS / id.dd.sectorsPerBlock);
  id.setChecksum();
  return 0;
});

const ide_dump_remove_device = kfunc("ide_dump_remove_device", function* (_device: DumpDevice) {});

const loaded = new WeakMap<DiskDump, IdeDump>();

/** modprobe ide_dump. Context: process; diskdump must be loaded. */
export const init_ide_dump = kfunc("init_ide_dump", function* (dd: DiskDump) {
  if (loaded.has(dd)) return;
  const module = K.modules.load("ide_dump", { data: ide_dump_data, bss: ide_dump_bss });
  const id = new IdeDump(dd, module);
  loaded.set(dd, id);
  dd.otherTouchedRanges.push(() => id.touchedRanges());
  yield* register_disk_dump_type(dd, {
    name: "ide",
    probe: ide_dump_probe,
    add_device: (device) => ide_dump_add_device(id, device),
    remove_device: (device) => ide_dump_remove_device(device),
    compute_cksum: () => id.setChecksum(),
    owner: module.addr,
    addr: id.typeAt,
  });
  id.setChecksum();
});

/** rmmod ide_dump. Devices that are registered must have gone before. */
export const cleanup_ide_dump = kfunc("cleanup_ide_dump", function* (dd: DiskDump) {
  yield* unregister_disk_dump_type(dd, "ide");
  loaded.delete(dd);
});
