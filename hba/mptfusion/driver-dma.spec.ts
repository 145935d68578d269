// Goal: every piece of memory that the adapter touches has been mapped, and every mapping ends exactly once, whatever ends the command.
// Method: a port that keeps accounts stands between driver and chip, as for a chip that cannot see RAM.
import { describe, expect, test } from "vitest";
import type { DmaPort } from "../../emulator/bus/pci.ts";
import { do_fork } from "../../kernel-sim/core/fork.ts";
import { msleep } from "../../kernel-sim/core/timer.ts";
import { spin_lock_irqsave, spin_unlock_irqrestore } from "../../kernel-sim/core/spinlock.ts";
import { mptscsih_template } from "./driver.ts";
import type { MPT_SCSI_HOST } from "./driver-scsi-host.ts";
import { makeRig, scatteredPages, transfer, type Rig } from "./driver-testing.ts";

class Accounts implements DmaPort {
  readonly shared: [number, number][] = [];
  /** Buffers on loan, "address+bytes". */
  readonly lent = new Map<string, number>();
  /** The largest number of buffers on loan at a time. */
  most = 0;
  readonly returned: { address: number; bytes: number; filled: boolean }[] = [];
  readonly wrong: string[] = [];

  share(address: number, bytes: number): void {
    this.shared.push([address, bytes]);
  }
  order(): void {}
  lend(address: number, bytes: number): void {
    const key = `${address}+${bytes}`;
    if (this.lent.has(key)) this.wrong.push(`${key} was lent twice`);
    this.lent.set(key, bytes);
    this.most = Math.max(this.most, this.lent.size);
  }
  giveBack(address: number, bytes: number, filled: boolean): void {
    const key = `${address}+${bytes}`;
    if (!this.lent.delete(key)) this.wrong.push(`${key} was given back, but is not lent`);
    this.returned.push({ address, bytes, filled });
  }
  holds(address: number, bytes: number): boolean {
    return this.shared.some(([at, length]) => address >= at && address + bytes <= at + length);
  }
}

const iocOf = (rig: Rig): MPT_SCSI_HOST["ioc"] => (rig.hosts[0]!.hostdata as MPT_SCSI_HOST).ioc;

describe("DMA mappings of the driver", () => {
  test("frames, chain buffers and sense buffers are shared memory", () => {
    const dma = new Accounts();
    const ioc = iocOf(makeRig({ dmaPort: dma }));
    const { s } = ioc;
    expect(dma.holds(ioc.reply_frames, s.reply_depth * ioc.reply_sz)).toBe(true);
    expect(dma.holds(ioc.req_frames, ioc.req_depth * ioc.req_sz)).toBe(true);
    expect(dma.holds(ioc.chainBuffers, s.num_chain * ioc.req_sz)).toBe(true);
    expect(dma.holds(ioc.sense_buf_pool, ioc.req_depth * 64)).toBe(true);
  });

  test.each([1, 7, 40])(
    "a transfer of %d scattered pages lends exactly these, and takes them back with their direction",
    (count) => {
      const dma = new Accounts();
      const rig = makeRig({ dmaPort: dma });
      const pages = scatteredPages(rig.kernel, count);
      for (const write of [true, false]) {
        dma.returned.length = 0;
        rig.run(() => transferOnce(rig, write, pages));
        expect(dma.returned).toEqual(pages.map((address) => ({ address, bytes: 4096, filled: !write })));
      }
      expect(dma.lent.size).toBe(0);
      expect(dma.most).toBe(count);
      expect(dma.wrong).toEqual([]);
    },
  );

  test("the command block of the mid-layer's own commands is lent as one buffer", () => {
    const dma = new Accounts();
    makeRig({ dmaPort: dma });
    // INQUIRY, READ CAPACITY and MODE SENSE of two disks came back filled.
    expect(dma.returned.length).toBeGreaterThanOrEqual(6);
    expect(dma.returned.every(({ filled }) => filled)).toBe(true);
    expect([dma.lent.size, dma.wrong]).toEqual([0, []]);
  });

  test.each(["eh_abort_handler", "eh_device_reset_handler", "eh_bus_reset_handler", "eh_host_reset_handler"] as const)(
    "%s gives the buffers of what it ends back, once",
    (handler) => {
      const dma = new Accounts();
      const rig = makeRig({ dmaPort: dma });
      rig.disks[0]!.faults.lay({ kind: "timeout", on: "write", count: 1 });
      const pages = scatteredPages(rig.kernel, 4);
      let good = false;
      rig.run(function* () {
        yield* do_fork(
          "writer",
          function* () {
            good = yield* transfer(rig.sds[0]!, true, 64, pages);
          },
          1,
        );
        yield* msleep(5);
        expect(dma.lent.size).toBe(4);
        const cmd = (rig.hosts[0]!.hostdata as MPT_SCSI_HOST).lookup.find((entry) => entry !== undefined)!;
        const { host_lock } = rig.hosts[0]!;
        const flags = yield* spin_lock_irqsave(host_lock);
        yield* mptscsih_template[handler]!(cmd);
        yield* spin_unlock_irqrestore(host_lock, flags);
        yield* msleep(2000);
      });
      // The mid-layer sent it again (after a reset twice: the first one meets the unit attention), and that went well.
      expect(good).toBe(true);
      expect(dma.returned.filter(({ address }) => address === pages[0])).toHaveLength(
        handler === "eh_abort_handler" ? 2 : 3,
      );
      expect([dma.lent.size, dma.wrong]).toEqual([0, []]);
    },
  );
});

function* transferOnce(rig: Rig, write: boolean, pages: number[]): Generator<void, void, void> {
  expect(yield* transfer(rig.sds[0]!, write, 512, pages)).toBe(true);
}
