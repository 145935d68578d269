import { describe, expect, test } from "vitest";
import { finished } from "../../emulator/cpu/cpu.ts";
import { M } from "../abi/ram.ts";
import { runKernel } from "../core/boot.ts";
import { K, type Kernel } from "../core/kernel.ts";
import { bootTestMachine } from "../core/testing.ts";
import { scsi_decide_disposition } from "./disposition.ts";
import { init_scsi, scsi_done } from "./dispatch.ts";
import {
  FAILED,
  SCSI_MLQUEUE_HOST_BUSY,
  SUCCESS,
  type Scsi_Host,
  type scsi_cmnd,
  type scsi_host_template,
} from "./host.ts";
import { scsi_add_host, scsi_host_alloc, scsi_scan_host } from "./scan.ts";
import { scsi_add_timer, scsi_times_out } from "./timeout.ts";
import { sdName, sd_attach_all, type scsi_disk } from "./sd.ts";
import { ADD_TO_MLQUEUE, DID_ERROR, DID_NO_CONNECT, DID_RESET, DID_TIME_OUT, INQUIRY, NEEDS_RETRY } from "./status.ts";

/** An adapter that answers at once, in queuecommand, for one disk at id 2. */
class FakeAdapter {
  /** Opcodes in the order in which they were taken. */
  readonly taken: number[] = [];
  /** How often the next commands are refused as "host busy". */
  refusals = 0;
  refused = 0;

  readonly template: scsi_host_template = {
    name: "fake",
    proc_name: "fake",
    can_queue: 4,
    this_id: 7,
    sg_tablesize: 16,
    max_sectors: 256,
    cmd_per_lun: 2,
    use_clustering: true,
    queuecommand: (cmd, done) => this.take(cmd, done),
  };

  private take(cmd: scsi_cmnd, done: (cmd: scsi_cmnd) => ReturnType<typeof finished>) {
    const opcode = M.u8[cmd.cmnd]!;
    if (this.refusals > 0) {
      this.refusals--;
      this.refused++;
      return finished(SCSI_MLQUEUE_HOST_BUSY);
    }
    this.taken.push(opcode);
    if (cmd.device.id !== 2 || cmd.device.lun !== 0) cmd.s.result = DID_NO_CONNECT << 16;
    else this.answer(cmd, opcode);
    return endAt(cmd, done);
  }

  private answer(cmd: scsi_cmnd, opcode: number): void {
    const buffer = cmd.s.request_buffer;
    cmd.s.result = 0;
    if (opcode === INQUIRY) {
      M.u8.fill(0, buffer, buffer + 36);
      M.u8[buffer + 2] = 2;
      M.u8[buffer + 4] = 31;
      for (let i = 0; i < 28; i++) M.u8[buffer + 8 + i] = "FAKE    DISK            0001".charCodeAt(i);
    } else if (opcode === 0x25) {
      M.view.setUint32(buffer, 2047, false);
      M.view.setUint32(buffer + 4, 512, false);
    } else if (opcode === 0x1a) M.u8.fill(0, buffer, buffer + 4);
    else if (opcode === 0x28) {
      // Data in: zeroes, into whatever the scatter-gather table names.
    }
  }
}

function* endAt(cmd: scsi_cmnd, done: (cmd: scsi_cmnd) => ReturnType<typeof finished>) {
  yield* done(cmd);
  return 0;
}

interface Bench {
  readonly kernel: Kernel;
  readonly adapter: FakeAdapter;
  host: Scsi_Host;
  sds: scsi_disk[];
}

function bench(): Bench {
  const kernel = bootTestMachine();
  const adapter = new FakeAdapter();
  init_scsi();
  let host: Scsi_Host | undefined;
  let sds: scsi_disk[] = [];
  const ended = runKernel(kernel, function* () {
    host = scsi_host_alloc(adapter.template, { maxId: 8, maxLun: 1 });
    yield* scsi_add_host(host);
    yield* scsi_scan_host(host);
    sds = yield* sd_attach_all();
  });
  expect(ended).toBe(true);
  kernel.machine.stopReason = undefined;
  return { kernel, adapter, host: host!, sds };
}

