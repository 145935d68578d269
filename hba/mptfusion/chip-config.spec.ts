import { describe, expect, it } from "vitest";
import { Config, ConfigReply, MPI_FUNCTION_CONFIG } from "./messages.ts";
import { DATA, FakeTarget, SpecHost } from "./spec-host.ts";

const HEADER = 0;
const READ_CURRENT = 1;
const WRITE_CURRENT = 2;
const DEFAULT = 3;
const WRITE_NVRAM = 4;
const READ_DEFAULT = 5;
const READ_NVRAM = 6;

interface Page {
  type: number;
  number: number;
  ext?: number;
  address?: number;
}

const config = (host: SpecHost, action: number, page: Page, bytes = 0x100) => {
  host.post(0, (m) => {
    m.setUint8(Config.Action, action);
    m.setUint8(Config.Function, MPI_FUNCTION_CONFIG);
    m.setUint8(Config.ExtPageType, page.ext ?? 0);
    m.setUint8(Config.PageNumber, page.number);
    m.setUint8(Config.PageType, page.type);
    m.setUint32(Config.PageAddress, page.address ?? 0, true);
    m.setUint32(Config.PageBufferSGE, (0xd1000000 | bytes) >>> 0, true);
    m.setUint32(Config.PageBufferSGE + 4, DATA, true);
  });
  const descriptor = host.next();
  const frame = host.frame(descriptor);
  const answer = {
    status: frame.getUint16(ConfigReply.IOCStatus, true),
    version: frame.getUint8(ConfigReply.PageVersion),
    dwords:
      page.ext === undefined
        ? frame.getUint8(ConfigReply.PageLength)
        : frame.getUint16(ConfigReply.ExtPageLength, true),
    type: frame.getUint8(ConfigReply.PageType),
  };
  host.chip.write(1, 0x44, 4, (descriptor * 2) % 4294967296);
  return answer;
};

const buffer = (host: SpecHost): DataView => new DataView(host.machine.memory.pool.u8.buffer, DATA, 0x100);

const read = (host: SpecHost, page: Page, action = READ_CURRENT): DataView => {
  host.machine.memory.pool.u8.fill(0, DATA, DATA + 0x100);
  expect(config(host, action, page).status).toBe(0);
  return buffer(host);
};

const PORT_0 = { type: 3, number: 0 };
const PORT_2 = { type: 3, number: 2 };
const DEVICE_0 = (id: number) => ({ type: 4, number: 0, address: id });
const DEVICE_1 = (id: number) => ({ type: 4, number: 1, address: id });
const SAS_IO_UNIT_0 = { type: 0x0f, ext: 0x10, number: 0 };
const SAS_PHY_0 = (phy: number) => ({ type: 0x0f, ext: 0x13, number: 0, address: phy });
const SAS_DEVICE_0 = (address: number) => ({ type: 0x0f, ext: 0x12, number: 0, address: address >>> 0 });
const NEXT = (handle: number): number => handle;
const HANDLE = (handle: number): number => (2 << 28) | handle;

describe("the pages of a parallel SCSI adapter", () => {
  it("have headers, and contents that match their headers", () => {
    const host = new SpecHost({ variant: "53c1030" }).bringUp();
    for (const [page, version, dwords] of [
      [PORT_0, 2, 3],
      [PORT_2, 2, 0x13],
      [DEVICE_0(0), 4, 3],
      [DEVICE_1(0), 5, 4],
      [{ type: 0, number: 2 }, 0, 8],
      [{ type: 1, number: 1 }, 1, 4],
      [{ type: 1, number: 4 }, 0, 3],
      [{ type: 9, number: 0 }, 0, 0x13],
    ] as const) {
      const header = config(host, HEADER, page);
      expect({ ...header, type: header.type & 0x0f }).toEqual({ status: 0, version, dwords, type: page.type });
      const view = read(host, page);
      expect([view.getUint8(0), view.getUint8(1), view.getUint8(2), view.getUint8(3)]).toEqual([
        version,
        dwords,
        page.number,
        header.type,
      ]);
    }
  });

  it("describe an Ultra320 wide LVD bus with the adapter at id 7 and tagged queueing for all", () => {
    const host = new SpecHost({ variant: "53c1030" }).bringUp();
    const port0 = read(host, PORT_0);
    expect(port0.getUint32(4, true)).toBe(0xa07f0807);
    expect(port0.getUint32(8, true) & 3).toBe(3);
    const port2 = read(host, PORT_2, READ_NVRAM);
    expect(port2.getUint8(8)).toBe(7);
    for (let id = 0; id < 16; id++) {
      expect([port2.getUint8(0x0c + 4 * id + 1), port2.getUint16(0x0e + 4 * id, true)]).toEqual([8, 0x0f]);
    }
  });

  it("negotiate per target what was requested and what the adapter can", () => {
    const host = new SpecHost({ variant: "53c1030" }).bringUp();
    expect(read(host, DEVICE_0(2)).getUint32(8, true)).toBe(0);
    // U160 (factor 9), offset 62, wide, DT and IU, no QAS; HOLD_MCS is beyond the adapter.
    const body = buffer(host);
    body.setUint32(0, 0xffffffff, true);
    body.setUint32(4, 0x203e090b, true);
    expect(config(host, WRITE_CURRENT, DEVICE_1(2), 16).status).toBe(0);
    const view = read(host, DEVICE_0(2));
    expect(view.getUint32(4, true)).toBe(0x203e0903);
    expect(view.getUint32(8, true) & 1).toBe(1);
    expect(read(host, DEVICE_1(2)).getUint32(0, true)).toBe(0x14010405);
    expect(read(host, DEVICE_0(3)).getUint32(8, true)).toBe(0);
  });

  it("say by a zero length that there is no transport to validate, when told so", () => {
    const host = new SpecHost({ variant: "53c1030", transportPages: false }).bringUp();
    expect(config(host, HEADER, DEVICE_0(0))).toMatchObject({ status: 0, dwords: 0 });
  });

  it("keep current, default and NVRAM copies apart", () => {
    const host = new SpecHost({ variant: "53c1030" }).bringUp();
    const flags = (action: number): number => read(host, PORT_2, action).getUint32(4, true);
    const write = (action: number, value: number): number => {
      buffer(host).setUint32(4, value, true);
      return config(host, action, PORT_2, 8).status;
    };
    expect([write(WRITE_CURRENT, 4), write(WRITE_NVRAM, 0x20)]).toEqual([0, 0]);
    expect([flags(READ_CURRENT), flags(READ_NVRAM), flags(READ_DEFAULT)]).toEqual([4, 0x20, 0]);
    expect(config(host, DEFAULT, PORT_2).status).toBe(0);
    expect([flags(READ_CURRENT), flags(READ_NVRAM)]).toEqual([0, 0x20]);
  });

  it("refuse unknown actions, types, numbers and addresses, and writes that cannot last", () => {
    const host = new SpecHost({ variant: "53c1030" }).bringUp();
    expect(config(host, 7, PORT_0).status).toBe(0x20);
    expect(config(host, HEADER, { type: 5, number: 0 }).status).toBe(0x21);
    expect(config(host, HEADER, SAS_IO_UNIT_0).status).toBe(0x21);
    expect(config(host, HEADER, { type: 3, number: 9 }).status).toBe(0x22);
    expect(config(host, READ_CURRENT, DEVICE_1(16)).status).toBe(0x22);
    expect(config(host, WRITE_CURRENT, PORT_0).status).toBe(0x25);
    expect(config(host, WRITE_NVRAM, DEVICE_1(0)).status).toBe(0x25);
    expect(config(host, WRITE_CURRENT, PORT_2, 0).status).toBe(0x23);
  });

  it("call interrupt coalescing what it is: not modelled", () => {
    const host = new SpecHost({ variant: "53c1030" }).bringUp();
    host.machine.strict = false;
    buffer(host).setUint32(4, 1, true);
    config(host, WRITE_CURRENT, { type: 1, number: 1 }, 16);
    expect(host.machine.complaints).toEqual(["not modelled: IOC page 1: interrupt coalescing"]);
  });
});

