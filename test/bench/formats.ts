// Writing a core in another format, against the field's own tools at the same file.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PagePool } from "../../emulator/memory/pool.ts";
import { PageStore } from "../../emulator/memory/store.ts";
import { DATA_MODELS } from "../../kernel-sim/abi/types.ts";
import { exportCore, planExport, type CoreFormat } from "../../diskdump/cores/export-core.ts";
import { openCore } from "../../diskdump/cores/open-core.ts";
import { FileSink } from "../../diskdump/userspace/core-sink.ts";
import { partitionBytes, putDump } from "../../diskdump/userspace/dump-fixture.ts";
import { FileStore } from "../../diskdump/userspace/file-store.ts";
import { nodeFiles } from "../../diskdump/userspace/host-files.ts";
import { openDump } from "../../diskdump/userspace/dump-image.ts";
import { partitionCore } from "../../diskdump/cores/partition-core.ts";
import type { CoreReader } from "../../diskdump/cores/core.ts";
import { median, seconds, type Row } from "./measure.ts";

/** Every fourth page is zero; the others hold text and numbers, as memory does. */
function fill(frame: number, page: Uint8Array): void {
  if (frame % 4 === 3) return;
  for (let i = 0; i < page.length; i += 2) {
    page[i] = i % 64 < 24 ? 0 : (Math.imul(i + frame * 4099, 2654435761) >>> 24) & 0x3f;
    page[i + 1] = (i >> 6) & 0x0f;
  }
}

function write(core: CoreReader, path: string, format: CoreFormat): void {
  const file = nodeFiles.create(path);
  exportCore(core, new FileSink(file), { format }, planExport(core, { format }));
  file.close();
}

export function formatRows(smoke: boolean): Row[] {
  const folder = mkdtempSync(join(tmpdir(), "bench-formats-"));
  const runs = smoke ? 1 : 5;
  const ram = [{ first: 0, count: smoke ? 2048 : 32768 }];
  const elf = join(folder, "vmcore");
  const out = join(folder, "out");
  const model = DATA_MODELS.x86_64;
  const store = new PageStore(new PagePool(0, 256 << 20), "partition", partitionBytes(model, ram, 4));
  putDump(store, { model, ram, fill });
  write(partitionCore(openDump(store)), elf, "elf");

  const ours = (format: CoreFormat): number => {
    rmSync(out, { force: true });
    const file = FileStore.open(elf);
    const took = seconds(() => write(openCore(file), out, format));
    file.close();
    return took;
  };
  /** Seconds; undefined when the program is not there. */
  const theirs = (program: string, ...args: string[]): number | undefined => {
    rmSync(out, { force: true });
    let there = true;
    const took = seconds(() => {
      const { error, status } = spawnSync(program, args, { stdio: ["ignore", "ignore", "ignore"] });
      there = error === undefined && status === 0;
    });
    return there ? took : undefined;
  };
  const row = (name: string, format: CoreFormat, program: string, ...args: string[]): Row[] => {
    if (theirs(program, ...args) === undefined) return [];
    const ratio = median(runs, () => ours(format) / theirs(program, ...args)!);
    return [{ name, ratio, detail: `${(ram[0]!.count * 4096) >> 20} MiB, a quarter of it zero pages` }];
  };
  const rows = [
    ...row("export to kdump / makedumpfile -c", "kdump", "makedumpfile", "-c", "-d", "0", elf, out),
    ...row("export to lkcd9, gzip / gzip -1", "lkcd9", "sh", "-c", `gzip -1 < ${elf} > ${out}`),
    ...row("export to elf / cp", "elf", "cp", "--sparse=always", elf, out),
  ];
  rmSync(folder, { recursive: true });
  return rows;
}
