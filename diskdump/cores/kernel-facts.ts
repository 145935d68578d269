// What a core's own format has no place for stands in the memory it saved: names, time, tasks and log of the kernel that died.
import { NR_CPUS } from "../format/structs.ts";
import type { CoreCpu, CoreFacts, CoreReader } from "./core.ts";
import { cString } from "./c-string.ts";
import type { KernelMemory } from "./kernel-memory.ts";
import { stoppedRegisters } from "./stopped-cpus.ts";
import { kernelVmcoreinfo } from "./vmcoreinfo.ts";

const UTSNAME_FIELD_BYTES = 65;
const MOST_LOG_BYTES = 16 << 20;

/** The core with every fact filled in that it lacks and its memory holds. What it says itself stays. */
export function withKernelFacts(core: CoreReader, memory: KernelMemory): CoreReader {
  const { facts } = core;
  const systemName = facts.systemName.nodename === "" ? (nameOf(memory) ?? facts.systemName) : facts.systemName;
  const seconds = facts.timestampSeconds === 0 ? longAt(memory, "xtime") : undefined;
  return {
    ...core,
    facts: {
      ...facts,
      ...cpuFacts(facts, memory),
      systemName,
      timestampSeconds: seconds === undefined ? facts.timestampSeconds : Number(seconds),
      vmcoreinfo:
        facts.vmcoreinfo === "" ? kernelVmcoreinfo(memory.image, systemName.release, facts) : facts.vmcoreinfo,
      panicText: facts.panicText === "" ? panicTextOf(memory) : facts.panicText,
    },
  };
}

function longAt(memory: KernelMemory, symbol: string): bigint | undefined {
  const at = memory.image.symbol(symbol);
  return at === undefined || !memory.tryBytes(at, 8) ? undefined : memory.word(at, symbol);
}

function nameOf(memory: KernelMemory): CoreFacts["systemName"] | undefined {
  const at = memory.image.symbol("system_utsname");
  const bytes = at === undefined ? undefined : memory.tryBytes(at, 6 * UTSNAME_FIELD_BYTES);
  if (!bytes) return undefined;
  const field = (index: number): string =>
    cString(bytes.subarray(0, (index + 1) * UTSNAME_FIELD_BYTES), index * UTSNAME_FIELD_BYTES);
  return {
    ...{ sysname: field(0), nodename: field(1), release: field(2) },
    ...{ version: field(3), machine: field(4), domainname: field(5) },
  };
}

/** The lines of log_buf, oldest first. */
function logLines(memory: KernelMemory): string[] {
  const { image } = memory;
  const lengthAt = image.symbol("log_buf_len");
  const buffer = longAt(memory, "log_buf");
  const end = longAt(memory, "log_end");
  if (buffer === undefined || end === undefined || lengthAt === undefined) return [];
  const length = memory.int(lengthAt, "log_buf_len");
  if (length <= 0 || length > MOST_LOG_BYTES) return [];
  const ring = memory.tryBytes(buffer, length);
  if (!ring) return [];
  const turn = Number(end % BigInt(length));
  const bytes =
    end <= BigInt(length)
      ? ring.subarray(0, Number(end))
      : Buffer.concat([ring.subarray(turn), ring.subarray(0, turn)]);
  return Buffer.from(bytes).toString("latin1").split("\n");
}

/** The lines that name the cause, in the order in which crash(8) looks for them. */
const CAUSES = [
  /general protection fault: .*/,
  /SysRq : (?:Crash|Netdump|Trigger a crash).*/,
  /(?:Oops: |[Kk]ernel BUG at|Unable to handle kernel).*/,
  /Kernel panic[^:]*: ?(.*)/,
];

/** Why the kernel died, in its own words; "" when its log has none. */
function panicTextOf(memory: KernelMemory): string {
  const lines = logLines(memory);
  for (const cause of CAUSES) {
    for (const line of lines) {
      const match = cause.exec(line);
      if (match) return match[1] ?? match[0];
    }
  }
  return "";
}

/** Tasks by CPU from cpu_pda (x86_64); then the CPU of a core that knows one by its task only is known, too. */
function cpuFacts(facts: CoreFacts, memory: KernelMemory): Partial<CoreFacts> {
  const { image } = memory;
  const base = image.symbol("cpu_pda");
  const shape = image.struct("x8664_pda");
  const currentAt = shape?.offsets.get("pcurrent");
  const numberAt = shape?.offsets.get("cpunumber");
  if (base === undefined || !shape || currentAt === undefined || numberAt === undefined) return {};
  const pdaOf = (cpu: number): bigint => base + BigInt(cpu * shape.size);
  const tasks: bigint[] = [];
  for (let cpu = 0; cpu < NR_CPUS; cpu++) {
    const at = pdaOf(cpu);
    if (!memory.tryBytes(at, shape.size) || memory.int(at + BigInt(numberAt), "x8664_pda.cpunumber") !== cpu) break;
    const task = memory.word(at + BigInt(currentAt), "x8664_pda.pcurrent");
    if (memory.physicalOf(task) === undefined) break;
    tasks.push(task);
  }
  if (tasks.length === 0) return {};
  const known = facts.currentCpu === undefined ? undefined : facts.cpus[facts.currentCpu];
  const crashingAt = image.symbol("crashing_cpu");
  const crashing = crashingAt === undefined ? -1 : memory.int(crashingAt, "crashing_cpu");
  const byTask = known ? tasks.indexOf(known.task) : -1;
  const numbered = facts.cpusNumbered;
  const currentCpu = numbered && facts.currentCpu !== undefined ? facts.currentCpu : byTask >= 0 ? byTask : crashing;
  if (!numbered && (currentCpu < 0 || currentCpu >= tasks.length)) return {};
  const cpus = tasks.map((task, cpu): CoreCpu => {
    const from = numbered ? facts.cpus[cpu] : cpu === currentCpu ? (known ?? facts.cpus[0]) : undefined;
    // A task that the dump's header names ran there when the CPU was frozen; it is the same one unless the header has none.
    const own = from && from.task !== 0n ? from.task : task;
    const stopped = from?.registers || cpu === currentCpu ? undefined : stoppedRegisters(memory, pdaOf(cpu), own);
    return { ...from, task: own, ...pidOf(memory, own), ...(stopped ? { registers: stopped } : {}) };
  });
  return {
    cpus,
    cpusNumbered: true,
    currentCpu: currentCpu >= 0 && currentCpu < cpus.length ? currentCpu : facts.currentCpu,
  };
}

function pidOf(memory: KernelMemory, task: bigint): { pid?: number } {
  const at = memory.image.struct("task_struct")?.offsets.get("pid");
  if (at === undefined || !memory.tryBytes(task + BigInt(at), 4)) return {};
  return { pid: memory.int(task + BigInt(at), "task_struct.pid") };
}
