// The trace as Chrome's JSON trace format, which Perfetto opens: one track per CPU and device.
import type { TraceRecorder } from "../../emulator/trace/trace.ts";

/** Renders the recorder's ring. Times are microseconds with the nanoseconds behind the point. */
export function perfettoJson(recorder: TraceRecorder, scenario: string): string {
  const tracks = new Map<string, number>();
  const events: string[] = [];
  for (const { at, who, what, a, b } of recorder.records()) {
    let tid = tracks.get(who);
    if (tid === undefined) {
      tid = tracks.size + 1;
      tracks.set(who, tid);
      events.push(JSON.stringify({ ph: "M", pid: 1, tid, name: "thread_name", args: { name: who } }));
    }
    events.push(JSON.stringify({ ph: "i", s: "t", pid: 1, tid, ts: at / 1000, name: what, args: { a, b } }));
  }
  const head = JSON.stringify({ ph: "M", pid: 1, name: "process_name", args: { name: `dumplab ${scenario}` } });
  const other = { dropped: recorder.dropped };
  return `{"displayTimeUnit":"ns","otherData":${JSON.stringify(other)},"traceEvents":[\n${[head, ...events].join(",\n")}\n]}\n`;
}
