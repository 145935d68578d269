// One guest with one of our adapters and a disk behind it: what the suites drive and look at.
import { createHash } from "node:crypto";
import type { PciDevice } from "../../../emulator/bus/pci.ts";
import type { ScsiDiskOptions } from "../../../emulator/disk/scsi-disk.ts";
import { ScsiDisk } from "../../../emulator/disk/scsi-disk.ts";
import type { ResetKind, ScsiCommand } from "../../../emulator/disk/scsi-command.ts";
import type { GuestHost } from "./guest-bus.ts";
import { Guest } from "./guest.ts";
import { GuestLab, SLOT } from "./guest-lab.ts";
import { ioctlRequest } from "./ioctl-program.ts";
import type { BootedLinux } from "./snapshot.ts";

const SECTOR = 512;
export const DISK_BYTES = 64 * 2 ** 20;

export interface AdapterUnderTest {
  /** The row of the matrix. */
  readonly adapter: string;
  /** The stock module; what it depends on is loaded first. */
  readonly module: string;
  /** Puts the adapter into the guest, with `disk` as its only one. */
  readonly insert: (guest: Guest, disk: ScsiDisk) => PciDevice;
}

/** For `insert`: an adapter that is a card, powered on and put into a slot of the running guest. */
export const card =
  (build: (host: GuestHost, disk: ScsiDisk) => PciDevice) =>
  (guest: Guest, disk: ScsiDisk): PciDevice => {
    const device = build(guest.host, disk);
    device.reset();
    guest.bus.plug(device, SLOT);
    return device;
  };

/** A disk that remembers what it was asked, and how much was under way. */
export class WatchedDisk extends ScsiDisk {
  /** Operation codes, in order. */
  readonly opcodes: number[] = [];
  readonly resets: ResetKind[] = [];
  /** Commands under way that were aborted. */
  aborts = 0;
  peakOutstanding = 0;

  override submit(command: ScsiCommand): void {
    this.opcodes.push(command.cdb[0]!);
    super.submit(command);
    this.peakOutstanding = Math.max(this.peakOutstanding, this.outstanding);
  }
  override abort(command: ScsiCommand): boolean {
    const found = super.abort(command);
    if (found) this.aborts++;
    return found;
  }
  override reset(kind: ResetKind): void {
    this.resets.push(kind);
    super.reset(kind);
  }
}

export class LinuxLab extends GuestLab {
  readonly disk: WatchedDisk;
  readonly device: PciDevice;
  private readonly module: string;

  private constructor(guest: Guest, disk: WatchedDisk, device: PciDevice, module: string) {
    super(guest);
    this.disk = disk;
    this.device = device;
    this.module = module;
  }

  /** A guest fresh from boot, the adapter in its place, no driver yet. */
  static async make(
    linux: BootedLinux,
    under: AdapterUnderTest,
    options: Partial<ScsiDiskOptions> = {},
  ): Promise<LinuxLab> {
    const guest = await Guest.restore(linux.files, linux.snapshot);
    const { host } = guest;
    const disk = new WatchedDisk(host.events, host.memory.pool, { name: "sda", sizeBytes: DISK_BYTES, ...options });
    return new LinuxLab(guest, disk, under.insert(guest, disk), under.module);
  }

  /** Lets Linux find the adapter and loads the driver; true when a disk came up. */
  probe(limitS = 120): boolean {
    this.guest.expect("echo 1 > /sys/bus/pci/rescan");
    this.guest.expect(`load ${this.module}`, limitS);
    return this.waitForDisk(limitS);
  }

  waitForDisk(limitS = 60): boolean {
    const wait = `for i in $(seq ${limitS}); do [ -b /dev/sda ] && break; sleep 1; done; [ -b /dev/sda ]`;
    return this.guest.run(wait, 2 * limitS).status === 0;
  }

  /** What the disk holds, as our side sees it. */
  media(lba: number, bytes: number): Uint8Array {
    const contents = new Uint8Array(bytes);
    this.disk.media.store.read(lba * SECTOR, contents);
    return contents;
  }

  /** Does an ioctl on /dev/sda in the guest; the argument as it is afterwards. `status` is the errno. */
  ioctl(number: number, argument: Uint8Array): { status: number; result: Uint8Array } {
    const octal = [...ioctlRequest(number, argument)].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
    const show = `head -c ${argument.length} /tmp/result | hexdump -v -e '1/1 "%02x"'`;
    const { status, output } = this.run(`printf '${octal}' | ioctl /dev/sda > /tmp/result; e=$?; ${show}; exit $e`);
    return { status, result: Uint8Array.from(Buffer.from(output, "hex")) };
  }
}

/** As md5sum prints it: the cheapest digest for a guest to compute. */
export const md5 = (bytes: Uint8Array): string => createHash("md5").update(bytes).digest("hex");

/** Bytes that differ from page to page and from `seed` to `seed`. */
export function pattern(seed: number, bytes: number): Uint8Array {
  const words = new Uint32Array(bytes / 4);
  let word = Math.imul(seed + 1, 0x9e3779b1) | 1;
  for (let i = 0; i < words.length; i++) words[i] = word = (Math.imul(word, 1664525) + 1013904223) | 0;
  return new Uint8Array(words.buffer);
}
