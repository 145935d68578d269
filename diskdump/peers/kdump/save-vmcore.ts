// Memory goes to the dump partition: kdump copies /proc/vmcore (dd oflag=direct), mkdump writes pages from where they lie.
import { step } from "../../../emulator/cpu/cpu.ts";
import { FRAME_SIZE } from "../../../emulator/memory/pool.ts";
import { WRITE } from "../../../kernel-sim/block/request.ts";
import { lookup_bdev, type BlockDevice } from "../../../kernel-sim/block/gendisk.ts";
import { K } from "../../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../../kernel-sim/core/kfunc.ts";
import { DirectIo, blkdev_direct_IO } from "../../../kernel-sim/mm/direct-io.ts";
import { UserBuffer } from "../../../kernel-sim/mm/filemap.ts";
import { GFP_HIGHUSER, alloc_page } from "../../../kernel-sim/mm/page-alloc.ts";
import { page_to_phys } from "../../../kernel-sim/mm/page.ts";
import type { CrashDump } from "./crash-dump.ts";
import type { CrashImage } from "./crash-image.ts";
import { openVmcore } from "./elfcorehdr.ts";

// A module, like the other dumpers: a kernel without it has its functions where it always had them.
const kfunc = moduleFunctions("kexec");

const CHUNK_PAGES = 256;
/** copy_oldmem_page(): map, copy, unmap. */
const COPY_PAGE_NS = 1500;

/** Returns: "" or why it is not whole. Context: process. */
export const save_vmcore = kfunc("save_vmcore", function* (dump: CrashDump, image: CrashImage) {
  const { memory } = K.machine;
  const bdev: BlockDevice | undefined = lookup_bdev(dump.target);
  if (!bdev) return `the capture kernel has found no /dev/${dump.target}`;
  const vmcore = openVmcore(memory, image.elfcorehdr);
  if (vmcore.bytes > bdev.sectors * 512) return `/dev/${dump.target} is too small for the vmcore`;
  const pages: number[] = [];
  for (let i = 0; i < CHUNK_PAGES; i++) {
    const page = yield* alloc_page(GFP_HIGHUSER);
    if (page === 0) return "the capture kernel has no memory for its buffer: crashkernel is too small";
    pages.push(page_to_phys(page));
  }
  const buffer = new UserBuffer(pages);
  const dio = new DirectIo(dump.target);
  memory.pages.ownedSlot(pages[0]! / FRAME_SIZE);
  for (let at = 0; at < vmcore.head.length; at += FRAME_SIZE) {
    const place = memory.offsetForWrite(pages[at / FRAME_SIZE]!);
    memory.pool.u8.set(vmcore.head.subarray(at, at + FRAME_SIZE), place);
  }
  let pos = 0;
  const first = yield* blkdev_direct_IO(WRITE, bdev.mapping, dio, 0, vmcore.head.length, buffer);
  if (first !== vmcore.head.length) return `write error on /dev/${dump.target}`;
  pos += first;
  dump.bytesWritten = pos;
  for (const { from, bytes } of vmcore.loads) {
    for (let done = 0; done < bytes;) {
      const count = Math.min(CHUNK_PAGES, (bytes - done) / FRAME_SIZE);
      let source = buffer;
      if (dump.kind.direct) {
        const here = from + done;
        source = new UserBuffer(Array.from({ length: count }, (_, i) => here + i * FRAME_SIZE));
      } else {
        for (let i = 0; i < count; i++) {
          step(COPY_PAGE_NS);
          memory.copyPage(from + done + i * FRAME_SIZE, pages[i]!);
          yield* copied();
        }
      }
      const size = count * FRAME_SIZE;
      const written = yield* blkdev_direct_IO(WRITE, bdev.mapping, dio, pos, size, source);
      if (written !== size) return `write error on /dev/${dump.target}`;
      pos += size;
      dump.bytesWritten = pos;
      done += size;
      dump.pagesWritten += count;
    }
  }
  return "";
});

/** A function call is a preemption point. */
const copied = kfunc("copy_oldmem_page", function* () {});
