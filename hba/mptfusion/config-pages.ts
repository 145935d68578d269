// The configuration pages a driver reads at bring-up, as bytes, per transport. Actions on them are in chip-config.ts.
// Source: facts hba/mptfusion.md sections 4 and 5 (contents), 9 (handles and phys as QEMU numbers them).
import type { ScsiTarget } from "../../emulator/disk/scsi-command.ts";
import type { FusionProfile } from "./chip-profile.ts";
import {
  MPI_CONFIG_EXTPAGETYPE_ENCLOSURE,
  MPI_CONFIG_EXTPAGETYPE_SAS_DEVICE,
  MPI_CONFIG_EXTPAGETYPE_SAS_EXPANDER,
  MPI_CONFIG_EXTPAGETYPE_SAS_IO_UNIT,
  MPI_CONFIG_EXTPAGETYPE_SAS_PHY,
  MPI_CONFIG_PAGEATTR_CHANGEABLE,
  MPI_CONFIG_PAGEATTR_PERSISTENT,
  MPI_CONFIG_PAGEATTR_READ_ONLY,
  MPI_CONFIG_PAGETYPE_EXTENDED,
  MPI_CONFIG_PAGETYPE_IOC,
  MPI_CONFIG_PAGETYPE_IO_UNIT,
  MPI_CONFIG_PAGETYPE_MANUFACTURING,
  MPI_CONFIG_PAGETYPE_SCSI_DEVICE,
  MPI_CONFIG_PAGETYPE_SCSI_PORT,
} from "./messages.ts";

/** One page as it stands: with the copies that its attribute allows. */
export interface PageContents {
  readonly current: Uint8Array;
  readonly defaults: Uint8Array;
  readonly nvram: Uint8Array;
}

/** All pages of one type and number; `at` picks by PageAddress, undefined when there is none at that address. */
export interface PageFamily {
  readonly type: number;
  /** Extended page type; 0 for ordinary pages. */
  readonly extType: number;
  readonly number: number;
  readonly version: number;
  readonly attribute: number;
  /** Length in dwords including the header. */
  readonly dwords: number;
  at(pageAddress: number): PageContents | undefined;
}

/** SCSI parallel port: U320, DT, IU, QAS, offset 127, wide (Capabilities as in SCSI_PORT page 0). */
export const SPI_PORT_CAPABILITIES = 0xa07f0807;
export const SPI_PARAMETER_BITS = 0xff;
const LVD = 0x03;
const SAS_RATE_3_0 = 0x09;
const SAS_END_DEVICE = 0x001;
const SAS_SSP_INITIATOR = 0x040;
const SAS_SSP_TARGET = 0x400;
const SAS_ADDRESS_HIGH = 0x500605b0;
/** Flags of SAS_DEVICE page 0. */
const DEVICE_PRESENT = 0x0001;
const DEVICE_MAPPED = 0x0002;
const SAS_PHY_DWORDS = 9;
const SAS_DEVICE_DWORDS = 9;

type Fill = (view: DataView, bytes: Uint8Array) => void;

const ascii = (bytes: Uint8Array, at: number, text: string, length: number): void => {
  for (let i = 0; i < Math.min(text.length, length); i++) bytes[at + i] = text.charCodeAt(i);
};

/** Header and body of a page. */
export const fillPage = (family: Omit<PageFamily, "at">, fill: Fill): Uint8Array => {
  const bytes = new Uint8Array(family.dwords * 4);
  const view = new DataView(bytes.buffer);
  if (bytes.length >= 4) {
    bytes[0] = family.version;
    bytes[2] = family.number;
    bytes[3] = family.type | family.attribute;
    if (family.extType === 0) bytes[1] = family.dwords;
    else {
      view.setUint16(4, family.dwords, true);
      bytes[6] = family.extType;
    }
  }
  fill(view, bytes);
  return bytes;
};

const contents = (bytes: Uint8Array): PageContents => ({
  current: bytes,
  defaults: bytes.slice(),
  nvram: bytes.slice(),
});

/** A family with one page. */
const single = (family: Omit<PageFamily, "at">, fill: Fill): PageFamily => {
  const page = contents(fillPage(family, fill));
  return { ...family, at: () => page };
};

const ordinary = (type: number, number: number, version: number, dwords: number, attribute: number) => ({
  type,
  extType: 0,
  number,
  version,
  attribute,
  dwords,
});

const extended = (extType: number, number: number, version: number, dwords: number, attribute = 0) => ({
  type: MPI_CONFIG_PAGETYPE_EXTENDED,
  extType,
  number,
  version,
  attribute,
  dwords,
});

const RO = MPI_CONFIG_PAGEATTR_READ_ONLY;

