import { dumpMachine, crash } from "./spec-machine.ts";
import { dumpOutcome } from "./disk-dump.ts";
const rate = Number(process.argv[2] ?? 8);
for (let i = 0; i < Number(process.argv[3] ?? 1); i++) {
  const m = dumpMachine({ cpus: 4, ramMiB: 8192, flatMiB: 64, parameters: { sample_rate: rate } });
  const t1 = performance.now();
  crash(m.k);
  const t2 = performance.now();
  console.log(rate, "crash", (t2 - t1).toFixed(0), dumpOutcome(m.k).result, m.adapters[0]!.opcodes.length, "ns/io", (((t2 - t1) * 1e6) / m.adapters[0]!.opcodes.length).toFixed(0), "resumptions", m.k.machine.resumptions);
}
