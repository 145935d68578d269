// Goal: what the administrator does and sees (white paper 5.2, 5.4).
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { MemoryRange } from "../../emulator/memory/memory.ts";
import { I386 } from "../../kernel-sim/abi/types.ts";
import { list_entries } from "../../kernel-sim/core/list.ts";
import { blocksRequired } from "../format/layout.ts";
import { FakeAdapter } from "./fake-adapter.ts";
import { DEFAULT_PARAMETERS, parseParameters } from "./parameters.ts";
import { maxPfn, ramPageRanges } from "./ram-map.ts";
import { procDiskdump, register_disk_dump_device, unregister_disk_dump_device } from "./registration.ts";
import { dumpMachine, run } from "./spec-machine.ts";
import { addDumpFile } from "./sysfs.ts";

describe("the total blocks required", () => {
  test("are those of the white paper's line for a machine with its memory", () => {
    // 1 GiB, of which the BIOS keeps 246 pages.
    const map: MemoryRange[] = [
      { start: 0, end: 0x9f000, type: "ram" },
      { start: 0x9f000, end: 0x100000, type: "reserved" },
      { start: 0x100000, end: 0x3ff6b000, type: "ram" },
      { start: 0x3ff6b000, end: 0x40000000, type: "acpi" },
    ];
    const ram = ramPageRanges(map, I386.pageSize);
    const ramPages = ram.reduce((sum, { count }) => sum + count, 0);
    const need = blocksRequired({ ramPages, maxMapnr: maxPfn(ram), model: I386 });
    expect(need).toEqual({ header: 3, bitmap: 8, memory: 261898, total: 261909 });
  });

  test("count whole pages of RAM only, whatever the page size", () => {
    const map: MemoryRange[] = [
      { start: 0x1000, end: 0x9000, type: "ram" },
      { start: 0x9000, end: 0xd000, type: "ram" },
      { start: 0x10000, end: 0x13800, type: "ram" },
    ];
    expect(ramPageRanges(map, 4096)).toEqual([
      { first: 1, count: 12 },
      { first: 16, count: 3 },
    ]);
    expect(ramPageRanges(map, 16384)).toEqual([{ first: 1, count: 2 }]);
  });
});

describe("module parameters", () => {
  test("read as modprobe.conf has them, quoted or not", () => {
    expect(parseParameters("'block_order=3' 'sample_rate=0'")).toEqual({
      ...DEFAULT_PARAMETERS,
      block_order: 3,
      sample_rate: 0,
    });
    expect(parseParameters("")).toEqual({ block_order: 2, sample_rate: 8, fallback_on_err: 1, allow_risky_dumps: 1 });
  });

  test("that are unknown or out of range are refused by name", () => {
    expect(() => parseParameters("blok_order=3")).toThrow("Unknown parameter `blok_order'");
    expect(() => parseParameters("block_order=99")).toThrow(
      "`99' invalid for parameter `block_order': expected 0 to 8",
    );
    expect(() => parseParameters("sample_rate=x")).toThrow("`x' invalid for parameter `sample_rate'");
  });

  test("any text is either read or refused with a reason", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        let message = "";
        try {
          expect(Object.keys(parseParameters(text))).toHaveLength(4);
        } catch (error) {
          message = (error as Error).message;
        }
        if (message !== "") expect(message).toMatch(/^diskdump: (Unknown parameter|`.*' invalid for)/s);
      }),
    );
  });
});

describe("registration", () => {
  test("shows in /proc/diskdump as the white paper prints it", () => {
    const { k, dd } = dumpMachine({ adapters: [] });
    const adapter = new FakeAdapter({ sectors: 2_000_000 });
    run(k, function* () {
      yield* register_disk_dump_device(dd, adapter.target("sde1", 514080, 1012095));
    });
    expect(k.files.read("/proc/diskdump")).toBe("/dev/sde1 514080 1012095\n");
  });

  test("has RHEL4's lines when asked for", () => {
    const { dd } = dumpMachine({ module: { procStyle: "rhel4" } });
    expect(procDiskdump(dd)).toBe(
      `# sample_rate: 8\n# block_order: 2\n# fallback_on_err: 1\n# allow_risky_dumps: 1\n# dump_level: 0\n# compress: 0\n# total_blocks: ${dd.required.total}\n#\nsda1 2048 133120\n`,
    );
  });

  test("goes through sysfs: echo 1 and echo 0 into the partition's dump file", () => {
    const { k, dd } = dumpMachine({ adapters: [] });
    const adapter = new FakeAdapter({ sectors: 2_000_000 });
    const path = addDumpFile(adapter.target("sde1", 514080, 1012095));
    expect(path).toBe("/sys/block/sde/sde1/dump");
    const codes: number[] = [];
    const states: (string | undefined)[] = [];
    run(k, function* () {
      for (const text of ["1\n", "1\n", "maybe\n", "0\n", "0\n"]) {
        codes.push(yield* k.files.file(path)!.write!(text));
        states.push(k.files.read(path));
      }
    });
    expect(codes).toEqual([0, -17, -22, 0, -2]);
    expect(states).toEqual(["1\n", "1\n", "1\n", "0\n", "0\n"]);
    expect(dd.devices).toEqual([]);
  });

  test("is refused for an adapter whose driver has no poll handler", () => {
    const { k, dd } = dumpMachine({ adapters: [] });
    const adapter = new FakeAdapter({ sectors: 2_000_000 });
    const mute = { ...adapter.host.hostt };
    delete (mute as { dump_poll?: unknown }).dump_poll;
    Object.assign(adapter.host, { hostt: mute });
    let code = 0;
    run(k, function* () {
      code = yield* register_disk_dump_device(dd, adapter.target("sdb1", 0, 1000));
    });
    expect(code).toBe(-6);
  });

  test("keeps the lists in RAM: devices, and partitions in the order in which they will be tried", () => {
    const { k, dd } = dumpMachine({ adapters: [{}, {}] });
    expect(list_entries(dd.partitionsHead)).toEqual(dd.partitions.map(({ part_list }) => part_list));
    expect(list_entries(dd.devicesHead)).toEqual(dd.devices.map(({ list }) => list));
    run(k, function* () {
      yield* unregister_disk_dump_device(dd, "sda1");
    });
    expect(list_entries(dd.partitionsHead)).toEqual([dd.partitions[0]!.part_list]);
    expect(dd.partitions[0]!.target.name).toBe("sdb1");
  });
});
