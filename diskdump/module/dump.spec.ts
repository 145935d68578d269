// Goal: a kernel that dies leaves a whole dump, or says why not and leaves the disk alone.
// Method: a booted machine, a fake adapter, and the user-space tools to read what stands on the partition afterwards.
import { afterEach, describe, expect, test } from "vitest";
import { IA64_MAP, X86_64_MAP } from "../../kernel-sim/abi/address-maps.ts";
import { M } from "../../kernel-sim/abi/ram.ts";
import { disarmAllProbes, armProbe } from "../../kernel-sim/core/kfunc.ts";
import { panic } from "../../kernel-sim/core/panic.ts";
import { msleep, udelay } from "../../kernel-sim/core/timer.ts";
import { kernel_thread } from "../../kernel-sim/core/fork.ts";
import { local_irq_disable, spin_lock } from "../../kernel-sim/core/spinlock.ts";
import type { scsi_cmnd } from "../../kernel-sim/scsi/host.ts";
import { REQUEST_SENSE, SAM_STAT_CHECK_CONDITION, WRITE_10 } from "../../kernel-sim/scsi/status.ts";
import { isComplete, readHeader } from "../format/header.ts";
import { openDump } from "../userspace/dump-image.ts";
import { verifyPartition } from "../userspace/format.ts";
import { dumpOutcome } from "./disk-dump.ts";
import { consoleText, crash, dumpMachine, run, type DumpMachine } from "./spec-machine.ts";

afterEach(disarmAllProbes);

/** Bytes of a RAM page as they are now. */
function ramPage(pageFrame: number): Uint8Array {
  const page = new Uint8Array(4096);
  M.memory.readBytes(pageFrame * 4096, page);
  return page;
}

