// An LSI Fusion-MPT controller at register level: 53C1030 (SCSI parallel) and SAS1068.
//
// Register writes record and schedule; what they cause happens in the chip's own events, whose times are counted from
// `host.events.now`. So whoever passes a CPU's access on must have moved that clock up to the CPU's time.
import { type DeviceHost, PciDevice } from "../../emulator/bus/pci.ts";
import type { ScsiTarget } from "../../emulator/disk/scsi-command.ts";
import { type TimerEvent, makeEvent } from "../../emulator/time/events.ts";
import { ConfigHandler } from "./chip-config.ts";
import { Diagnostic } from "./chip-diagnostic.ts";
import { Doorbell } from "./chip-doorbell.ts";
import { EventReporter } from "./chip-events.ts";
import type { FusionLatencies } from "./chip-latencies.ts";
import { Management } from "./chip-management.ts";
import { MessageUnit } from "./chip-message-unit.ts";
import {
  FUSION_PROFILES,
  type FusionProfile,
  type FusionVariant,
  GLOBAL_CREDITS,
  REQUEST_FRAME_DWORDS,
} from "./chip-profile.ts";
import { RequestFifo } from "./chip-request-fifo.ts";
import { ScsiIo } from "./chip-scsi-io.ts";
import { TaskManager } from "./chip-task.ts";
import { configPages, deviceHandle, controllerHandle, sasAddress } from "./config-pages.ts";
import {
  MPI_EVENT_EXT_BUS_RESET,
  MPI_EVENT_QUEUE_FULL,
  MPI_EVENT_SAS_DEVICE_STATUS_CHANGE,
  MPI_EVENT_SAS_DEV_STAT_RC_ADDED,
  MPI_EVENT_SAS_DEV_STAT_RC_NOT_RESPONDING,
  MPI_FUNCTION_SCSI_IO_REQUEST,
  MPI_FUNCTION_SCSI_TASK_MGMT,
  MPI_IOCSTATUS_INSUFFICIENT_RESOURCES,
  MPI_IOCSTATUS_INVALID_STATE,
  MPI_IOCSTATUS_SCSI_DEVICE_NOT_THERE,
  MPI_IOCSTATUS_SCSI_EXT_TERMINATED,
} from "./messages.ts";
import {
  MPI,
  MPI_IOC_STATE_FAULT,
  MPI_IOC_STATE_OPERATIONAL,
  MPI_IOC_STATE_READY,
  MPI_IOC_STATE_RESET,
  MPT_DIAGNOSTIC_BAR,
  MPT_REGISTERS,
  MPT_REGISTER_NAMES,
} from "./registers.ts";

const U32 = 4294967296;
const FRAME_BYTES = REQUEST_FRAME_DWORDS * 4;
const NB_MASK = 7;
const SAS_SSP_END_DEVICE = 0x401;

export interface FusionOptions {
  readonly variant: FusionVariant;
  /** Offer the high-priority request FIFO (IOCCapabilities bit 0). Default off: task management goes over the doorbell. */
  readonly highPriorityQueue?: boolean;
  /** SPI: SCSI_DEVICE page 0 has contents, so drivers validate domains. Default on. */
  readonly transportPages?: boolean;
  readonly latencies?: Partial<FusionLatencies>;
}

export class FusionMptChip extends PciDevice {
  readonly profile: FusionProfile;
  private readonly targets: (ScsiTarget | undefined)[];
  private readonly unit: MessageUnit;
  private readonly requests: RequestFifo;
  private readonly urgentRequests: RequestFifo | undefined;
  private readonly doorbell: Doorbell;
  private readonly diagnostic: Diagnostic;
  private readonly io: ScsiIo;
  private readonly reporter: EventReporter;
  private readonly management: Management;
  private readonly latencies: FusionLatencies;
  private readonly taskManager: TaskManager;
  private readonly readyEvent: TimerEvent;
  private readonly outsideEvent: TimerEvent;
  private readonly outside: (() => void)[] = [];
  /** A request frame above the flat window is copied here. */
  private readonly frame = new Int32Array(REQUEST_FRAME_DWORDS);

