// Which of the registered partitions gets the dump: the first sane one, or a doubtful one when there is none.
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import type { DiskDump, DumpPartition } from "./disk-dump.ts";

const kfunc = moduleFunctions("diskdump");

/**
 * Looks at the partitions behind `previous` (from the first when undefined), in the order of registration. A device whose
 * sanity_check says 0 is taken; one that says more than 0 ("maybe") only in a second round, if allow_risky_dumps is set.
 * Returns: the partition, or undefined when none is left.
 */
export const select_dump_partition = kfunc(
  "select_dump_partition",
  function* (dd: DiskDump, previous: DumpPartition | undefined) {
    const from = previous ? dd.partitions.indexOf(previous) + 1 : 0;
    for (let strict = true; ; strict = false) {
      for (let i = from; i < dd.partitions.length; i++) {
        const partition = dd.partitions[i]!;
        const { device, target } = partition;
        // An insane device was noted in the first round.
        const noteInsane = strict;
        device.failure = undefined;
        const sanity = yield* device.ops.sanity_check(device);
        if (sanity === 0 || (sanity > 0 && !strict)) return partition;
        if (sanity < 0 && noteInsane) {
          dd.outcome.reject(`/dev/${target.name}`, device.failure ?? "adapter not sane", sanity);
        } else if (sanity > 0 && dd.parameters.allow_risky_dumps === 0) {
          dd.outcome.reject(`/dev/${target.name}`, "adapter risky", sanity);
        }
      }
      if (!strict || dd.parameters.allow_risky_dumps === 0) return undefined;
    }
  },
);
