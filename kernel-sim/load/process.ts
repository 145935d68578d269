// One process of the load: thinks, then reads or writes its file, for ever.
import { step } from "../../emulator/cpu/cpu.ts";
import { FRAME_SIZE } from "../../emulator/memory/pool.ts";
import type { RandomStream } from "../../emulator/time/random.ts";
import { M } from "../abi/ram.ts";
import { file } from "../abi/structs/fs.ts";
import { READ, WRITE } from "../block/request.ts";
import { K, current } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { fget_light } from "../fs/files.ts";
import { O_DIRECT, O_RDWR, sys_open } from "../fs/open.ts";
import { DirectIo } from "../mm/direct-io.ts";
import { UserBuffer, generic_file_write } from "../mm/filemap.ts";
import { GFP_HIGHUSER, alloc_page } from "../mm/page-alloc.ts";
import type { AddressSpace } from "../mm/page-cache.ts";
import { hasProcessMemory, mmap_pages } from "../mm/process-memory.ts";
import { page_to_phys } from "../mm/page.ts";
import { sys_fsync_mapping } from "../mm/writeback.ts";
import type { Ledger } from "./ledger.ts";
import type { Load } from "./load.ts";
import { BLOCK_BYTES, SECTORS_PER_BLOCK, fillPattern, generationOf } from "./pattern.ts";
import { userMode } from "./user-mode.ts";

/** System call entry and exit. */
const SYSCALL_NS = 500;
/** Making the contents of one block, in user mode. */
const FILL_NS = 300;

export class LoadProcess {
  readonly name: string;
  readonly mapping: AddressSpace;
  readonly ledger: Ledger;
  readonly random: RandomStream;
  readonly dio: DirectIo;
  readonly blocks: number;
  /** Calls that have returned, in the order of Load.mix. */
  readonly calls = [0, 0, 0, 0];
  buffer: UserBuffer | undefined;
  /** With sequential access: behind the last call. */
  nextBlock = 0;
  /** Its file's name, and the descriptors it has of it: through the page cache, and past it. */
  path = "";
  fd = -1;
  directFd = -1;

  constructor(name: string, mapping: AddressSpace, ledger: Ledger, random: RandomStream) {
    this.name = name;
    this.mapping = mapping;
    this.ledger = ledger;
    this.random = random;
    this.dio = new DirectIo(name);
    this.blocks = ledger.blocks;
  }
}

/** The program of a process: user mode, from where it calls the kernel. */
export function* load_main(load: Load, p: LoadProcess): Generator<void, void, void> {
  p.fd = yield* sys_open(p.path, O_RDWR);
  p.directFd = yield* sys_open(p.path, O_RDWR | O_DIRECT);
  if (p.fd < 0 || p.directFd < 0) {
    load.complain(`${p.name}: open of ${p.path} returned ${Math.min(p.fd, p.directFd)}`);
    load.running--;
    return;
  }
  yield* sys_mlock(load, p);
  const { mix, sizeMinBytes, sizeMaxBytes, thinkTimeNs, access } = load.options;
  const weights = [mix.bufferedWrite, mix.fsync, mix.directRead, mix.directWrite];
  const least = Math.max(1, Math.round(sizeMinBytes / BLOCK_BYTES));
  const most = Math.min(p.blocks, Math.max(least, Math.round(sizeMaxBytes / BLOCK_BYTES)));
  while (!load.stopping) {
    // Uniform around the mean: at times back to back, at times twice as long.
    const think = Math.floor(p.random.unit() * 2 * thinkTimeNs);
    const kind = p.random.weighted(weights);
    const count = p.random.between(least, most);
    const block = access === "sequential" ? nextBlock(p, count) : p.random.between(0, p.blocks - count);
    const writes = kind === 0 || kind === 3;
    yield* userMode(think + (writes ? count * FILL_NS : 0));
    if (writes) fillBuffer(p, block, count);
    if (kind === 0) yield* sys_write(load, p, block, count);
    else if (kind === 1) yield* sys_fsync(load, p);
    else if (kind === 2) yield* sys_pread(load, p, block, count);
    else yield* sys_pwrite(load, p, block, count);
    p.calls[kind]!++;
    load.calls++;
  }
  load.running--;
}

/** Where the last call ended, or the file's start when the next one does not fit behind it. */
function nextBlock(p: LoadProcess, count: number): number {
  const block = p.nextBlock + count > p.blocks ? 0 : p.nextBlock;
  p.nextBlock = block + count;
  return block;
}