const commonPages = (profile: FusionProfile): PageFamily[] => [
  single(ordinary(MPI_CONFIG_PAGETYPE_MANUFACTURING, 0, 0, 0x13, RO), (_view, bytes) => {
    ascii(bytes, 0x04, profile.chipName, 16);
    ascii(bytes, 0x14, "C0", 8);
    ascii(bytes, 0x1c, profile.boardName, 16);
    ascii(bytes, 0x2c, "dumplab", 16);
    ascii(bytes, 0x3c, "0001", 16);
  }),
  single(ordinary(MPI_CONFIG_PAGETYPE_IO_UNIT, 2, 0, 8, MPI_CONFIG_PAGEATTR_PERSISTENT), () => {}),
  // Flags 0: no interrupt coalescing, so drivers write nothing.
  single(ordinary(MPI_CONFIG_PAGETYPE_IOC, 1, 1, 4, MPI_CONFIG_PAGEATTR_PERSISTENT), () => {}),
  single(ordinary(MPI_CONFIG_PAGETYPE_IOC, 2, 1, 5, RO), () => {}),
  single(ordinary(MPI_CONFIG_PAGETYPE_IOC, 3, 0, 3, RO), () => {}),
  single(ordinary(MPI_CONFIG_PAGETYPE_IOC, 4, 0, 3, MPI_CONFIG_PAGEATTR_CHANGEABLE), () => {}),
];

/** Per-target pages of a parallel bus: made when first asked for. PageAddress = id | bus << 8. */
const perTarget = (family: Omit<PageFamily, "at">, targets: number, make: () => Uint8Array): PageFamily => {
  const pages = new Map<number, PageContents>();
  return {
    ...family,
    at(pageAddress) {
      if (pageAddress >= targets) return undefined;
      let page = pages.get(pageAddress);
      if (!page) pages.set(pageAddress, (page = contents(make())));
      return page;
    },
  };
};

/** @param transportPages false makes SCSI_DEVICE page 0 zero long: drivers then install no transport template and validate no domain. */
const spiPages = (profile: FusionProfile, transportPages: boolean): PageFamily[] => {
  const device0 = ordinary(MPI_CONFIG_PAGETYPE_SCSI_DEVICE, 0, 4, transportPages ? 3 : 0, RO);
  const device1 = ordinary(MPI_CONFIG_PAGETYPE_SCSI_DEVICE, 1, 5, 4, MPI_CONFIG_PAGEATTR_CHANGEABLE);
  return [
    single(ordinary(MPI_CONFIG_PAGETYPE_SCSI_PORT, 0, 2, 3, RO), (view) => {
      view.setUint32(0x04, SPI_PORT_CAPABILITIES, true);
      view.setUint32(0x08, LVD, true);
    }),
    single(ordinary(MPI_CONFIG_PAGETYPE_SCSI_PORT, 2, 2, 0x13, MPI_CONFIG_PAGEATTR_PERSISTENT), (view) => {
      view.setUint32(0x08, profile.portScsiId, true);
      for (let id = 0; id < 16; id++) {
        const at = 0x0c + 4 * id;
        view.setUint8(at, 10); // seconds
        view.setUint8(at + 1, 0x08); // U320
        view.setUint16(at + 2, 0x0f, true); // disconnect, id scan, lun scan, tagged queueing
      }
    }),
    perTarget(device0, profile.maxTargets, () => fillPage(device0, () => {})),
    perTarget(device1, profile.maxTargets, () =>
      fillPage(device1, (view) => view.setUint32(0x04, SPI_PORT_CAPABILITIES, true)),
    ),
  ];
};

export const controllerHandle = (phy: number): number => phy + 1;
export const deviceHandle = (phy: number, phys: number): number => phy + 1 + phys;
/** World wide name of a phy of the adapter (device false) or of what hangs on it. High and low half. */
export const sasAddress = (phy: number, device: boolean): readonly [number, number] => [
  SAS_ADDRESS_HIGH,
  (device ? 0x01000000 : 0) + phy,
];