describe("the pages of a SAS adapter", () => {
  const sas = () => {
    const host = new SpecHost({ variant: "sas1068" }).bringUp();
    const target = new FakeTarget(host.machine.events);
    host.chip.attach(2, target);
    return { host, target };
  };

  it("tell for each phy what hangs on it, as it is now", () => {
    const { host, target } = sas();
    expect(config(host, HEADER, SAS_IO_UNIT_0)).toMatchObject({ status: 0, dwords: 36 });
    const view = read(host, SAS_IO_UNIT_0);
    expect(view.getUint8(0x0c)).toBe(8);
    const phy = 0x10 + 2 * 16;
    expect([view.getUint8(phy + 3), view.getUint16(phy + 8, true), view.getUint16(phy + 10, true)]).toEqual([9, 11, 3]);
    expect(view.getUint16(0x10 + 8, true)).toBe(0);
    expect(read(host, SAS_PHY_0(2)).getUint16(0x14, true)).toBe(11);
    target.present = false;
    expect(read(host, SAS_IO_UNIT_0).getUint16(phy + 8, true)).toBe(0);
    expect(config(host, READ_CURRENT, SAS_DEVICE_0(HANDLE(11))).status).toBe(0x22);
  });

  it("walk all devices by get-next: the phys first, then the disks, then the end", () => {
    const { host } = sas();
    host.chip.attach(7, new FakeTarget(host.machine.events));
    const handles: number[] = [];
    for (let handle = 0xffff; ;) {
      if (config(host, READ_CURRENT, SAS_DEVICE_0(NEXT(handle))).status === 0x22) break;
      handle = buffer(host).getUint16(0x18, true);
      handles.push(handle);
    }
    expect(handles).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 11, 16]);
  });

  it("give a device the same way by bus and target as by handle, with a SAS address of its own", () => {
    const { host } = sas();
    const byHandle = [...new Uint8Array(read(host, SAS_DEVICE_0(HANDLE(11))).buffer.slice(DATA, DATA + 0x24))];
    const view = read(host, SAS_DEVICE_0((1 << 28) | 2));
    expect([...new Uint8Array(view.buffer.slice(DATA, DATA + 0x24))]).toEqual(byHandle);
    expect(view.getUint32(0x1c, true)).toBe(0x401);
    expect([view.getUint8(0x1a), view.getUint16(0x14, true)]).toEqual([2, 3]);
    const address = view.getBigUint64(0x0c, true);
    expect(address).not.toBe(read(host, SAS_DEVICE_0(HANDLE(3))).getBigUint64(0x0c, true));
  });

  it("say that a disk is present and mapped, for Linux attaches no other", () => {
    const { host } = sas();
    expect(read(host, SAS_DEVICE_0(HANDLE(11))).getUint16(0x20, true)).toBe(0x0003);
    expect(read(host, SAS_DEVICE_0(HANDLE(3))).getUint16(0x20, true)).toBe(0);
  });

  it("know no expander and no enclosure", () => {
    const { host } = sas();
    expect(config(host, READ_CURRENT, { type: 0x0f, ext: 0x11, number: 0, address: 0xffff }).status).toBe(0x22);
    expect(config(host, READ_CURRENT, { type: 0x0f, ext: 0x15, number: 0, address: 0xffff }).status).toBe(0x22);
    expect(config(host, HEADER, PORT_0).status).toBe(0x21);
  });
});
