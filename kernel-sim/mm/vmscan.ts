// Making room: clean pages of the cache are given back (mm/vmscan.c of 2.6.9, as far as a cache without mappings needs).
import { K } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { list_prev } from "../core/list.ts";
import { spin_lock_irq, spin_unlock_irq } from "../core/spinlock.ts";
import { put_page } from "./page-alloc.ts";
import { page_mapping, remove_from_page_cache, unlock_page } from "./page-cache.ts";
import {
  PG_dirty,
  PG_locked,
  PG_lru,
  PG_referenced,
  PG_writeback,
  clear_page_flag,
  get_page,
  page_count,
  page_list_add,
  page_list_del,
  page_lru,
  page_of_lru,
  test_and_set_page_flag,
  test_page_flag,
} from "./page.ts";
import { pdflush_operation } from "./pdflush.ts";
import { background_writeout } from "./writeback.ts";
import type { Zone } from "./zone.ts";

/** Pages looked at in one go, and how often a caller goes round. */
const SWAP_CLUSTER_MAX = 32;
const ROUNDS = 12;

/** Frees cached pages. Returns how many. Context: process (the caller may sleep). */
export const try_to_free_pages = kfunc("try_to_free_pages", function* (_gfp_mask: number, order: number) {
  let freed = 0;
  for (let round = 0; round < ROUNDS; round++) {
    for (const zone of K.pages.zones) {
      if (zone.s.nr_inactive > 0) freed += yield* shrink_cache(zone);
    }
    if (freed >= Math.max(SWAP_CLUSTER_MAX, 2 ** order)) return freed;
  }
  // Only dirty pages are left: somebody must write them.
  yield* pdflush_operation(background_writeout);
  return freed;
});

const shrink_cache = kfunc("shrink_cache", function* (zone: Zone) {
  let freed = 0;
  for (let i = 0; i < SWAP_CLUSTER_MAX && zone.s.nr_inactive > 0; i++) {
    const page = yield* isolate(zone);
    if (page === 0) continue;
    if (page_mapping(page) && !test_page_flag(page, PG_dirty) && page_count(page) === 2) {
      // Ours and the cache's: nobody else uses it.
      yield* remove_from_page_cache(page);
      freed++;
    }
    yield* unlock_page(page);
    yield* put_page(page);
  }
  return freed;
});

/** The oldest page of the inactive list, locked and with a reference; 0 when it must stay: it moves to the front then. */
const isolate = kfunc("isolate_lru_page", function* (zone: Zone) {
  yield* spin_lock_irq(zone.lruLock);
  let page = 0;
  const last = list_prev(zone.inactiveList);
  if (last !== zone.inactiveList) {
    page = page_of_lru(last);
    const busy =
      test_page_flag(page, PG_dirty | PG_writeback | PG_locked | PG_referenced) ||
      page_count(page) !== 1 ||
      !test_page_flag(page, PG_lru);
    if (busy) {
      clear_page_flag(page, PG_referenced);
      page_list_del(page_lru(page));
      page_list_add(page_lru(page), zone.inactiveList);
      page = 0;
    } else {
      get_page(page);
      test_and_set_page_flag(page, PG_locked);
    }
  }
  yield* spin_unlock_irq(zone.lruLock);
  return page;
});