describe("a panic with a formatted partition", () => {
  test("leaves a dump whose pages are those of RAM, and the kernel says so", () => {
    const { k, dd, partitions } = dumpMachine({ cpus: 2 });
    // A page that nobody uses, above the flat window.
    const marked = 60 * 256;
    M.memory.writeBytes(marked * 4096, new TextEncoder().encode("left by the application"));
    crash(k);
    expect(dumpOutcome(k)).toMatchObject({ result: "complete", device: "/dev/sda1", frozenCpus: [1], dumpingCpu: 0 });
    expect(dumpOutcome(k).blocksWritten).toBeGreaterThanOrEqual(dd.required.total - 1);
    const { header, problems } = readHeader(partitions[0]!)!;
    expect(problems).toEqual([]);
    expect(isComplete(header!)).toBe(true);
    expect(header).toMatchObject({ cpuCount: 2, currentCpu: 0, writtenBlocks: dd.required.total });
    expect(header!.tasks.filter((task) => task !== 0n)).toHaveLength(2);
    const dump = openDump(partitions[0]!);
    expect(dump.shortcomings).toEqual([]);
    expect(dump.presentPages).toBe(dd.required.memory);

    const memoryAt = 2 + header!.subHeaderBlocks + header!.bitmapBlocks;
    let at = memoryAt;
    let different = 0;
    let differentHigh = 0;
    const page = new Uint8Array(4096);
    const touched = new Set<number>();
    for (const { start, end } of dd.touchedRanges()) {
      for (let frame = Math.floor(start / 4096); frame * 4096 < end; frame++) touched.add(frame);
    }
    for (const { first, count } of dd.ram) {
      for (let frame = first; frame < first + count; frame++, at++) {
        partitions[0]!.read(at * 4096, page);
        if (frame === marked) expect(new TextDecoder().decode(page.subarray(0, 23))).toBe("left by the application");
        if (touched.has(frame) || Buffer.compare(page, ramPage(frame)) === 0) continue;
        if (frame * 4096 >= M.memory.flatBytes) differentHigh++;
        else different++;
      }
    }
    expect(differentHigh).toBe(0);
    // In the flat window the log, jiffies and the dumping CPU's own data change while memory is written.
    expect(different).toBeLessThan(40);
    const lines = k.console.lines.map(({ text }) => text);
    expect(lines).toContain(
      `disk_dump: total blocks required: ${dd.required.total} (header 3 + bitmap 1 + memory ${dd.required.memory})`,
    );
    for (const line of ["CPU frozen: #1", "CPU#0 is executing diskdump.", "start dumping to sda1"]) {
      expect(lines).toContain(line);
    }
    expect(lines).toContain("check dump partition...");
    expect(lines).toContain("dumping memory..");
    expect(lines).toContain("disk_dump: diskdump succeeded");
  });

  test("resets the adapter, enables the write cache, writes, flushes", () => {
    const { k, adapters } = dumpMachine();
    crash(k);
    const [adapter] = adapters;
    expect(adapter!.resets).toBe(1);
    const first = adapter!.opcodes.slice(0, 3);
    expect(first).toEqual([0x03, 0x1a, 0x15]);
    expect(adapter!.opcodes.at(-1)).toBe(0x35);
    expect(adapter!.opcodes.filter((opcode) => opcode === WRITE_10).length).toBeGreaterThan(4000);
  });

  test.each([X86_64_MAP, IA64_MAP])("works on $model.name, with its page size and byte order", (map) => {
    const { k, dd, partitions } = dumpMachine({ map, parameters: { sample_rate: 0 } });
    crash(k);
    expect(dumpOutcome(k)).toMatchObject({ result: "complete", blocksWritten: dd.required.total + 1 });
    expect(readHeader(partitions[0]!)!.problems).toEqual([]);
    const dump = openDump(partitions[0]!);
    expect(dump.shortcomings).toEqual([]);
    expect(dump.header.model.name).toBe(map.model.name);
    expect(dump.presentPages * map.model.pageSize).toBeGreaterThan(63 << 20);
  });

  test("gives the same trace twice", () => {
    const hash = (): string => {
      const { k } = dumpMachine({ cpus: 4 });
      crash(k);
      expect(dumpOutcome(k).result).toBe("complete");
      return k.machine.traceHash;
    };
    expect(hash()).toBe(hash());
  });

  test("keeps the panicking CPU's registers in the sub-header", () => {
    const { k, dd } = dumpMachine();
    crash(k);
    const regs = k.crash!.regs;
    const rip = k.offsetOf(dd.subHeaderType, "elf_regs") + 16 * 8;
    expect(M.view.getBigUint64(dd.subHeaderAt + rip, true)).toBe(M.view.getBigUint64(regs + 16 * 8, true));
    expect(M.view.getBigUint64(dd.subHeaderAt + rip, true)).toBeGreaterThan(0xffffffff80000000n);
  });

  test("can be frozen by NMI: CPUs with interrupts off stop too", () => {
    const outcomeOf = (freeze: "ipi" | "nmi") => {
      const { k } = dumpMachine({ cpus: 2, module: { freeze } });
      run(k, function* () {
        yield* kernel_thread("deaf", () => deaf(), 1);
        yield* msleep(5);
        yield* panic("test");
      });
      return dumpOutcome(k);
    };
    const deaf = function* (): Generator<void, void, void> {
      local_irq_disable();
      for (;;) yield* udelay(100);
    };
    expect(outcomeOf("nmi")).toMatchObject({ frozenCpus: [1], unfrozenCpus: [] });
    expect(outcomeOf("ipi")).toMatchObject({ frozenCpus: [], unfrozenCpus: [1] });
  });
});

describe("a partition that is not as it was formatted", () => {
  /** One wrong word in block `block`. */
  const damage = (store: { write(offset: number, from: Uint8Array): void }, block: number): void =>
    store.write(block * 4096 + 400, new Uint8Array(4));

  test("is refused when a checked block has one wrong word, and stays as it was", () => {
    const { k, partitions } = dumpMachine({ parameters: { sample_rate: 0 } });
    damage(partitions[0]!, 777);
    crash(k);
    const outcome = dumpOutcome(k);
    expect(outcome).toMatchObject({ result: "refused", reason: "bad signature", fallback: "no fallback registered" });
    expect(outcome.rejected[0]).toMatchObject({ device: "/dev/sda1", block: 777 });
    expect(consoleText(k)).toContain("disk_dump: bad signature in block 777\ndisk_dump: check partition failed.");
    expect(consoleText(k)).toContain("disk_dump: diskdump failed, fall back to trying netdump");
    expect(verifyPartition(partitions[0]!).firstWrong?.block).toBe(777);
    expect(outcome.blocksWritten).toBe(0);
  });

  test("passes a sampled check that does not look at the damaged block, and not one that does", () => {
    const at = (block: number): string => {
      const { k, partitions } = dumpMachine();
      damage(partitions[0]!, block);
      crash(k);
      return dumpOutcome(k).result;
    };
    // 4 blocks in every 1024, and the last 4 of the area.
    expect(at(777)).toBe("complete");
    expect(at(1026)).toBe("refused");
    const { required } = dumpMachine().dd;
    expect(at(required.total - 1)).toBe("refused");
    expect(at(required.total - 5)).toBe("complete");
  });

  test("was signed by another formula", () => {
    const { k } = dumpMachine({ module: { formula: "rhel4" } });
    crash(k);
    expect(dumpOutcome(k).result).toBe("complete");
    const other = dumpMachine();
    other.partitions[0]!.write(0, new Uint8Array(4096));
    crash(other.k);
    expect(dumpOutcome(other.k).rejected[0]).toMatchObject({ reason: "bad signature", block: 0 });
  });

  test("is too small: refused before anything is read from it", () => {
    const { k, adapters } = dumpMachine({ partitionBytes: 32 << 20 });
    expect(consoleText(k)).toContain("disk_dump: sda1 is too small to save whole system memory");
    crash(k);
    expect(dumpOutcome(k)).toMatchObject({ result: "refused", reason: "device too small" });
    expect(adapters[0]!.opcodes).not.toContain(0x28);
  });
});