const sasPages = (profile: FusionProfile, targets: readonly (ScsiTarget | undefined)[]): PageFamily[] => {
  const { phys } = profile;
  const present = (phy: number): boolean => targets[phy]?.present === true;
  const attached = (phy: number): number => (present(phy) ? deviceHandle(phy, phys) : 0);
  const putAddress = (view: DataView, at: number, phy: number, device: boolean): void => {
    const [high, low] = sasAddress(phy, device);
    view.setUint32(at, low, true);
    view.setUint32(at + 4, high, true);
  };
  /** A page whose contents follow the bus: made anew for each reading. */
  const live = (family: Omit<PageFamily, "at">, fill: (pageAddress: number) => Fill | undefined): PageFamily => ({
    ...family,
    at(pageAddress) {
      const body = fill(pageAddress);
      return body ? contents(fillPage(family, body)) : undefined;
    },
  });
  const deviceBody =
    (phy: number, device: boolean): Fill =>
    (view) => {
      putAddress(view, 0x0c, phy, device);
      view.setUint16(0x14, device ? controllerHandle(phy) : 0, true);
      view.setUint8(0x16, phy);
      view.setUint16(0x18, device ? deviceHandle(phy, phys) : controllerHandle(phy), true);
      view.setUint8(0x1a, device ? phy : 0xff);
      view.setUint32(0x1c, SAS_END_DEVICE | (device ? SAS_SSP_TARGET : SAS_SSP_INITIATOR), true);
      // Linux takes no device that the firmware has not mapped to a bus and target id.
      view.setUint16(0x20, device ? DEVICE_PRESENT | DEVICE_MAPPED : 0, true);
      view.setUint8(0x22, phy);
    };
  const byHandle = (handle: number): Fill | undefined => {
    if (handle >= 1 && handle <= phys) return deviceBody(handle - 1, false);
    const phy = handle - 1 - phys;
    return phy >= 0 && phy < phys && present(phy) ? deviceBody(phy, true) : undefined;
  };
  const findDevice = (pageAddress: number): Fill | undefined => {
    const form = pageAddress >>> 28;
    if (form === 0) {
      const after = (pageAddress & 0xffff) === 0xffff ? 0 : pageAddress & 0xffff;
      for (let handle = after + 1; handle <= 2 * phys; handle++) {
        const body = byHandle(handle);
        if (body) return body;
      }
      return undefined;
    }
    if (form === 1)
      return (pageAddress & 0xff00) === 0 && present(pageAddress & 0xff)
        ? deviceBody(pageAddress & 0xff, true)
        : undefined;
    return form === 2 ? byHandle(pageAddress & 0xffff) : undefined;
  };
  return [
    live(extended(MPI_CONFIG_EXTPAGETYPE_SAS_IO_UNIT, 0, 4, (0x10 + 16 * phys) / 4), () => (view) => {
      view.setUint8(0x0c, phys);
      for (let phy = 0; phy < phys; phy++) {
        const at = 0x10 + 16 * phy;
        view.setUint8(at, phy);
        view.setUint8(at + 3, present(phy) ? SAS_RATE_3_0 : 0);
        view.setUint32(at + 4, SAS_END_DEVICE | SAS_SSP_INITIATOR, true);
        view.setUint16(at + 8, attached(phy), true);
        view.setUint16(at + 10, controllerHandle(phy), true);
      }
    }),
    single(
      extended(MPI_CONFIG_EXTPAGETYPE_SAS_IO_UNIT, 1, 7, (0x14 + 12 * phys) / 4, MPI_CONFIG_PAGEATTR_PERSISTENT),
      (view) => {
        view.setUint8(0x10, phys);
        for (let phy = 0; phy < phys; phy++) view.setUint8(0x14 + 12 * phy, phy);
      },
    ),
    live(extended(MPI_CONFIG_EXTPAGETYPE_SAS_PHY, 0, 1, SAS_PHY_DWORDS), (pageAddress) => {
      const phy = pageAddress & 0xff;
      if (pageAddress >>> 28 !== 0 || phy >= phys) return undefined;
      return (view) => {
        view.setUint16(0x08, controllerHandle(phy), true);
        putAddress(view, 0x0c, phy, false);
        view.setUint16(0x14, attached(phy), true);
        view.setUint32(0x18, present(phy) ? SAS_END_DEVICE | SAS_SSP_TARGET : 0, true);
        view.setUint8(0x1c, 0x98);
        view.setUint8(0x1d, 0x98);
      };
    }),
    live(extended(MPI_CONFIG_EXTPAGETYPE_SAS_DEVICE, 0, 5, SAS_DEVICE_DWORDS), findDevice),
    // No expander, no enclosure: their headers exist, their pages do not.
    live(extended(MPI_CONFIG_EXTPAGETYPE_SAS_EXPANDER, 0, 4, 9), () => undefined),
    live(extended(MPI_CONFIG_EXTPAGETYPE_ENCLOSURE, 0, 0, 10), () => undefined),
  ];
};

export const configPages = (
  profile: FusionProfile,
  targets: readonly (ScsiTarget | undefined)[],
  transportPages: boolean,
): PageFamily[] => [
  ...commonPages(profile),
  ...(profile.transport === "spi" ? spiPages(profile, transportPages) : sasPages(profile, targets)),
];
