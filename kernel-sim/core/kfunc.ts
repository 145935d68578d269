// Kernel functions: each has a symbol, a text address, a real frame on the RAM stack, and is a probe point.
//
// kfunc() wraps a generator body. The wrapper is generated per function, so every call site stays monomorphic, and it
// runs the body at once: only a body that has to give way costs an iterator of its own. Its result must therefore be
// consumed at once, by `yield*` (the linter checks).
import {
  LOST,
  cpu,
  finished,
  giveWay,
  isFinished,
  mustGiveWay,
  type Program,
  type Running,
} from "../../emulator/cpu/cpu.ts";
import { M, virtualOf } from "../abi/ram.ts";
import {
  addFunction,
  functionNamed,
  functions,
  isLinked,
  setLinkedVersion,
  type FunctionInfo,
} from "./function-table.ts";
import { popFrame, pushFrame } from "./frames.ts";
import type { Kernel, KernelSymbol } from "./kernel.ts";
import { BODY_OFFSET, CALL_SITES, FUNCTION_BYTES, RETURN_OFFSET, functionText, type CallSite } from "./text.ts";

/** Time of a call, entry to return, without what the body does. */
const CALL_NS = 6;
export { beginStack, frameAt } from "./frames.ts";
export { FUNCTION_BYTES, RETURN_OFFSET, type CallSite };

/** Physical text address per function id; 0 while not linked. */
let textAddress: number[] = [0];
/** Probes armed per function id; looked at on every entry. */
let probes = new Uint8Array(4096);

/** Return addresses into each function as virtual addresses, ready to be pushed. */
let returnLo: Uint32Array = new Uint32Array(4096);
let returnHi: Uint32Array = new Uint32Array(4096);

/** A probe: `remaining` entries pass, then `hit` runs before the body, in the context of the caller. */
interface Probe {
  remaining: number;
  readonly hit: () => Running;
}
const armed = new Map<number, Probe>();

const generatorNext = Object.getPrototypeOf(function* () {}).prototype.next as (
  this: unknown,
) => IteratorResult<void, unknown>;

/** Pushes a frame (return address, saved frame pointer). Returns the caller's function id, or -1: see to something first. */
function enter(id: number): number {
  const c = cpu;
  if (c.clock > c.horizon || (c.attention && c.interruptsEnabled) || probes[id] !== 0) return -1;
  return push(id);
}

function push(id: number): number {
  const c = cpu;
  if ((c.clock += CALL_NS) >= c.limit) c.owner.cross(c);
  const caller = c.functionId;
  if (M.fastPointers) {
    const sp = c.sp - 16;
    // [sp] saved frame pointer, [sp+8] return address (kernel or module text).
    const { u32 } = M;
    const at = sp >>> 2;
    const fp = c.fp;
    if (fp >= M.moduleEnd) {
      u32[at] = fp;
      u32[at + 1] = M.pageOffsetHi;
    } else {
      // NULL, or one of the first CPU's stacks, which lie in the kernel image.
      u32[at] = fp === 0 ? 0 : M.kernelMapLo + fp;
      u32[at + 1] = fp === 0 ? 0 : M.kernelMapHi;
    }
    u32[at + 2] = returnLo[caller]!;
    u32[at + 3] = returnHi[caller]!;
    c.sp = sp;
    c.fp = sp;
  } else pushFrame(c, textAddress[caller]! + RETURN_OFFSET);
  c.functionId = id;
  return caller;
}

function leave(caller: number): void {
  const c = cpu;
  const fp = c.fp;
  if (M.fastPointers) {
    const low = M.u32[fp >>> 2]!;
    c.fp = M.u32[(fp >>> 2) + 1] === M.kernelMapHi ? (low - M.kernelMapLo) >>> 0 : low;
    c.sp = fp + 16;
  } else popFrame(c);
  c.functionId = caller;
}

/** To be called first by the function itself: what called it did so by its own call instruction. */
export function calledAt(site: CallSite): void {
  if (M.fastPointers) M.u32[(cpu.fp >>> 2) + 2]! += CALL_SITES[site] - RETURN_OFFSET;
}