describe("several dump devices", () => {
  test("the first sane one gets the dump", () => {
    const hooks = { dump_sanity_check: () => insane() };
    const insane = function* (): Generator<void, number, void> {
      return -16;
    };
    const { k, partitions } = dumpMachine({ adapters: [{ hooks }, {}] });
    crash(k);
    expect(dumpOutcome(k)).toMatchObject({ result: "complete", device: "/dev/sdb1" });
    expect(dumpOutcome(k).rejected).toEqual([
      { device: "/dev/sda1", reason: "adapter not sane", errno: -16, block: undefined },
    ]);
    expect(readHeader(partitions[0]!)).toBeUndefined();
    expect(consoleText(k)).toContain("scsi_dump: adapter status is not sane");
  });

  test("the next one is taken when writing fails half-way, and the first stays incomplete", () => {
    const resultOf = (opcode: number, lba: number): number => (opcode === WRITE_10 && lba > 30000 ? 0x00070000 : 0);
    const { k, partitions } = dumpMachine({ adapters: [{ resultOf }, {}] });
    crash(k);
    expect(dumpOutcome(k)).toMatchObject({ result: "complete", device: "/dev/sdb1" });
    expect(dumpOutcome(k).rejected[0]).toMatchObject({ device: "/dev/sda1", reason: "write error", errno: -5 });
    expect(isComplete(readHeader(partitions[0]!)!.header!)).toBe(false);
    expect(isComplete(readHeader(partitions[1]!)!.header!)).toBe(true);
  });

  test("a doubtful one is used only when there is no sane one and risky dumps are allowed", () => {
    const risky = { dump_sanity_check: () => doubtful() };
    const doubtful = function* (): Generator<void, number, void> {
      return 1;
    };
    const outcome = (allow_risky_dumps: number, second: boolean) => {
      const { k } = dumpMachine({
        parameters: { allow_risky_dumps },
        adapters: second ? [{ hooks: risky }, {}] : [{ hooks: risky }],
      });
      crash(k);
      return dumpOutcome(k);
    };
    expect(outcome(1, true)).toMatchObject({ result: "complete", device: "/dev/sdb1" });
    expect(outcome(1, false)).toMatchObject({ result: "complete", device: "/dev/sda1" });
    expect(outcome(0, false)).toMatchObject({ result: "refused", reason: "adapter risky" });
  });
});

describe("an adapter that cannot dump", () => {
  test("is refused while its host_lock is held; the lock is not broken", () => {
    const { k, adapters } = dumpMachine();
    run(k, function* () {
      yield* spin_lock(adapters[0]!.host.host_lock);
      yield* panic("test");
    });
    expect(dumpOutcome(k)).toMatchObject({ result: "refused", reason: "host_lock held" });
    expect(consoleText(k)).toContain("scsi_dump: host_lock is held: host 0 channel 0 id 0 lun 0");
    expect(adapters[0]!.resets).toBe(0);
    expect(adapters[0]!.host.host_lock.isHeld).toBe(true);
  });

  test("loses a command: after 30 s the dump gives up on it", () => {
    const { k } = dumpMachine({ adapters: [{ loses: (opcode, lba) => opcode === WRITE_10 && lba > 9000 }] });
    crash(k);
    expect(dumpOutcome(k)).toMatchObject({ result: "incomplete", reason: "write error" });
    expect(consoleText(k)).toContain("scsi_dump: the command timed out");
  });

  test("answers a unit attention that is expected: the command is sent again", () => {
    let told = false;
    const { k } = dumpMachine({
      adapters: [
        {
          resultOf: (opcode, lba, cmd) => {
            if (opcode !== WRITE_10 || told) return 0;
            told = true;
            cmd.device.s.expecting_cc_ua = 1;
            M.u8.set([0x70, 0, 6], cmd.sense_buffer);
            return SAM_STAT_CHECK_CONDITION;
          },
        },
      ],
    });
    crash(k);
    expect(told).toBe(true);
    expect(dumpOutcome(k).result).toBe("complete");
  });
});

