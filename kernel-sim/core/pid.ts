// The pid hashes (kernel/pid.c of 2.6.9): every task but the idle ones, by number and kind, chained in RAM.
import { peekPtr, poke32, pokePtr } from "../abi/ram.ts";
import { hlist_head, hlist_node } from "../abi/structs/base.ts";
import { pid, pid_type, task_struct } from "../abi/structs/sched.ts";
import { array, int, ptr } from "../abi/types.ts";
import { K, type Kernel } from "./kernel.ts";
import type { Task } from "./task.ts";

const PIDTYPE_MAX = pid_type.values["PIDTYPE_MAX"]!;
/** Buckets per 4 MiB of RAM, as pidhash_init() reckons, within its limits of 16 and 4096. */
const MIN_SHIFT = 4;
const MAX_SHIFT = 12;

/** Sizes and empties the hashes. */
export function pidhash_init(k: Kernel): void {
  const megabytes = k.machine.memory.ramPages / 256;
  const shift = Math.max(MIN_SHIFT, Math.min(MAX_SHIFT, Math.floor(Math.log2(Math.max(1, megabytes * 4))) + 1));
  k.pidHashShift = shift;
  poke32(k.static("pidhash_shift", int), shift);
  const heads = k.static(
    "pid_hash",
    array(
      ptr(() => hlist_head),
      PIDTYPE_MAX,
    ),
  );
  const word = k.map.model.wordBytes;
  for (let type = 0; type < PIDTYPE_MAX; type++) {
    const buckets = k.bootmem(k.sizeOf(hlist_head) << shift);
    pokePtr(heads + type * word, buckets);
    k.pidHash.push(buckets);
  }
}

/** hash_long() of include/linux/hash.h: multiplication by a prime near the golden ratio, the top bits of the product. */
function pid_hashfn(nr: number): number {
  const shift = K.pidHashShift;
  if (K.map.model.wordBytes === 4) return Math.imul(nr, 0x9e370001) >>> (32 - shift);
  return Number(BigInt.asUintN(64, BigInt(nr) * 0x9e37fffffffc0001n) >> BigInt(64 - shift));
}

const linkOf = (task: Task, type: number): number =>
  task.addr + K.offsetOf(task_struct, "pids") + type * K.sizeOf(pid) + K.offsetOf(pid, "pid_chain");

/** Chains a task under `nr` in the hash of each kind: it leads its own thread group, process group and session. */
export function attach_pid(task: Task, nr: number): void {
  const next = K.offsetOf(hlist_node, "next");
  const pprev = K.offsetOf(hlist_node, "pprev");
  for (let type = 0; type < PIDTYPE_MAX; type++) {
    const node = linkOf(task, type);
    K.view(pid, node - K.offsetOf(pid, "pid_chain")).nr = nr;
    const head = K.pidHash[type]! + pid_hashfn(nr) * K.sizeOf(hlist_head);
    const first = peekPtr(head);
    pokePtr(node + next, first);
    pokePtr(node + pprev, head);
    if (first !== 0) pokePtr(first + pprev, node + next);
    pokePtr(head, node);
  }
}

/** Takes a task out of every hash. */
export function detach_pid(task: Task): void {
  const offset = { next: K.offsetOf(hlist_node, "next"), pprev: K.offsetOf(hlist_node, "pprev") };
  for (let type = 0; type < PIDTYPE_MAX; type++) {
    const node = linkOf(task, type);
    const next = peekPtr(node + offset.next);
    const pprev = peekPtr(node + offset.pprev);
    pokePtr(pprev, next);
    if (next !== 0) pokePtr(next + offset.pprev, pprev);
  }
}
