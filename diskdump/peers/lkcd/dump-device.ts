// Where a dump goes: struct dump_dev with its dump_dev_ops (include/linux/dumpdev.h).
import type { Running } from "../../../emulator/cpu/cpu.ts";
import type { Bio } from "../../../kernel-sim/block/bio.ts";
import type { BlockDevice } from "../../../kernel-sim/block/gendisk.ts";
import type { Netpoll } from "../../../kernel-sim/net/netpoll.ts";
import type { SoftBootRecord } from "./mem/soft-boot.ts";

/** Each function runs on the dumping CPU; those that return a number return 0 or a negative errno. */
export interface DumpDevice {
  /** "/dev/sdb1", "192.168.0.1" */
  readonly name: string;
  /** Of a disk: itself, and what a write goes out as: one bio, or in 2.4 as many buffer heads as the buffer has pages. */
  readonly block?: { readonly bdev: BlockDevice; readonly bios: readonly Bio[] };
  /** Of the network: its client of netpoll. */
  readonly network?: { readonly np: Netpoll };
  /** Of memory: what became of the dump that was kept there. */
  readonly softBoot?: SoftBootRecord;
  /** dh_dump_device. */
  readonly number: number;
  /** What is said when a dump begins; nothing when silence() says it. */
  readonly greeting: string;
  /** Whether its writes end by interrupt; otherwise interrupts stay as the crash left them until silence() is called. */
  readonly needsInterrupts: boolean;
  /** Where the header goes: a disk keeps its swap header in front. */
  readonly startOffset: number;
  /** Writes are of whole multiples of this. */
  readonly grainBytes: number;
  /** Why the last write failed, in words that do not vary. */
  readonly failure: string;
  /** Takes the device for the dump. */
  silence(): Running<number>;
  /** Writes `bytes` from physical address `from` to where data.dump_offset says, and moves that on. May be under way when it returns. */
  write(from: number, bytes: number): Running<number>;
  /** Waits for the write that is under way. */
  ready(): Running<number>;
  /** Which pages go when, for a device that has its own order. */
  sequencer?(): Running<number>;
  /** The dump is over, well or badly. */
  resume(): Running;
  /** Asked by each CPU that waits in schedule(), whenever it looks whether the dump is over. */
  standing?(): Running;
}
