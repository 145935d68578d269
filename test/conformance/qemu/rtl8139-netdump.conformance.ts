// Goal: netdump works through a network card that is not ours. Method: a small machine dies under load; netdump sends its memory through
// QEMU's rtl8139 to our server; the trial's oracles compare every page, and crash(8) opens what the server saved.
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

describe("a whole netdump through QEMU's rtl8139", () => {
  const cell = conformanceCell("rtl8139 (netdump)", "qemu");
  const runs = qemuInstalled();
  // QEMU's card sends at once: behind a link of 100 Mbit/s the client would mostly wait, and each of its looks is a way to QEMU and back.
  const link = ["network.megabitsPerS=10000", "network.latency=1us"];
  const sets = ["dump.dumper=netdump", "memory.size=16MiB", "limits.virtualTime=3min", ...link];
  const scenario = loadScenario("learn", sets);
  const frames: string[] = [];
  let card: QemuRtl8139 | undefined;
  let fn: QemuFunction;
  let hardware: Hardware;
  let trial: TrialResult;
  let vmcore: string;
  let vmlinux: string;

  beforeAll(async () => {
    if (!runs) return;
    const bare = buildMachine(scenario, 1);
    const made = (card = await QemuRtl8139.start(bare.machine.memory, CLIENT_MAC));
    hardware = plugHardware(scenario, bare, (machine, segment) => (fn = made.connect(machine, segment)));
    fn.writeConfig(0x3c, 1, placeOf(scenario.adapters.length).irq);
    hardware.network!.segment.tap = (frame) => frames.push(Buffer.from(frame).toString("latin1"));
    trial = runTrialOn(hardware, scenario, 1, {});
    trial.writeVmcore((vmcore = join(made.folder, "vmcore")));
    trial.writeVmlinux((vmlinux = join(made.folder, "vmlinux")));
  });
  beforeEach((context) => {
    if (!runs) cell.skip(context, `QEMU is missing; "apt-get install -y ${QEMU_PACKAGE}" lets this run`);
  });
  afterAll(() => card?.stop().finally(() => card?.remove()));

  test("every page of RAM arrives at the server as it was at the freeze, and nothing is asked twice", () => {
    const { record } = trial;
    expect(record).toMatchObject({ outcome: "complete", cause: null, dumpedPages: PAGES, findings: [] });
    const { host } = hardware.network!;
    expect(host.server.ended).toMatchObject([{ outcome: "complete", pagesSaved: PAGES, requestsRepeated: 0 }]);
    expect(fn.disappointments).toEqual([]);
    expect(fn.qemu.ram.strayPages()).toEqual([]);
    cell.exercised(`os_init under load, ${PAGES} pages dumped through QEMU's chip and compared`);
  });

  test("dumplab inspect finds the server's vmcore whole", async () => {
    expect(await dumplab("inspect", vmcore)).toMatchObject({ code: 0, err: "" });
  });

  test("crash(8) opens the server's vmcore and tells how the machine died", (context) => {
    const [sys, net, log] = askCrash(context, vmlinux, vmcore, ["sys", "net", "log"]);
    expect(sys).toMatch(/CPUS: 2\n[^]*RELEASE: 2\.6\.9-5\.ELsmp\n/);
    expect(net).toMatch(/eth0 +192\.168\.0\.7/);
    expect(log).toContain("Entered OS INIT handler");
    expect(log).toContain("< netdump activated - performing handshake with the server. >");
    cell.exercised("opened by crash(8)");
  });

  // The last one: QEMU's capture is whole when QEMU has ended.
  test("QEMU's own capture holds the frames that our Ethernet carried", async () => {
    await card!.stop();
    const captured = card!.wire.captured().map((frame) => frame.toString("latin1"));
    expect(captured.length).toBeGreaterThan(5 * PAGES);
    // A broadcast may have been on its way when the machine stopped.
    expect(frames.length - captured.length).toBeLessThanOrEqual(1);
    const carried = new Set(frames);
    expect(captured.every((frame) => carried.has(frame))).toBe(true);
    cell.exercised(`${captured.length} frames in QEMU's capture`);
  });
});