/** The rest of a call that had to give way: forwards to the body, pops the frame when it is done. */
class Suspended {
  private first: IteratorResult<void, unknown> | undefined;
  private readonly body: unknown;
  private readonly caller: number;
  constructor(body: unknown, first: IteratorResult<void, unknown>, caller: number) {
    this.body = body;
    this.first = first;
    this.caller = caller;
  }
  [Symbol.iterator](): this {
    return this;
  }
  next(): IteratorResult<void, unknown> {
    const { first } = this;
    if (first !== undefined) {
      this.first = undefined;
      return first;
    }
    const result = generatorNext.call(this.body);
    if (result.done) leave(this.caller);
    return result;
  }
}

/** As Suspended, for the rest of a plain body: any iterator. */
class SuspendedRest {
  private readonly rest: Iterator<void, unknown, void>;
  private readonly caller: number;
  constructor(rest: Running<unknown>, caller: number) {
    this.rest = rest[Symbol.iterator]();
    this.caller = caller;
  }
  [Symbol.iterator](): this {
    return this;
  }
  next(): IteratorResult<void, unknown> {
    const result = this.rest.next();
    if (result.done) leave(this.caller);
    return result;
  }
}

/** Entry when something is due first: a preemption point, then the probe, then the body. */
function* enterLate(
  id: number,
  body: (...args: unknown[]) => Running<unknown>,
  args: unknown[],
): Generator<void, unknown, void> {
  if (mustGiveWay()) yield* giveWay(cpu);
  const caller = push(id);
  if (probes[id] !== 0) {
    const probe = armed.get(id)!;
    if (probe.remaining-- <= 0) {
      disarmProbe(id);
      yield* probe.hit();
    }
  }
  const result = yield* body(...args);
  leave(caller);
  return result;
}

function register(name: string, module: string | undefined, version: string | undefined): number {
  const id = addFunction(name, module, version);
  textAddress.push(0);
  if (id >= probes.length) {
    const larger = new Uint8Array(probes.length * 2);
    larger.set(probes);
    probes = larger;
    const [lo, hi] = [new Uint32Array(larger.length), new Uint32Array(larger.length)];
    lo.set(returnLo);
    hi.set(returnHi);
    returnLo = lo;
    returnHi = hi;
    links.lo = lo;
    links.hi = hi;
  }
  return id;
}

type Body<A extends unknown[], T> = (...args: A) => Generator<void, T, void>;
/** A kernel function: call it under `yield*`. `id` names it in probes. */
export type KernelFunction<A extends unknown[], T> = ((...args: A) => Running<T>) & {
  readonly id: number;
  readonly symbol: string;
};

function define<A extends unknown[], T>(
  name: string,
  module: string | undefined,
  body: Body<A, T>,
  version?: string,
): KernelFunction<A, T> {
  const id = register(name, module, version);
  const params = Array.from({ length: body.length }, (_, i) => `a${i}`).join(", ");
  const make = new Function(
    "enter",
    "leave",
    "body",
    "next",
    "finished",
    "Suspended",
    "enterLate",
    `return function ${name}(${params}) {
      const caller = enter(${id});
      if (caller < 0) return enterLate(${id}, body, [${params}]);
      const g = body(${params});
      const r = next.call(g);
      if (r.done) { leave(caller); return finished(r.value); }
      return new Suspended(g, r, caller);
    }`,
  ) as (...imports: unknown[]) => (...args: A) => Running<T>;
  return Object.assign(make(enter, leave, body, generatorNext, finished, Suspended, enterLate), { id, symbol: name });
}

/** A kernel function of the kernel proper. */
export const kfunc = <A extends unknown[], T>(name: string, body: Body<A, T>): KernelFunction<A, T> =>
  define(name, undefined, body);

/** The kfunc of a loadable module: its functions get their text addresses when the module is loaded. For `version` see versionFunctions. */
export const moduleFunctions =
  (module: string | undefined, version?: string) =>
  <A extends unknown[], T>(name: string, body: Body<A, T>): KernelFunction<A, T> =>
    define(name, module, body, version);

