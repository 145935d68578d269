// Goal: a restored guest finds the IDE function as firmware and kernel had set it up, and v86's own is gone. Method: two boards, and a CPU
// that has only what the board touches.
import { describe, expect, test } from "vitest";
import type { PhysicalMemory } from "../../../emulator/memory/memory.ts";
import { Board } from "./board.ts";
import { GuestBus, GuestHost } from "./guest-bus.ts";
import { RegisterLog } from "./register-log.ts";
import { OWN_IDE_DEVFN, type V86Cpu } from "./v86.ts";
import { VirtualClock } from "./virtual-clock.ts";

function make() {
  const ports = Array.from({ length: 0x10000 }, () => "v86's");
  const spaces: (Int32Array | undefined)[] = [];
  spaces[OWN_IDE_DEVFN] = new Int32Array(64);
  const cpu = {
    io: { ports, create_empty_entry: () => "nobody's" },
    devices: { pci: { device_spaces: spaces } },
  } as unknown as V86Cpu;
  const board = new Board(
    cpu,
    new GuestHost({} as PhysicalMemory),
    new GuestBus(new VirtualClock(), new RegisterLog()),
  );
  return { board, ports, spaces };
}

describe("the board", () => {
  test("has one IDE function, ours: v86's answers neither configuration cycles nor ports", () => {
    const { ports, spaces } = make();
    expect(spaces[OWN_IDE_DEVFN]).toBeUndefined();
    for (const port of [0x1f0, 0x1f7, 0x3f6, 0x170, 0x177, 0x376, 0xb400, 0xb40f]) expect(ports[port]).toBe("nobody's");
    for (const port of [0x1ef, 0x1f8, 0x3f5, 0x3f7, 0x3f8, 0x60]) expect(ports[port]).toBe("v86's");
  });

  test("comes back from a snapshot with BARs, command bits and timing, and decodes where it did", () => {
    const { ide } = make().board;
    ide.writeConfig(0x20, 4, 0xc000);
    ide.writeConfig(0x04, 2, 5);
    ide.writeConfig(0x3c, 1, 14);
    ide.writeConfig(0x40, 4, 0xa3078000);
    ide.writeConfig(0x48, 1, 1);
    ide.writeConfig(0x4a, 2, 2);
    const before = make().board;
    before.configure(new Uint8Array(ide.config.buffer as ArrayBuffer));
    const restored = before.ide;
    expect(Buffer.from(before.configuration()).toString("hex")).toBe(Buffer.from(ide.config.buffer).toString("hex"));
    expect(restored.decodePort(0xc00a)).toEqual({ bar: 4, offset: 10 });
    expect(restored.decodePort(0x1f7)).toEqual({ bar: 0, offset: 7 });
    expect(restored.busMaster).toBe(true);
  });

  test("keeps what is saved apart from what goes on", () => {
    const { board } = make();
    const saved = board.configuration();
    board.ide.writeConfig(0x20, 4, 0xc000);
    expect(saved).not.toEqual(board.configuration());
  });
});
