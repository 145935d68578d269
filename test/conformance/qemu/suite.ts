// What the suites of all adapters have in common: the cell of the matrix, machines that end with the suite, and the skip.
import { afterAll, beforeEach } from "vitest";
import { conformanceCell, type Cell } from "../cell.ts";
import type { QemuAdapter } from "./adapter.ts";
import { QEMU_PACKAGE, qemuInstalled } from "./qtest.ts";
import { QemuRig, type RigOptions } from "./rig.ts";

export interface Suite {
  readonly cell: Cell;
  /** False: every test is skipped, and nothing may be started. */
  readonly runs: boolean;
  start(options?: RigOptions): Promise<QemuRig>;
}

/** Call it first in the describe block of an adapter. */
export function qemuSuite(adapter: QemuAdapter): Suite {
  const cell = conformanceCell(adapter.row, "qemu");
  const runs = qemuInstalled();
  const rigs: QemuRig[] = [];
  beforeEach((context) => {
    if (!runs) cell.skip(context, `QEMU is missing; "apt-get install -y ${QEMU_PACKAGE}" lets this run`);
  });
  afterAll(async () => {
    for (const rig of rigs) await rig.stop().finally(() => rig.remove());
  });
  return {
    ...{ cell, runs },
    async start(options) {
      const rig = await QemuRig.start(adapter, options);
      rigs.push(rig);
      return rig;
    },
  };
}