describe("scanning", () => {
  test("finds what answers, skips the adapter's own id, and counts every command out again", () => {
    const { adapter, host, sds } = bench();
    expect(sds.map((sd) => [sd.disk.name, sd.device.id, sd.disk.capacity, sd.device.model.trim()])).toEqual([
      ["sda", 2, 2048, "DISK"],
    ]);
    expect(adapter.taken.filter((opcode) => opcode === INQUIRY)).toHaveLength(7);
    expect(host.s.host_busy).toBe(0);
    expect(sds[0]!.device.s.device_busy).toBe(0);
    expect(sds[0]!.device.s.iorequest_cnt.counter).toBe(sds[0]!.device.s.iodone_cnt.counter);
  });

  test("a driver that is busy gets its command again later", () => {
    const { kernel, adapter, host, sds } = bench();
    adapter.refusals = 3;
    let result = -1;
    const ended = runKernel(kernel, function* () {
      result = yield* sds[0]!.send([0], 0);
    });
    expect(ended).toBe(true);
    expect(result).toBe(0);
    expect(adapter.refused).toBe(3);
    expect(host.s.host_blocked).toBe(0);
  });
});

test("in crash dump mode scsi_done does nothing at all", () => {
  const { kernel, sds } = bench();
  const cmd = [...kernel.scsi.byAddress.values()][0]!;
  cmd.device = sds[0]!.device;
  const before = sds[0]!.device.s.iodone_cnt.counter;
  const ended = runKernel(kernel, function* () {
    yield* scsi_add_timer(cmd, 60 * K.hz, scsi_times_out);
    kernel.dumpMode = {} as NonNullable<Kernel["dumpMode"]>;
    yield* scsi_done(cmd);
    K.dumpMode = undefined;
  });
  expect(cmd.eh_timeout.base).toBeDefined();
  expect(ended).toBe(true);
  expect(sds[0]!.device.s.iodone_cnt.counter).toBe(before);
});

describe("what becomes of a result", () => {
  const { kernel, sds } = bench();
  const cmd = [...kernel.scsi.byAddress.values()][0]!;
  const decide = (result: number, sense: readonly number[] = [], opcode = 0x28): number => {
    kernel.enter();
    cmd.device = sds[0]!.device;
    cmd.device.s.expecting_cc_ua = 0;
    cmd.s.retries = 0;
    cmd.s.allowed = 5;
    cmd.s.result = result;
    M.u8[cmd.cmnd] = opcode;
    M.u8.fill(0, cmd.sense_buffer, cmd.sense_buffer + 18);
    if (sense.length > 0) {
      M.u8[cmd.sense_buffer] = 0x70;
      M.u8[cmd.sense_buffer + 2] = sense[0]!;
      M.u8[cmd.sense_buffer + 12] = sense[1]!;
      M.u8[cmd.sense_buffer + 13] = sense[2]!;
    }
    return scsi_decide_disposition(cmd);
  };

  test.each([
    ["good", 0, [], SUCCESS],
    ["nobody there", DID_NO_CONNECT << 16, [], SUCCESS],
    ["reset", DID_RESET << 16, [], SUCCESS],
    ["an error of the adapter", DID_ERROR << 16, [], NEEDS_RETRY],
    ["a timeout", DID_TIME_OUT << 16, [], FAILED],
    ["task set full", 0x28, [], ADD_TO_MLQUEUE],
    ["busy", 0x08, [], ADD_TO_MLQUEUE],
    ["reservation conflict", 0x18, [], SUCCESS],
    ["check condition without sense data", 2, [], FAILED],
    ["becoming ready", 2, [2, 4, 1], NEEDS_RETRY],
    ["not ready", 2, [2, 4, 2], SUCCESS],
    ["medium error", 2, [3, 0x11, 0], NEEDS_RETRY],
    ["aborted command", 2, [0xb, 0, 0], NEEDS_RETRY],
    ["illegal request", 2, [5, 0x20, 0], SUCCESS],
    ["unit attention", 2, [6, 0x29, 0], SUCCESS],
  ])("%s", (_name, result, sense, disposition) => {
    expect(decide(result, sense)).toBe(disposition);
  });

  test("a unit attention after our own reset is asked for again, once", () => {
    expect(decide(2, [6, 0x29, 0])).toBe(SUCCESS);
    cmd.device.s.expecting_cc_ua = 1;
    expect(scsi_decide_disposition(cmd)).toBe(NEEDS_RETRY);
    expect(scsi_decide_disposition(cmd)).toBe(SUCCESS);
  });

  test("retries run out", () => {
    decide(DID_ERROR << 16);
    cmd.s.retries = 4;
    expect(scsi_decide_disposition(cmd)).toBe(SUCCESS);
  });
});

test("disks are named in the order of their discovery, beyond z too", () => {
  expect([0, 1, 25, 26, 27, 51, 52].map(sdName)).toEqual(["sda", "sdb", "sdz", "sdaa", "sdab", "sdaz", "sdba"]);
});
