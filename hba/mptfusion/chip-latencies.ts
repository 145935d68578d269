// How long the controller's firmware takes, in nanoseconds of simulated time.
//
// Only the upper bounds are facts (a driver waits 5 s for an acknowledgement, 15 s after a message unit reset, 60 s after a
// diagnostic reset, 300 s for a SAS PortEnable). The values are estimates of what the parts do, chosen by us.

export interface FusionLatencies {
  /** From the write of a frame's address to the frame being read and parsed. */
  readonly requestFetchNs: number;
  /** Between two frames of a full request FIFO. */
  readonly requestGapNs: number;
  /** Taking one doorbell write, or presenting the next handshake word. */
  readonly doorbellStepNs: number;
  readonly iocFactsNs: number;
  readonly iocInitNs: number;
  readonly portEnableNs: number;
  /** Any other message that firmware handles: config pages, PortFacts, events, refusals. */
  readonly messageNs: number;
  readonly taskManagementNs: number;
  readonly busResetNs: number;
  /** SPI: how long the bus waits for a target that does not answer. */
  readonly selectionTimeoutNs: number;
  readonly messageUnitResetNs: number;
  readonly ioUnitResetNs: number;
  /** When RESET_ADAPTER and DISABLE_ARM clear themselves and RESET_HISTORY appears. */
  readonly diagnosticPulseNs: number;
  /** From the write of RESET_ADAPTER to READY. */
  readonly diagnosticResetNs: number;
}

const US = 1_000;
const MS = 1_000_000;

export const SPI_LATENCIES: FusionLatencies = {
  requestFetchNs: 1_200,
  requestGapNs: 800,
  doorbellStepNs: 2 * US,
  iocFactsNs: 150 * US,
  iocInitNs: 5 * MS,
  portEnableNs: 1_000 * MS,
  messageNs: 30 * US,
  taskManagementNs: 100 * US,
  busResetNs: 1 * MS,
  selectionTimeoutNs: 250 * MS,
  messageUnitResetNs: 20 * MS,
  ioUnitResetNs: 100 * MS,
  diagnosticPulseNs: 50 * MS,
  diagnosticResetNs: 500 * MS,
};

/** A SAS port enable waits for link reset and discovery; an absent device is refused at once (no selection). */
export const SAS_LATENCIES: FusionLatencies = {
  ...SPI_LATENCIES,
  portEnableNs: 2_500 * MS,
  selectionTimeoutNs: 20 * US,
};
