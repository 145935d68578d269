// The I/O load: processes that keep every disk busy with buffered writes, fsync, direct reads and direct writes.
import { lookup_bdev, type BlockDevice } from "../block/gendisk.ts";
import { do_fork } from "../core/fork.ts";
import { K } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { S_IFREG } from "../abi/structs/fs.ts";
import { makeFileOperations } from "../fs/file-operations.ts";
import { vfs_create } from "../fs/open.ts";
import { mount_device } from "../fs/rootfs.ts";
import { register_filesystem } from "../fs/super.ts";
import { generic_file_write } from "../mm/filemap.ts";
import { AddressSpace } from "../mm/page-cache.ts";
import { pdflush_init } from "../mm/pdflush.ts";
import { DEFAULT_DIRTY_LIMITS, setDirtyLimits, sys_fsync_mapping } from "../mm/writeback.ts";
import { Ledger, verifyLedgers, type Durability, type LedgerPlace, type LoadMismatch } from "./ledger.ts";
import { BLOCK_BYTES, SECTORS_PER_BLOCK } from "./pattern.ts";
import { LoadProcess, load_main } from "./process.ts";

export interface LoadMix {
  readonly bufferedWrite: number;
  readonly fsync: number;
  readonly directRead: number;
  readonly directWrite: number;
}

export interface LoadOptions {
  readonly processes: number;
  /** Partitions or disks, "sda1" or "/dev/sda1"; process n works on devices[n % devices.length]. */
  readonly devices: readonly string[];
  /** Relative weights. */
  readonly mix: LoadMix;
  /** Bytes per call, rounded to blocks of 4 KiB. */
  readonly sizeMinBytes: number;
  readonly sizeMaxBytes: number;
  /** "sequential": each call goes on where the process's last one ended, as dd does. Default: anywhere in its file. */
  readonly access?: "random" | "sequential";
  /** Mean user time between two calls of a process. */
  readonly thinkTimeNs: number;
  /** Dirty bytes at which writers must help; undefined: 40 % of memory. pdflush starts at half of it. */
  readonly dirtyLimitBytes?: number | undefined;
  /** Bytes of the file that each process works on; less where its share of the partition is smaller. */
  readonly fileBytes?: number | undefined;
}

export const DEFAULT_LOAD: Omit<LoadOptions, "devices" | "processes"> = {
  mix: { bufferedWrite: 4, fsync: 1, directRead: 3, directWrite: 4 },
  sizeMinBytes: 4096,
  sizeMaxBytes: 65536,
  thinkTimeNs: 100_000,
};

const DEFAULT_FILE_BYTES = 64 << 20;
const COMPLAINT_LIMIT = 20;

/** The running load: its processes, their ledgers, what they complained about. */
export class Load {
  readonly options: LoadOptions;
  readonly processes: LoadProcess[] = [];
  /** Short or failed calls and wrong contents, as the processes saw them. */
  readonly complaints: string[] = [];
  private readonly places: LedgerPlace[] = [];
  /** Calls that have returned. */
  calls = 0;
  /** Processes that have not ended. */
  running = 0;
  /** Set to let every process end after its current call. */
  stopping = false;

  constructor(options: LoadOptions) {
    this.options = options;
  }

  complain(text: string): void {
    if (this.complaints.length < COMPLAINT_LIMIT) this.complaints.push(text);
  }

  add(process: LoadProcess, bdev: BlockDevice): void {
    this.processes.push(process);
    const startSector = bdev.startSector + process.mapping.startSector;
    this.places.push({ disk: bdev.disk.name, startSector, ledger: process.ledger });
  }

  /** Whether what was promised is on the disks; `read` gets the disk's name ("sda") and an absolute sector. */
  verify(
    durability: Durability,
    read: (disk: string, sector: number, into: Uint8Array) => void,
    limit = 20,
  ): LoadMismatch[] {
    return verifyLedgers(this.places, durability, read, limit);
  }
}

/** Lays out one file per process and starts them. Throws for a device that does not exist. Context: process. */
export const start_load = kfunc("start_load", function* (options: LoadOptions) {
  const load = new Load(options);
  const devices = options.devices.map((name) => {
    const device = lookup_bdev(name.replace(/^\/dev\//, ""));
    if (!device) throw new Error(`load: there is no block device ${name}`);
    return device;
  });
  if (devices.length === 0 || options.processes === 0) return load;
  if (options.dirtyLimitBytes !== undefined) {
    const ratio = (options.dirtyLimitBytes / 4096 / K.pages.totalPages) * 100;
    setDirtyLimits({ ...DEFAULT_DIRTY_LIMITS, dirtyRatio: ratio, backgroundRatio: ratio / 2 });
  }
  yield* pdflush_init();
  for (let i = 0; i < options.processes; i++) {
    const device = devices[i % devices.length]!;
    const sharers = Math.ceil((options.processes - (i % devices.length)) / devices.length);
    const process = makeProcess(options, device, i, Math.floor(i / devices.length), sharers);
    const path = yield* lay_file(process, device, i);
    if (path === undefined) {
      load.complain(`${process.name}: no memory for its file`);
      continue;
    }
    process.path = path;
    load.add(process, device);
    load.running++;
  }
  for (const [i, process] of load.processes.entries()) {
    yield* do_fork(process.name, () => load_main(load, process), K.cpus[i % K.cpus.length]!.id);
  }
  return load;
});

/** Where a file lies in one piece behind the next, and nothing on the disk says so: the load's own kind of file system. */
const LOADFS_MAGIC = 0x10adf5;

/** Gives a process's file a name on its device, which is mounted for it. Returns: the path, or undefined. Context: process. */
const lay_file = kfunc("lay_file", function* (process: LoadProcess, device: BlockDevice, i: number) {
  const mnt = yield* mount_device(register_filesystem("loadfs"), device, LOADFS_MAGIC);
  const path = `${mnt}/load.${i}`;
  const { mapping } = process;
  const fops = K.symbols.get("loadfs_file_operations")?.addr ?? makeFileOperations(K, "loadfs_file_operations", LOADFS);
  const options = { mode: S_IFREG | 0o600, sizeBytes: mapping.sectors * 512, mapping, fops };
  return mnt !== undefined && (yield* vfs_create(path, options)) === 0 ? path : undefined;
});
const LOADFS = { write: generic_file_write, fsync: sys_fsync_mapping };

/** Each process gets an equal share of its partition, and a file at the start of it. */
function makeProcess(
  options: LoadOptions,
  device: BlockDevice,
  i: number,
  place: number,
  sharers: number,
): LoadProcess {
  const share = Math.floor(device.sectors / sharers / SECTORS_PER_BLOCK);
  const blocks = Math.min(share, Math.floor((options.fileBytes ?? DEFAULT_FILE_BYTES) / BLOCK_BYTES));
  if (blocks < 1) throw new Error(`load: ${device.name} is too small for ${sharers} processes`);
  const name = `load/${i}`;
  const file = { name, startSector: place * share * SECTORS_PER_BLOCK, sectors: blocks * SECTORS_PER_BLOCK };
  const random = K.machine.random.stream(`load.${i}`);
  const tag = (random.u32() ^ (i << 24)) >>> 0;
  return new LoadProcess(name, new AddressSpace(device, file), new Ledger(tag, blocks), random);
}
