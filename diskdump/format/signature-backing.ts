// A formatted partition that costs no memory: its pages are computed when somebody reads them.
import { FRAME_SIZE, type PagePool } from "../../emulator/memory/pool.ts";
import type { Backing } from "../../emulator/memory/store.ts";
import { fillSignature, type SignatureStyle } from "./signature.ts";
import { SignatureKernel } from "./wasm-signature.ts";

export interface SignedArea extends SignatureStyle {
  /** The first 4 KiB page of the partition within the disk whose store this backs. */
  readonly firstPage: number;
  /** Pages of the partition; pages outside are holes. */
  readonly pages: number;
  /** Bytes of a dump block, a multiple of 4096. */
  readonly blockSize: number;
}

export class SignatureBacking implements Backing {
  readonly area: SignedArea;
  private readonly kernel: SignatureKernel;
  private readonly framesPerBlock: number;
  private readonly scratch: Uint8Array;

  constructor(pool: PagePool, area: SignedArea) {
    if (area.blockSize % FRAME_SIZE !== 0 || area.blockSize <= 0) {
      throw new RangeError(`signature: a block size of ${area.blockSize} bytes is not a multiple of ${FRAME_SIZE}`);
    }
    this.area = area;
    this.kernel = new SignatureKernel(pool.memory, area);
    this.framesPerBlock = area.blockSize / FRAME_SIZE;
    this.scratch = new Uint8Array(area.blockSize);
  }

  readPage(page: number, into: Uint8Array): boolean {
    const inside = page - this.area.firstPage;
    // A partial block at the partition's end is no block: the formatter leaves it alone.
    const block = Math.floor(inside / this.framesPerBlock);
    if (inside < 0 || (block + 1) * this.framesPerBlock > this.area.pages) return false;
    const frame = inside % this.framesPerBlock;
    if (into.buffer === this.kernel.memory.buffer) this.kernel.generatePart(into.byteOffset, block, frame);
    else {
      fillSignature(this.scratch, block, this.area);
      into.set(this.scratch.subarray(frame * FRAME_SIZE, (frame + 1) * FRAME_SIZE));
    }
    return true;
  }
}