  constructor(host: DeviceHost, name: string, options: FusionOptions) {
    const profile = FUSION_PROFILES[options.variant];
    super(host, name, profile.pci);
    this.profile = profile;
    this.latencies = { ...profile.latencies, ...options.latencies };
    this.targets = new Array<ScsiTarget | undefined>(profile.maxTargets).fill(undefined);
    const { latencies, targets } = this;
    this.unit = new MessageUnit(
      this,
      latencies.doorbellStepNs,
      (asserted) => this.driveInterruptLine(asserted),
      () => this.stopWork(),
    );
    this.reporter = new EventReporter(this.unit);
    this.io = new ScsiIo(this.unit, profile, latencies.selectionTimeoutNs, targets, (target, depth) =>
      this.reporter.report(MPI_EVENT_QUEUE_FULL, [target | (depth << 16)]),
    );
    this.taskManager = new TaskManager(profile, this.io, this.reporter, targets);
    const highPriorityQueue = options.highPriorityQueue ?? false;
    this.management = new Management({
      unit: this.unit,
      profile,
      latencies,
      highPriorityQueue,
      io: this.io,
      events: this.reporter,
      tasks: this.taskManager,
      config: new ConfigHandler(this.unit, configPages(profile, targets, options.transportPages ?? true)),
      presentOnDoorbell: (words, count) => this.doorbell.present(words, count),
    });
    this.doorbell = new Doorbell(this.unit, latencies.doorbellStepNs, {
      message: (words, count) => this.takeHandshake(words, count),
      reset: (kind) =>
        this.startReset(
          kind === "io unit",
          kind === "io unit" ? latencies.ioUnitResetNs : latencies.messageUnitResetNs,
        ),
    });
    this.diagnostic = new Diagnostic(this.unit, latencies.diagnosticPulseNs, () => {
      this.unit.intMask = MPT_REGISTERS.IntMask.reset;
      this.startReset(true, latencies.diagnosticResetNs);
    });
    const { requestFetchNs, requestGapNs } = latencies;
    this.requests = new RequestFifo(`${name}.fetch`, host.events, requestFetchNs, requestGapNs, (frame) =>
      this.fetch(frame, false),
    );
    this.urgentRequests = highPriorityQueue
      ? new RequestFifo(`${name}.fetch-urgent`, host.events, requestFetchNs, requestGapNs, (frame) =>
          this.fetch(frame, true),
        )
      : undefined;
    this.readyEvent = makeEvent(`${name}.ready`, () => this.becomeReady());
    this.outsideEvent = makeEvent(`${name}.bus`, () => {
      for (const happening of this.outside.splice(0)) happening();
    });
  }

  /** Puts a target on the bus: SPI id, or SAS phy number. Throws when the id cannot carry one. */
  attach(id: number, target: ScsiTarget): void {
    const { maxTargets, portScsiId, transport } = this.profile;
    if (!(id >= 0 && id < maxTargets) || (transport === "spi" && id === portScsiId)) {
      throw new Error(
        `${this.name}: no target can have id ${id} (0 to ${maxTargets - 1}${transport === "spi" ? `, not ${portScsiId}` : ""})`,
      );
    }
    this.targets[id] = target;
  }

  /** Commands in the hands of targets. */
  get outstanding(): number {
    return this.io.outstanding;
  }

  // What happens on the bus without the host: for fault scenarios.

  /** Somebody else resets the SPI bus: commands under way end as "externally terminated". Takes effect in the chip's next event. */
  externalBusReset(): void {
    this.fromOutside(() => {
      this.io.terminate(() => true, MPI_IOCSTATUS_SCSI_EXT_TERMINATED);
      this.taskManager.resetTargets();
      this.reporter.report(MPI_EVENT_EXT_BUS_RESET, [0]);
    });
  }

