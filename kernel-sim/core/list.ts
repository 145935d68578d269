// Doubly linked lists in RAM (include/linux/list.h). Every pointer store is a micro-step, so a crash can leave a list
// half linked; a list head is named by its physical address.
import { M, peekPtr, pokePtr, storePtr } from "../abi/ram.ts";

const PREV = (): number => (M.word8 ? 8 : 4);

export const list_next = (head: number): number => peekPtr(head);
export const list_prev = (head: number): number => peekPtr(head + PREV());
export const list_empty = (head: number): boolean => peekPtr(head) === head;

export function INIT_LIST_HEAD(head: number): void {
  pokePtr(head, head);
  pokePtr(head + PREV(), head);
}

function insert(entry: number, prev: number, next: number): void {
  const back = PREV();
  storePtr(next + back, entry);
  storePtr(entry, next);
  storePtr(entry + back, prev);
  storePtr(prev, entry);
}

/** Adds `entry` right behind `head`. */
export const list_add = (entry: number, head: number): void => insert(entry, head, list_next(head));
/** Adds `entry` before `head`: at the end of the list. */
export const list_add_tail = (entry: number, head: number): void => insert(entry, list_prev(head), head);

export function list_del(entry: number): void {
  const prev = list_prev(entry);
  const next = list_next(entry);
  storePtr(next + PREV(), prev);
  storePtr(prev, next);
}

export function list_del_init(entry: number): void {
  list_del(entry);
  INIT_LIST_HEAD(entry);
}

/** Moves the entries of `list` to the front of `head`; `list` is empty then. */
export function list_splice_init(list: number, head: number): void {
  if (list_empty(list)) return;
  const first = list_next(list);
  const last = list_prev(list);
  const at = list_next(head);
  storePtr(first + PREV(), head);
  storePtr(head, first);
  storePtr(last, at);
  storePtr(at + PREV(), last);
  INIT_LIST_HEAD(list);
}

/** The entries of a list, as addresses of their list_head. The walk ends after `limit` entries: a broken list is no hang. */
export function list_entries(head: number, limit = 1 << 20): number[] {
  const entries: number[] = [];
  for (let at = list_next(head); at !== head && entries.length < limit; at = list_next(at)) entries.push(at);
  return entries;
}
