// The progress line of a campaign, on stderr: rewritten in place on a terminal, else a line now and then.

const IN_PLACE_EVERY_MS = 100;
const LINE_EVERY_MS = 5000;

/** The part of process.stderr that this needs. */
export interface ProgressStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export class Progress {
  private readonly stream: ProgressStream;
  private readonly now: () => number;
  private readonly total: number;
  private readonly startMs: number;
  private shownMs: number;
  private done = 0;
  private complete = 0;

  /** `total` trials are to be run; `now` is the host's clock in ms. */
  constructor(stream: ProgressStream, total: number, now: () => number = () => performance.now()) {
    this.stream = stream;
    this.total = total;
    this.now = now;
    this.startMs = this.shownMs = now();
  }

  /** One more trial has ended. */
  step(isComplete: boolean): void {
    this.done++;
    if (isComplete) this.complete++;
    const interval = this.stream.isTTY ? IN_PLACE_EVERY_MS : LINE_EVERY_MS;
    if (this.now() - this.shownMs < interval) return;
    this.shownMs = this.now();
    const line = this.line();
    this.stream.write(this.stream.isTTY ? `\r${line.slice(0, (this.stream.columns ?? 80) - 1)}\x1b[K` : `${line}\n`);
  }

  /** Takes the line off a terminal, so that what follows starts on a clean one. */
  clear(): void {
    if (this.stream.isTTY) this.stream.write("\r\x1b[K");
  }

  private line(): string {
    const elapsedMs = this.now() - this.startMs;
    const perTrialMs = elapsedMs / Math.max(this.done, 1);
    const left = duration(perTrialMs * (this.total - this.done));
    return `${this.done}/${this.total} trials, ${this.complete} complete, ${(perTrialMs / 1000).toFixed(2)} s per trial, ${left} left`;
  }
}

/** "3 min 12 s" */
export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}