  /** SAS: tells the host that the device on a phy came or went. Commands to a gone device end as "device not there". */
  sasDeviceChanged(id: number): void {
    this.fromOutside(() => {
      const present = this.targets[id]?.present === true;
      if (!present) this.io.terminate((slot) => slot.target === id, MPI_IOCSTATUS_SCSI_DEVICE_NOT_THERE);
      const reason = present ? MPI_EVENT_SAS_DEV_STAT_RC_ADDED : MPI_EVENT_SAS_DEV_STAT_RC_NOT_RESPONDING;
      const [high, low] = sasAddress(id, true);
      this.reporter.report(
        MPI_EVENT_SAS_DEVICE_STATUS_CHANGE,
        [
          id | (reason << 16),
          deviceHandle(id, this.profile.phys) << 16,
          SAS_SSP_END_DEVICE,
          controllerHandle(id) | (id << 16),
          low,
          high,
          0,
          0,
          0,
        ],
        true,
      );
    });
  }

  /** The IOC's firmware dies: FAULT with `code` in Doorbell[15:0]. */
  injectFault(code: number): void {
    this.fromOutside(() => this.unit.fault(code));
  }

  override read(bar: number, offset: number, size: number): number {
    const { unit } = this;
    let value = 0;
    if (bar === MPT_DIAGNOSTIC_BAR || size !== 4) return this.refuse("read", bar, offset, size);
    switch (offset) {
      case MPI.ReplyFifo:
        value = unit.takeDescriptor();
        break;
      case MPI.IntStatus:
        value = unit.intStatus >>> 0;
        break;
      case MPI.IntMask:
        value = unit.intMask;
        break;
      case MPI.Doorbell:
        value = this.doorbell.read();
        break;
      case MPI.Diagnostic:
        value = this.diagnostic.read();
        break;
      default:
        return this.refuse("read", bar, offset, size);
    }
    if (this.host.tracing) this.host.trace(this.name, `read ${MPT_REGISTER_NAMES.get(offset)}`, offset, value);
    return value;
  }

  override write(bar: number, offset: number, size: number, value: number): void {
    const { unit } = this;
    if (bar === MPT_DIAGNOSTIC_BAR || size !== 4) {
      this.refuse("write", bar, offset, size);
      return;
    }
    if (this.host.tracing)
      this.host.trace(this.name, `write ${MPT_REGISTER_NAMES.get(offset) ?? "?"}`, offset, value >>> 0);
    switch (offset) {
      case MPI.RequestFifo:
        this.postRequest(this.requests, value);
        break;
      case MPI.ReplyFifo:
        if (unit.state === MPI_IOC_STATE_RESET)
          unit.complain("driver erred", "reply frame posted while the IOC is in reset");
        else unit.postFreeFrame(value);
        break;
      case MPI.IntStatus:
        this.doorbell.acknowledge();
        break;
      case MPI.IntMask:
        unit.intMask = value & MPT_REGISTERS.IntMask.writable;
        unit.updateLine();
        break;
      case MPI.Doorbell:
        this.doorbell.write(value);
        break;
      case MPI.WriteSequence:
        this.diagnostic.writeKey(value);
        break;
      case MPI.Diagnostic:
        this.diagnostic.write(value);
        break;
      case MPI.RequestHiPriFifo:
        if (this.urgentRequests) this.postRequest(this.urgentRequests, value);
        else unit.complain("driver erred", "RequestHiPriFifo written, but IOCFacts offers no high-priority queue");
        break;
      default:
        this.refuse("write", bar, offset, size);
    }
  }

  /** Power on, or RST# on PCI: everything forgotten, READY at once. */
  override reset(): void {
    this.forget();
    this.diagnostic.powerOn();
    this.outside.length = 0;
    this.host.events.cancel(this.outsideEvent);
    this.host.events.cancel(this.readyEvent);
    this.unit.intMask = MPT_REGISTERS.IntMask.reset;
    this.unit.state = MPI_IOC_STATE_READY;
    this.unit.updateLine();
  }

