// What tests do with a disk: write and read through the block layer, from several processes, and send single commands.
import { cpu, finished } from "../../../emulator/cpu/cpu.ts";
import { struct_scsi_cmnd } from "../../../kernel-sim/abi/structs/scsi.ts";
import { K } from "../../../kernel-sim/core/kernel.ts";
import {
  spin_lock,
  spin_lock_irqsave,
  spin_unlock,
  spin_unlock_irqrestore,
} from "../../../kernel-sim/core/spinlock.ts";
import { M } from "../../../kernel-sim/abi/ram.ts";
import { do_fork } from "../../../kernel-sim/core/fork.ts";
import { delayNs, msleep } from "../../../kernel-sim/core/timer.ts";
import { scsi_cmnd, type scsi_device } from "../../../kernel-sim/scsi/host.ts";
import { scsi_allocate_request, scsi_wait_req } from "../../../kernel-sim/scsi/internal-request.ts";
import { GFP_HIGHUSER, alloc_page } from "../../../kernel-sim/mm/page-alloc.ts";
import { page_to_phys } from "../../../kernel-sim/mm/page.ts";
import { transfer } from "../../../hba/mptfusion/driver-testing.ts";
import type { ErrorHandler } from "./adapter.ts";
import type { QemuRig } from "./rig.ts";

/** Pages of ordinary memory, for the rig's life, no two of them neighbours: each is an element of its own. Returns their addresses. */
export function takePages(rig: QemuRig, count: number): number[] {
  const pages: number[] = [];
  rig.run(function* () {
    for (let i = 0; i < count * 2; i++) {
      const page = yield* alloc_page(GFP_HIGHUSER);
      if (page === 0) throw new Error("the kernel has no page left for the test");
      pages.push(page_to_phys(page));
    }
  });
  return pages.sort((one, other) => one - other).filter((_, i) => i % 2 === 0);
}

/** Contents that tell the page, the seed and the place in it. */
export function fill(rig: QemuRig, pages: readonly number[], seed: number): void {
  const bytes = Buffer.alloc(4096);
  for (const page of pages) {
    for (let i = 0; i < 4096; i += 4) bytes.writeUInt32LE(Math.imul(seed ^ page ^ 0x9e3779b1, i + 0x5bd1e995) >>> 0, i);
    rig.kernel.machine.memory.writeBytes(page, bytes);
  }
}

export function contents(rig: QemuRig, pages: readonly number[]): Buffer {
  const all = Buffer.alloc(pages.length * 4096);
  pages.forEach((page, i) => rig.kernel.machine.memory.readBytes(page, all.subarray(i * 4096, (i + 1) * 4096)));
  return all;
}

/** One piece of work: so many pages at a sector of a disk. */
export interface Piece {
  readonly disk: number;
  readonly sector: number;
  readonly pages: number[];
}

/** Lets one process per piece transfer at the same time. Returns the pieces that failed. */
export function transferAll(rig: QemuRig, write: boolean, pieces: readonly Piece[], seconds = 300): Piece[] {
  const failed: Piece[] = [];
  let ended = 0;
  rig.run(function* () {
    for (const [i, piece] of pieces.entries()) {
      yield* do_fork(
        `io${i}`,
        function* () {
          if (!(yield* transfer(rig.sds[piece.disk]!, write, piece.sector, piece.pages))) failed.push(piece);
          ended++;
        },
        i % rig.kernel.machine.cpus.length,
      );
    }
    while (ended < pieces.length) yield* msleep(1);
  }, seconds);
  return failed;
}

/** Writes patterns at a sector of a disk, reads them back into other pages. Returns whether each step was right. */
export function roundTrip(rig: QemuRig, disk: number, sector: number, count: number): Record<string, boolean> {
  const out = takePages(rig, count);
  const back = takePages(rig, count);
  fill(rig, out, sector);
  const wrote = transferAll(rig, true, [{ disk, sector, pages: out }]).length === 0;
  const onDisk = contents(rig, out).equals(rig.onDisk(disk, sector, count * 4096));
  const read = transferAll(rig, false, [{ disk, sector, pages: back }]).length === 0;
  return { wrote, onDisk, read, same: contents(rig, back).equals(contents(rig, out)) };
}

/** What became of one command: its result, and sense key, code and qualifier. */
export interface Answer {
  readonly result: number;
  readonly sense: readonly [number, number, number];
}

/** Sends one command with `bytes` of data space. */
export function send(
  rig: QemuRig,
  sdev: scsi_device,
  cdb: readonly number[],
  bytes: number,
  direction: number,
  buffer = rig.kernel.bootmem(Math.max(bytes, 4), 4096),
): Answer {
  let answer: Answer | undefined;
  rig.run(function* () {
    const { sreq, waiting } = scsi_allocate_request(sdev);
    const result = yield* scsi_wait_req(sreq, waiting, cdb, buffer, bytes, direction, 30_000, 1);
    const at = sreq.s.sr_sense_buffer;
    answer = { result, sense: [M.u8[at + 2]! & 0xf, M.u8[at + 12]!, M.u8[at + 13]!] };
  });
  return answer!;
}

/**
 * One command by polling, as the dumper sends it: interrupts off, host_lock held for queuecommand only.
 * Returns: its result, or -1 when it has not ended within `seconds`. Context: process, interrupts off.
 */
export function* polled(
  cmd: scsi_cmnd,
  cdb: readonly number[],
  buffer: number,
  bytes: number,
  direction: number,
  seconds = 5,
): Generator<void, number, void> {
  const { s, device } = cmd;
  const { hostt, host_lock } = device.host;
  for (let i = 0; i < 16; i++) M.u8[cmd.cmnd + i] = cdb[i] ?? 0;
  s.cmd_len = cdb.length;
  s.sc_data_direction = direction;
  s.request_buffer = buffer;
  s.request_bufflen = bytes;
  s.use_sg = 0;
  s.result = -1;
  let done = false;
  yield* spin_lock(host_lock);
  const refused = yield* hostt.queuecommand(cmd, () => {
    done = true;
    return finished();
  });
  spin_unlock(host_lock);
  if (refused !== 0) throw new Error(`queuecommand refused: 0x${refused.toString(16)}`);
  for (const end = cpu.clock + seconds * 1e9; !done && cpu.clock < end;) {
    yield* hostt.dump_poll!(device);
    if (!done) yield* delayNs(100_000);
  }
  return done ? s.result : -1;
}

/** A command of the test's own for a device. */
export const commandFor = (sdev: scsi_device): scsi_cmnd => new scsi_cmnd(sdev, K.bootmem(K.sizeOf(struct_scsi_cmnd)));

export const write10 = (lba: number, sectors: number): number[] => rw10(0x2a, lba, sectors);
export const read10 = (lba: number, sectors: number): number[] => rw10(0x28, lba, sectors);
const rw10 = (opcode: number, lba: number, sectors: number): number[] => [
  ...[opcode, 0, (lba >>> 24) & 0xff, (lba >>> 16) & 0xff, (lba >>> 8) & 0xff, lba & 0xff],
  ...[0, (sectors >>> 8) & 0xff, sectors & 0xff, 0],
];

/** Calls an error handler's hook for a command as the mid-layer does. Returns: what it says. Context: process. */
export function* handle(cmd: scsi_cmnd, hook: ErrorHandler): Generator<void, number, void> {
  const { host_lock, hostt } = cmd.device.host;
  const flags = yield* spin_lock_irqsave(host_lock);
  const said = yield* hostt[hook]!(cmd);
  yield* spin_unlock_irqrestore(host_lock, flags);
  return said;
}

export { transfer };
