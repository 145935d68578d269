// The write-sequence key machine and the diagnostic register with its adapter reset.
// Source: facts hba/mptfusion.md sections 2 and 3.
import { type TimerEvent, makeEvent } from "../../emulator/time/events.ts";
import type { MessageUnit } from "./chip-message-unit.ts";
import {
  MPI_DIAG_CLEAR_FLASH_BAD_SIG,
  MPI_DIAG_DISABLE_ARM,
  MPI_DIAG_DRWE,
  MPI_DIAG_FLASH_BAD_SIG,
  MPI_DIAG_MEM_ENABLE,
  MPI_DIAG_PREVENT_IOC_BOOT,
  MPI_DIAG_RESET_ADAPTER,
  MPI_DIAG_RESET_HISTORY,
  MPI_DIAG_RW_ENABLE,
  MPI_WRSEQ_KEYS,
} from "./registers.ts";

/** From the write of RESET_ADAPTER to the reset taking hold: a posted write's way through the chip (estimate). */
const PULSE_START_NS = 100;

export class Diagnostic {
  private readonly unit: MessageUnit;
  private readonly pulseNs: number;
  private readonly pulseStart: TimerEvent;
  private readonly pulseEnd: TimerEvent;
  private keysSeen = 0;
  private value = 0;

  constructor(unit: MessageUnit, pulseNs: number, onAdapterReset: () => void) {
    this.unit = unit;
    this.pulseNs = pulseNs;
    this.pulseStart = makeEvent(`${unit.device.name}.reset-adapter`, onAdapterReset);
    this.pulseEnd = makeEvent(`${unit.device.name}.reset-pulse`, () => {
      this.value &= ~(MPI_DIAG_RESET_ADAPTER | MPI_DIAG_DISABLE_ARM);
      this.value |= MPI_DIAG_RESET_HISTORY;
    });
  }

  powerOn(): void {
    this.value = 0;
    this.keysSeen = 0;
    this.unit.device.host.events.cancel(this.pulseStart);
    this.unit.device.host.events.cancel(this.pulseEnd);
  }

  private get writeEnabled(): boolean {
    return this.keysSeen === MPI_WRSEQ_KEYS.length;
  }

  read(): number {
    return this.writeEnabled ? this.value | MPI_DIAG_DRWE : this.value;
  }

  /** One key; out of order, or one more than five, closes the register again. */
  writeKey(value: number): void {
    this.keysSeen = !this.writeEnabled && (value & 0x0f) === MPI_WRSEQ_KEYS[this.keysSeen] ? this.keysSeen + 1 : 0;
  }

  write(value: number): void {
    const { unit } = this;
    if (!this.writeEnabled) {
      unit.complain(
        "driver erred",
        `Diagnostic written (0x${value.toString(16)}) without the write sequence (DRWE is off)`,
      );
      return;
    }
    if ((value & (MPI_DIAG_PREVENT_IOC_BOOT | MPI_DIAG_RW_ENABLE | MPI_DIAG_MEM_ENABLE)) !== 0) {
      unit.complain("not modelled", `Diagnostic bits 0x${value.toString(16)}: firmware download and memory access`);
    }
    if ((value & MPI_DIAG_CLEAR_FLASH_BAD_SIG) !== 0) this.value &= ~MPI_DIAG_FLASH_BAD_SIG;
    if ((value & MPI_DIAG_RESET_HISTORY) === 0) this.value &= ~MPI_DIAG_RESET_HISTORY;
    this.value = (this.value & ~MPI_DIAG_DISABLE_ARM) | (value & MPI_DIAG_DISABLE_ARM);
    if ((value & MPI_DIAG_RESET_ADAPTER) !== 0) {
      this.value |= MPI_DIAG_RESET_ADAPTER;
      this.keysSeen = 0;
      const { events } = unit.device.host;
      events.arm(this.pulseStart, events.now + PULSE_START_NS);
      events.arm(this.pulseEnd, events.now + this.pulseNs);
    }
  }
}