/** Makes the process's buffer present: pages in an order of their own, so that scatter lists have something to do. */
const sys_mlock = kfunc("sys_mlock", function* (load: Load, p: LoadProcess) {
  const pages: number[] = [];
  const wanted = Math.min(p.blocks, Math.max(1, Math.ceil(load.options.sizeMaxBytes / BLOCK_BYTES)));
  for (let i = 0; i < wanted; i++) {
    const page = yield* alloc_page(GFP_HIGHUSER);
    if (page === 0) load.complain(`${p.name}: no memory for its buffer`);
    else pages.push(page_to_phys(page));
  }
  for (let i = 0; i + 1 < pages.length; i += 2) {
    if (p.random.unit() < 0.5) [pages[i], pages[i + 1]] = [pages[i + 1]!, pages[i]!];
  }
  p.buffer = new UserBuffer(pages);
  if (hasProcessMemory() && (yield* mmap_pages(current(), pages)) < 0)
    load.complain(`${p.name}: no memory to map its buffer`);
});

/** Slab offset of a page that is about to be overwritten as a whole. */
function offsetToOverwrite(address: number): number {
  const { memory } = M;
  if (address < memory.flatBytes) return address;
  return memory.pages.ownedSlot(address / FRAME_SIZE, false) * FRAME_SIZE;
}

/** User mode: puts new generations of the blocks into the buffer. */
function fillBuffer(p: LoadProcess, block: number, count: number): void {
  for (let i = 0; i < count; i++) {
    const generation = p.ledger.begin(block + i);
    fillPattern(offsetToOverwrite(p.buffer!.pages[i]!), p.ledger.tag, block + i, generation);
  }
}

/** The cached pages of the file behind a descriptor. */
const mappingOf = (fd: number): AddressSpace => K.pages.mappings.get(K.view(file, fget_light(fd)).f_mapping)!;

const sys_write = kfunc("sys_write", function* (load: Load, p: LoadProcess, block: number, count: number) {
  step(SYSCALL_NS);
  const bytes = count * BLOCK_BYTES;
  // lseek() before it: there is no pwrite() through the cache in the mix.
  K.view(file, fget_light(p.fd)).f_pos = (block + count) * BLOCK_BYTES;
  const written = yield* generic_file_write(mappingOf(p.fd), block * BLOCK_BYTES, bytes, p.buffer!);
  if (written !== bytes) load.complain(`${p.name}: write of ${bytes} bytes returned ${written}`);
  else for (let i = 0; i < count; i++) p.ledger.buffered(block + i);
  step(SYSCALL_NS);
});

const sys_fsync = kfunc("sys_fsync", function* (load: Load, p: LoadProcess) {
  step(SYSCALL_NS);
  const covered = p.ledger.fsyncBegins();
  const error = yield* sys_fsync_mapping(mappingOf(p.fd));
  if (error === 0) p.ledger.fsyncEnds(covered);
  else load.complain(`${p.name}: fsync returned ${error}`);
  step(SYSCALL_NS);
});

const sys_pwrite = kfunc("sys_pwrite64", function* (load: Load, p: LoadProcess, block: number, count: number) {
  step(SYSCALL_NS);
  const bytes = count * BLOCK_BYTES;
  const written = yield* K.flavour.block.directIo(
    WRITE,
    mappingOf(p.directFd),
    p.dio,
    block * BLOCK_BYTES,
    bytes,
    p.buffer!,
  );
  if (written !== bytes) load.complain(`${p.name}: direct write of ${bytes} bytes returned ${written}`);
  else for (let i = 0; i < count; i++) p.ledger.direct(block + i);
  step(SYSCALL_NS);
});

const sys_pread = kfunc("sys_pread64", function* (load: Load, p: LoadProcess, block: number, count: number) {
  step(SYSCALL_NS);
  const bytes = count * BLOCK_BYTES;
  const read = yield* K.flavour.block.directIo(
    READ,
    mappingOf(p.directFd),
    p.dio,
    block * BLOCK_BYTES,
    bytes,
    p.buffer!,
  );
  step(SYSCALL_NS);
  if (read !== bytes) load.complain(`${p.name}: direct read of ${bytes} bytes returned ${read}`);
  else for (let i = 0; i < count; i++) checkBlock(load, p, block + i, p.buffer!.pages[i]!);
});

/** User mode: what was read must be what this process wrote last. */
function checkBlock(load: Load, p: LoadProcess, block: number, address: number): void {
  const expected = p.ledger.begun[block]!;
  const offset = M.memory.offsetForRead(address);
  for (let sector = 0; sector < SECTORS_PER_BLOCK; sector++) {
    const found = offset < 0 ? 0 : generationOf(M.u32, offset / 4 + sector * 128, p.ledger.tag, block, sector, false);
    // A block nobody wrote yet holds whatever was there.
    if (found !== expected && expected !== 0) {
      load.complain(`${p.name}: block ${block} sector ${sector}: read generation ${found}, wrote ${expected}`);
      return;
    }
  }
}