/**
 * A kernel function with a plain body, for hot paths: the body returns what `finished()` gives when it did not have to give
 * way, else the iterator of the rest. Costs no generator in the first case. Call it under `yield*` all the same, or, from
 * another plain body, look at the result with isFinished(). For `version` see versionFunctions.
 */
export function kquick<A extends unknown[], T>(
  name: string,
  body: (...args: A) => Running<T>,
  module?: string,
  version?: string,
): KernelFunction<A, T> {
  const id = register(name, module, version);
  const params = Array.from({ length: body.length }, (_, i) => `a${i}`).join(", ");
  const make = new Function(
    "enter",
    "leave",
    "body",
    "isFinished",
    "SuspendedRest",
    "enterLate",
    `return function ${name}(${params}) {
      const caller = enter(${id});
      if (caller < 0) return enterLate(${id}, body, [${params}]);
      const r = body(${params});
      if (isFinished(r)) { leave(caller); return r; }
      return new SuspendedRest(r, caller);
    }`,
  ) as (...imports: unknown[]) => (...args: A) => Running<T>;
  return Object.assign(make(enter, leave, body, isFinished, SuspendedRest, enterLate), { id, symbol: name });
}

function enterLeaf(id: number): number {
  const caller = push(id);
  if (probes[id] !== 0) hitLeaf(id);
  return caller;
}

/**
 * A probe in a plain function: what it does runs at once if it need not give way. Otherwise it never comes back (a panic, an
 * oops): the function and all its callers are left, and the CPU goes on with the probe, on the same stack.
 */
function hitLeaf(id: number): void {
  const probe = armed.get(id)!;
  if (probe.remaining-- > 0) return;
  disarmProbe(id);
  const hit = probe.hit()[Symbol.iterator]();
  const first = hit.next();
  if (first.done) return;
  cpu.program = goOn(hit, functions[id]!.name);
  throw LOST;
}

function* goOn(hit: Program, where: string): Generator<void, never, void> {
  while (!hit.next().done) yield;
  throw new Error(`a probe in ${where}(), which has no preemption points, gave way and came back`);
}

/** A kernel function without preemption points: an ordinary call with a frame and a probe. */
export function kleaf<A extends unknown[], T>(
  name: string,
  body: (...args: A) => T,
  module?: string,
): ((...args: A) => T) & { readonly id: number; readonly symbol: string } {
  const id = register(name, module, undefined);
  const params = Array.from({ length: body.length }, (_, i) => `a${i}`).join(", ");
  const make = new Function(
    "enter",
    "leave",
    "body",
    `return function ${name}(${params}) { const caller = enter(${id}); const r = body(${params}); leave(caller); return r; }`,
  ) as (...imports: unknown[]) => (...args: A) => T;
  return Object.assign(make(enterLeaf, leave, body), { id, symbol: name });
}

/** The kleaf of a loadable module. */
export const moduleLeaves =
  (module: string) =>
  <A extends unknown[], T>(
    name: string,
    body: (...args: A) => T,
  ): ((...args: A) => T) & { readonly id: number; readonly symbol: string } =>
    kleaf(name, body, module);

/** Runs `hit` at the n-th entry (1 is the next) of the named function. Returns false when there is no such function. */
export function armProbe(name: string, nth: number, hit: () => Running): boolean {
  const info = functionNamed(name);
  if (!info) return false;
  probes[info.id] = 1;
  armed.set(info.id, { remaining: nth - 1, hit });
  return true;
}

/** True while a probe waits for its function to be called. */
export const probesArmed = (): boolean => armed.size > 0;

export function disarmProbe(id: number): void {
  probes[id] = 0;
  armed.delete(id);
}

export function disarmAllProbes(): void {
  for (const id of [...armed.keys()]) disarmProbe(id);
}

export const textAddressOf = (id: number): number => textAddress[id]!;

