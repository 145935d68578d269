import { expect, test } from "vitest";
import { Machine } from "../../emulator/cpu/machine.ts";
import { PagePool } from "../../emulator/memory/pool.ts";
import { PhysicalMemory } from "../../emulator/memory/memory.ts";
import { X86_64_MAP } from "../abi/address-maps.ts";
import { bootKernel, runKernel } from "../core/boot.ts";
import { TestDisk, attachTestDisk } from "../block/testing.ts";
import { DEFAULT_LOAD, start_load, type Load } from "./load.ts";
import { fillMemory } from "./fill-memory.ts";
const G = 2 ** 30;
test("bench", () => {
  const pool = new PagePool(64 << 20);
  for (let round = 0; round < 3; round++) {
    pool.reset();
    let t = performance.now();
    const lap = (what: string) => { const n = performance.now(); console.log(what, (n - t).toFixed(1)); t = n; };
    const memory = new PhysicalMemory(pool, [{ start: 0, end: 640 * 1024, type: "ram" }, { start: 1 << 20, end: 3.5 * G, type: "ram" }, { start: 4 * G, end: 8.5 * G, type: "ram" }]);
    const machine = new Machine({ cpus: 4, seed: round + 1, memory });
    const k = bootKernel({ machine, map: X86_64_MAP, release: "2.6.9-5.ELsmp", hz: 1000, bootArguments: { panicTimeoutSeconds: 0, panicOnOops: false, nmiWatchdog: false } });
    lap("boot");
    console.log("filled", fillMemory(0.1), memory.ramPages, k.pages.freePages);
    lap("fill");
    const disks = [0, 1, 2, 3].map((i) => new TestDisk({ name: `sd${"abcd"[i]}`, irq: 8 + i, sectors: 16 * 2048 * 1024, depth: 8, latencyNs: 1_500_000 }));
    let load: Load | undefined;
    runKernel(k, function* () {
      for (const d of disks) yield* attachTestDisk(d);
      load = yield* start_load({ ...DEFAULT_LOAD, processes: 16, devices: ["sda", "sdb", "sdc", "sdd"], thinkTimeNs: 100_000 });
    });
    lap("start");
    const from = machine.now();
    machine.run(from + 100e6);
    lap("100 ms");
    console.log("virtual", (machine.now() - from) / 1e6, "calls", load!.calls, load!.processes.reduce((a, p) => a.map((v, i) => v + p.calls[i]!), [0, 0, 0, 0]), "io", disks.map((d) => d.served.length), "resumptions", machine.resumptions, "events", machine.events.fired, "skew", machine.maxSkewNs, load!.complaints, k.reports, machine.traceHash);
    const bad = load!.verify("acknowledged", (disk, sector, into) => disks.find((d) => d.disk.name === disk)!.media.read(sector * 512, into));
    lap("verify");
    expect(bad).toEqual([]);
    console.log("dirty", k.pages.pageState.nr_dirty, "wb", k.pages.pageState.nr_writeback);
  }
}, 60000);