  private refuse(access: "read" | "write", bar: number, offset: number, size: number): number {
    const name = MPT_REGISTER_NAMES.get(offset);
    const where = `${access} of ${size} bytes at BAR ${bar} + 0x${offset.toString(16)}`;
    if (bar === MPT_DIAGNOSTIC_BAR) this.unit.complain("not modelled", `${where}: diagnostic memory`);
    else if (size !== 4) this.unit.complain("driver erred", `${where}: registers are 32 bits wide`);
    else if (name === undefined) this.unit.complain("driver erred", `${where}: no such register`);
    else if (offset === MPI.TestBase || offset === MPI.DiagRwData || offset === MPI.DiagRwAddress) {
      this.unit.complain("not modelled", `${where}: ${name}`);
    } else this.unit.complain("driver erred", `${where}: ${name} does not take a ${access}`);
    return 0;
  }

  private postRequest(fifo: RequestFifo, value: number): void {
    const { unit } = this;
    // A faulted IOC is deaf; the host may not know yet.
    if (unit.state === MPI_IOC_STATE_FAULT) return;
    if (unit.state === MPI_IOC_STATE_RESET) {
      unit.complain("driver erred", "request posted while the IOC is in reset");
    } else if (!fifo.push(value & ~NB_MASK)) {
      unit.complain(
        "driver erred",
        `request FIFO holds ${GLOBAL_CREDITS} frames (GlobalCredits), the host posts one more`,
      );
      unit.fault(MPI_IOCSTATUS_INSUFFICIENT_RESOURCES);
    }
  }

  /** Firmware reads a request frame. */
  private fetch(frame: number, urgent: boolean): void {
    const { memory } = this.host;
    const { unit } = this;
    if (unit.state !== MPI_IOC_STATE_OPERATIONAL) {
      unit.complain("driver erred", "request posted before IOCInit");
      unit.fault(MPI_IOCSTATUS_INVALID_STATE);
      return;
    }
    const address = frame + unit.hostMfaHigh * U32;
    if (!unit.allowDma(address, FRAME_BYTES, "request frame")) return;
    let words = memory.pool.i32;
    let base = address >>> 2;
    if (address + FRAME_BYTES > memory.flatBytes) {
      words = this.frame;
      base = 0;
      for (let i = 0; i < REQUEST_FRAME_DWORDS; i++) words[i] = memory.read32(address + i * 4);
    }
    if (this.host.tracing) this.host.trace(this.name, "request", words[base]! >>> 24, words[base + 2]! >>> 0);
    if (words[base]! >>> 24 === MPI_FUNCTION_SCSI_IO_REQUEST) this.io.start(words, base, REQUEST_FRAME_DWORDS);
    else this.management.accept(words, base, REQUEST_FRAME_DWORDS, "fifo", urgent);
  }

  /** A message that came by doorbell. Task management ends the handshake at once and is answered through the reply FIFO. */
  private takeHandshake(words: Int32Array, count: number): void {
    if (words[0]! >>> 24 !== MPI_FUNCTION_SCSI_TASK_MGMT || this.unit.state !== MPI_IOC_STATE_OPERATIONAL) {
      this.management.accept(words, 0, count, "doorbell");
      return;
    }
    this.doorbell.end();
    this.management.accept(words, 0, count, "fifo", true);
  }

  private fromOutside(happening: () => void): void {
    this.outside.push(happening);
    if (!this.outsideEvent.armed) this.host.events.arm(this.outsideEvent, this.host.events.now);
  }

  /** Nothing goes on: for FAULT and for resets. Targets lose what they had of ours. */
  private stopWork(): void {
    this.requests.clear();
    this.urgentRequests?.clear();
    this.management.clear();
    this.doorbell.clear();
    this.io.dropAll();
  }

  private forget(): void {
    this.stopWork();
    this.reporter.clear();
    this.io.portEnabled = false;
    this.unit.clear();
  }

  private startReset(withBus: boolean, durationNs: number): void {
    this.unit.trace("reset", withBus ? 1 : 0, durationNs);
    this.forget();
    this.unit.state = MPI_IOC_STATE_RESET;
    if (withBus) this.taskManager.resetTargets();
    this.host.events.arm(this.readyEvent, this.host.events.now + durationNs);
  }

  private becomeReady(): void {
    this.doorbell.clear();
    this.unit.intStatus = 0;
    this.unit.state = MPI_IOC_STATE_READY;
    this.unit.updateLine();
  }
}