/** Gives the kernel's own functions their addresses, in the order of their names (so imports do not move them). */
export function linkFunctions(kernel: Kernel, start: number, bytes: number): Links {
  setLinkedVersion(kernel.flavour.version);
  const own = functions
    .filter((f) => f.module === undefined && isLinked(f))
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id - b.id));
  const room = Math.floor(bytes / FUNCTION_BYTES);
  if (own.length > room) throw new Error(`kernel image: ${own.length} functions do not fit into .text`);
  // Tables of its own: another kernel on the machine keeps its functions where they are.
  installLinks({
    text: functions.map(() => 0),
    lo: new Uint32Array(returnLo.length),
    hi: new Uint32Array(returnHi.length),
    byAddress: new Map(),
  });
  const mine = links;
  placeFunctions(kernel, own, start);
  kernel.functionName = (id) => functions[id]?.name ?? "?";
  kernel.functionAt = (addr) => functionAt(mine.byAddress, addr);
  return mine;
}

/** Where a kernel's functions are. */
export interface Links {
  text: number[];
  lo: Uint32Array;
  hi: Uint32Array;
  readonly byAddress: Map<number, string>;
}
let links: Links = { text: textAddress, lo: returnLo, hi: returnHi, byAddress: new Map() };

/** Makes the functions lie where a kernel has them. */
export function installLinks(next: Links): void {
  links = next;
  // Functions that were defined after that kernel was linked have no address in it.
  while (next.text.length < functions.length) next.text.push(0);
  if (next.lo.length < returnLo.length) {
    const [lo, hi] = [new Uint32Array(returnLo.length), new Uint32Array(returnLo.length)];
    lo.set(next.lo);
    hi.set(next.hi);
    next.lo = lo;
    next.hi = hi;
  }
  textAddress = next.text;
  returnLo = next.lo;
  returnHi = next.hi;
}

/** Functions are FUNCTION_BYTES long and aligned to that within their image. */
function functionAt(byAddress: ReadonlyMap<number, string>, addr: number): string | undefined {
  for (let at = addr & ~15, tries = 0; tries < FUNCTION_BYTES / 16; at -= 16, tries++) {
    const name = byAddress.get(at);
    if (name !== undefined) return name;
  }
  return undefined;
}

/** Gives a module's functions their addresses, one behind the other from `start`. Returns their symbols. */
export function linkModuleFunctions(kernel: Kernel, module: string, start: number): KernelSymbol[] {
  const own = functions
    .filter((f) => f.module === module && isLinked(f))
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id - b.id));
  placeFunctions(kernel, own, start);
  return own.map((f) => kernel.symbols.get(f.name)!);
}

/** Lays functions out from `start` on: addresses, symbols, text, and the calls of schedule() and its like. */
function placeFunctions(kernel: Kernel, own: readonly FunctionInfo[], start: number): void {
  const { model } = kernel.map;
  const base = virtualOf(start);
  const [baseLo, baseHi] = [Number(base & 0xffffffffn), Number(base >> 32n)];
  own.forEach((info, i) => {
    const at = start + i * FUNCTION_BYTES;
    const returns = baseLo + i * FUNCTION_BYTES + RETURN_OFFSET;
    textAddress[info.id] = at;
    returnLo[info.id] = returns;
    returnHi[info.id] = returns < 2 ** 32 ? baseHi : baseHi + 1;
    links.byAddress.set(at, info.name);
    M.u8.set(functionText(model, info.number), at);
    kernel.symbols.set(info.name, { name: info.name, addr: at, size: FUNCTION_BYTES, letter: "T" });
  });
  if (model.name !== "x86_64" && model.name !== "i386") return;
  for (const [name, offset] of Object.entries(CALL_SITES)) {
    const target = functions.find((f) => f.name === name);
    if (!target || !kernel.symbols.has(name)) continue;
    const entry = returnLo[target.id]! - RETURN_OFFSET;
    for (const { id } of own) {
      const at = textAddress[id]! + offset - 5;
      M.u8[at] = 0xe8;
      M.view.setInt32(at + 1, (entry - (returnLo[id]! - RETURN_OFFSET + offset)) | 0, true);
    }
  }
}

/** Physical text address at which a CPU that is in function `id` now would be stopped. */
export const instructionPointer = (id: number): number => textAddress[id]! + BODY_OFFSET;
