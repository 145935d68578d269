// The guest right after boot, made once: a key names everything that went into it.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { OUTPUT_FOLDER } from "../record.ts";
import { BOARD_FILES } from "./board.ts";
import { COMMAND_LINE, Guest, type Snapshot } from "./guest.ts";
import { initramfs } from "./initramfs.ts";
import { alone } from "./lock.ts";
import { ModuleTree } from "./modules.ts";
import { linuxFiles, type LinuxFiles } from "./packages.ts";
import { NS_PER_INSTRUCTION } from "./virtual-clock.ts";
import { V86_FILES } from "./v86.ts";

const FOLDER = join(OUTPUT_FOLDER, "linux");
/** Drivers that a suite may load. What they depend on, and disks, are in before the snapshot is taken. */
const DRIVERS = ["mptspi", "mptsas", "sym53c8xx", "ata_piix", "8139too"];
/** Not named by any "depends=": the generic checksums that sd_mod's protection code asks the kernel for. */
const CHECKSUMS = ["crct10dif_generic", "crc64_rocksoft_generic"];

export interface BootedLinux {
  readonly files: LinuxFiles;
  readonly snapshot: Snapshot;
}

/** The board's configuration space. */
const BOARD_BYTES = 256;
/** A snapshot's file: its time, the board, the state. */
const STATE_AT = 8 + BOARD_BYTES;

function read(file: string): Snapshot | undefined {
  try {
    const bytes = readFileSync(file);
    return {
      ns: bytes.readDoubleLE(0),
      board: Uint8Array.from(bytes.subarray(8, STATE_AT)),
      state: bytes.buffer.slice(bytes.byteOffset + STATE_AT, bytes.byteOffset + bytes.length) as ArrayBuffer,
    };
  } catch {
    return undefined;
  }
}

function write(file: string, { ns, board, state }: Snapshot): void {
  const time = Buffer.alloc(8);
  time.writeDoubleLE(ns);
  writeFileSync(`${file}.new`, Buffer.concat([time, board, new Uint8Array(state)]));
  renameSync(`${file}.new`, file);
}

/** The booted guest's snapshot, made now when there is none. Throws Unavailable where the packages cannot be had. */
export const bootedLinux = (): Promise<BootedLinux> => alone(bootOrRead);

async function bootOrRead(): Promise<BootedLinux> {
  const files = linuxFiles();
  const modules = new ModuleTree(files.modules);
  const all = modules.loadOrder(...CHECKSUMS, "sd_mod", ...DRIVERS);
  const shared = all.filter((name) => !DRIVERS.includes(name));
  const initrd = initramfs(files.busybox, modules, all, shared);
  const key = createHash("sha256")
    .update(`${COMMAND_LINE} ${NS_PER_INSTRUCTION} ${process.versions.v8}\n`)
    .update(initrd);
  for (const file of [files.kernel, files.bios, files.vgaBios, ...V86_FILES, ...BOARD_FILES])
    key.update(readFileSync(file));
  const name = `booted-${key.digest("hex").slice(0, 16)}.state`;
  let snapshot = read(join(FOLDER, name));
  if (!snapshot) {
    snapshot = (await Guest.boot(files, initrd)).snapshot();
    mkdirSync(FOLDER, { recursive: true });
    for (const old of readdirSync(FOLDER)) if (/^booted-.*\.state/.test(old)) rmSync(join(FOLDER, old));
    write(join(FOLDER, name), snapshot);
  }
  return { files, snapshot };
}