describe("the unit attention that the dump's own reset causes", () => {
  const attention = (when: (opcode: number, nth: number) => boolean): DumpMachine => {
    let senses = 0;
    const resultOf = (opcode: number, _lba: number, cmd: scsi_cmnd): number => {
      if (opcode === REQUEST_SENSE) senses++;
      if (!when(opcode, senses)) return 0;
      M.u8.set([0x70, 0, 6], cmd.sense_buffer);
      return SAM_STAT_CHECK_CONDITION;
    };
    return dumpMachine({ adapters: [{ resultOf }] });
  };

  test("may come as the answer to REQUEST SENSE itself, once: the command is sent again", () => {
    const { k, adapters } = attention((opcode, nth) => opcode === REQUEST_SENSE && nth === 1);
    crash(k);
    expect(dumpOutcome(k).result).toBe("complete");
    expect(adapters[0]!.opcodes.slice(0, 2)).toEqual([REQUEST_SENSE, REQUEST_SENSE]);
  });

  test("is not expected twice, and not after REQUEST SENSE has fetched it", () => {
    const always = attention((opcode) => opcode === REQUEST_SENSE);
    crash(always.k);
    expect(dumpOutcome(always.k)).toMatchObject({ result: "refused", reason: "request sense failed" });
    const later = attention((opcode) => opcode === WRITE_10);
    crash(later.k);
    expect(dumpOutcome(later.k)).toMatchObject({ reason: "write error" });
  });
});

describe("damage to the dumper itself", () => {
  test("one flipped bit in its text stops the dump before it touches anything", () => {
    const { k, dd, adapters } = dumpMachine();
    M.u8[dd.module.core + 200]! ^= 4;
    crash(k);
    expect(dumpOutcome(k)).toMatchObject({ result: "refused", reason: "module damaged" });
    expect(consoleText(k)).toContain("disk_dump: checksum error. diskdump common module may be compromised.");
    expect(adapters[0]!.opcodes).toEqual([]);
  });

  test("one flipped bit in its data, or in scsi_dump's", () => {
    const { k, dd } = dumpMachine();
    M.u8[dd.data.addr + 4]! ^= 1;
    crash(k);
    expect(dumpOutcome(k)).toMatchObject({ reason: "module damaged" });

    const other = dumpMachine();
    const scsi = other.k.modules.loaded.get("scsi_dump")!;
    M.u8[scsi.core + 70]! ^= 1;
    crash(other.k);
    expect(dumpOutcome(other.k)).toMatchObject({ result: "refused", reason: "scsi_dump module damaged" });
    expect(consoleText(other.k)).toContain("scsi_dump: checksum error. scsi dump module may be compromised.");
  });

  test("a panic inside the dump falls through to the next dumper", () => {
    const { k } = dumpMachine();
    let netdump = 0;
    k.crashdump.netdump = function* () {
      netdump++;
      return 0;
    };
    armProbe("write_bitmap", 1, () => panic("in the dump"));
    crash(k);
    expect(netdump).toBe(1);
    expect(dumpOutcome(k)).toMatchObject({ result: "incomplete", reason: "double panic", fallback: "netdump" });
  });

  test("without fallback_on_err the machine halts after a failure", () => {
    const { k, partitions } = dumpMachine({ parameters: { fallback_on_err: 0 } });
    let netdump = 0;
    k.crashdump.netdump = function* () {
      netdump++;
      return 0;
    };
    partitions[0]!.write(0, new Uint8Array(4096));
    crash(k);
    expect(netdump).toBe(0);
    expect(consoleText(k)).toContain("disk_dump: diskdump failed with error\nhalt");
  });
});
