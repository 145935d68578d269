// Goal: netdump works through a network card that is not ours. Method: a small machine dies under load; netdump sends its memory through
// QEMU's rtl8139 to our server; the trial's oracles compare every page, and crash(8) opens what the server saved.
import { createHash } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { CLIENT_MAC } from "../../../tools/machine/network.ts";
import { buildMachine, placeOf, plugHardware, type Hardware } from "../../../tools/machine/hardware.ts";
import { loadScenario } from "../../../tools/scenario/load.ts";
import { runTrialOn } from "../../../tools/trial/run.ts";
import type { TrialResult } from "../../../tools/trial/types.ts";
import { dumplab } from "../../cli/dumplab.ts";
import { askCrash } from "../../interop/crash-session.ts";
import { conformanceCell } from "../cell.ts";
import type { QemuFunction } from "./qemu-function.ts";
import { QEMU_PACKAGE, qemuInstalled } from "./qtest.ts";
import { QemuRtl8139 } from "./rtl8139.ts";

const PAGES = (16 << 20) / 4096 - 96;
const digest = (frame: Uint8Array): string => createHash("md5").update(frame).digest("hex");

describe("a whole netdump through QEMU's rtl8139", () => {
  const cell = conformanceCell("rtl8139", "qemu");
  const runs = qemuInstalled();
  const scenario = loadScenario("learn", ["dump.dumper=netdump", "memory.size=16MiB", "limits.virtualTime=3min"]);
  let card: QemuRtl8139;
  let fn: QemuFunction;
  let hardware: Hardware;
  let trial: TrialResult;
  const frames: string[] = [];
  const at = (name: string): string => join(card.folder, name);

  beforeAll(async () => {
    if (!runs) return;
    const bare = buildMachine(scenario, 1);
    card = await QemuRtl8139.start(bare.machine.memory, CLIENT_MAC);
    hardware = plugHardware(scenario, bare, (machine, segment) => (fn = card.connect(machine, segment)));
    fn.writeConfig(0x3c, 1, placeOf(scenario.adapters.length).irq);
    trial = runTrialOn(hardware, scenario, 1, {});
    trial.writeVmcore(at("vmcore"));
    trial.writeVmlinux(at("vmlinux"));
  });
  beforeEach((context) => {
    if (!runs) cell.skip(context, `QEMU is missing; "apt-get install -y ${QEMU_PACKAGE}" lets this run`);
  });
  afterAll(async () => {
    if (runs) await card.stop().finally(() => card.remove());
  });

  test("every page of RAM arrives as it was at the freeze", () => {
    const { record } = trial;
    console.log(record, fn.qemu.qtest.commands, card.wire.fromCard, card.wire.toCard, hardware.network!.host.server.ended);
    expect(record).toMatchObject({ outcome: "complete", cause: null, dumpedPages: PAGES, findings: [] });
    expect(fn.disappointments).toEqual([]);
  });
});
