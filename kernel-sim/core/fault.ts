// What becomes of plain code that meets a list which a stopped CPU left half linked: it takes a pointer that leads nowhere, and
// faults; or it walks in a circle, and never comes back. Neither is an error of the simulator: it is how such a kernel goes on.
import { LOST, cpu, halt, type Program } from "../../emulator/cpu/cpu.ts";
import { K } from "./kernel.ts";
import { paging_request } from "./panic.ts";

/** A walk that has seen more entries than any list of this kernel has is one in a circle. */
export const LIST_WALK_LIMIT = 1 << 18;

/** A CPU that goes round in a list for ever. For who asks why nothing happens; kernel code does not read it. */
export interface EndlessWalk {
  readonly cpu: number;
  /** The list: "the sorted list of a request queue". */
  readonly list: string;
  readonly functionName: string;
}

/** The object behind a pointer that a list in RAM holds. Without one the kernel reads what is no object of its kind: it faults. */
export function pointed<T>(object: T | undefined, address: number): T {
  if (object === undefined) bad_pointer(address);
  return object;
}

/** The running code dereferences `address` and is left for the page fault's handler, which does not come back. */
export function bad_pointer(address: number): never {
  cpu.program = fault(address);
  throw LOST;
}

function* fault(address: number): Generator<void, void, void> {
  yield* paging_request(address);
}

/** The running code goes round in `list` and never comes out: the CPU is lost, with what it holds, and takes no interrupt. */
export function walks_for_ever(list: string): never {
  const c = cpu;
  K.endlessWalks.push({ cpu: c.id, list, functionName: K.functionName(c.functionId) });
  c.interruptsEnabled = false;
  c.program = stand(c.program!);
  throw LOST;
}

/** `left` is what ran: kept so that it is not taken for finished. */
function* stand(_left: Program): Generator<void, void, void> {
  for (;;) yield* halt();
}
