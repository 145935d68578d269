// Bottom halves (kernel/softirq.c of 2.4): 32 routines, one at a time on the whole machine.
//
// Each is a high-priority tasklet whose function is bh_action(). global_bh_lock is only ever tried: who does not get it schedules
// the tasklet again, so a holder that was stopped makes every bottom half of the machine come back for ever, and none runs.
import type { Running } from "../../emulator/cpu/cpu.ts";
import { tasklet_struct } from "../abi/structs/base.ts";
import { array, funcPtr } from "../abi/types.ts";
import { pokePtr } from "../abi/ram.ts";
import { K } from "./kernel.ts";
import { textAddressOf } from "./kfunc.ts";
import { versionFunctions } from "./version-functions.ts";
import { tasklet_hi_schedule, tasklet_init, type Tasklet } from "./softirq.ts";
import { spin_trylock, spin_unlock, staticLock, type Spinlock } from "./spinlock.ts";

const kfunc = versionFunctions("2.4.21");

/** Places in bh_base (include/linux/interrupt.h). */
export const TIMER_BH = 0;
export const TQUEUE_BH = 1;
export const SCSI_BH = 8;
export const IMMEDIATE_BH = 9;
const NR_BHS = 32;

export class BottomHalves {
  readonly global_bh_lock: Spinlock = staticLock("global_bh_lock");
  readonly bh_task_vec: readonly Tasklet[];
  /** bh_base: the routines; RAM has their addresses. */
  readonly routines: ((() => Running) | undefined)[] = [];
  /** Times that a bottom half found global_bh_lock taken and was scheduled again: lockmeter's RJECT. */
  rejected = 0;
  private readonly baseAt: number;

  constructor() {
    const at = K.static("bh_task_vec", array(tasklet_struct, NR_BHS));
    const size = K.sizeOf(tasklet_struct);
    this.baseAt = K.static("bh_base", array(funcPtr, NR_BHS));
    this.bh_task_vec = Array.from({ length: NR_BHS }, (_, nr) => {
      const t = tasklet_init(at + nr * size, `bh_task_vec[${nr}]`, bh_action, nr);
      t.s.func = textAddressOf(bh_action.id);
      return t;
    });
  }

  setRoutine(nr: number, routine: (() => Running) & { readonly id: number }): void {
    this.routines[nr] = routine;
    pokePtr(this.baseAt + nr * K.map.model.wordBytes, textAddressOf(routine.id));
  }
}

/** Registers a bottom half's routine, a kernel function. */
export const init_bh = (nr: number, routine: (() => Running) & { readonly id: number }): void =>
  K.bottomHalves.setRoutine(nr, routine);

/** Asks for a bottom half, on this CPU unless it is asked for already. Context: any. */
export const mark_bh = (nr: number): Running => tasklet_hi_schedule(K.bottomHalves.bh_task_vec[nr]!);

/** A bottom half's tasklet. Locks: tries global_bh_lock and holds it while the routine runs. Softirq. */
export const bh_action = kfunc("bh_action", function* (nr: number) {
  const { bottomHalves: bhs } = K;
  if (!spin_trylock(bhs.global_bh_lock)) {
    bhs.rejected++;
    yield* mark_bh(nr);
    return;
  }
  const routine = bhs.routines[nr];
  if (routine) yield* routine();
  spin_unlock(bhs.global_bh_lock);
});
