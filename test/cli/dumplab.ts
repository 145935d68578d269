// The real command line over the real laboratory, with files in a folder of its own.
import { mkdtempSync, readdirSync, rmSync, lstatSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { main } from "../../tools/cli/main.ts";
import { runTrial } from "../../tools/trial/run.ts";

export interface Answer {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs `dumplab <args>` in this process. */
export async function dumplab(...args: readonly string[]): Promise<Answer> {
  let out = "";
  let err = "";
  const terminal = {
    out: { write: (text: string) => (out += text) },
    err: { write: (text: string) => (err += text) },
    interrupted: () => undefined,
  };
  const code = await main(args, terminal, { runTrial, workerFile: "" });
  return { code, out, err };
}

/** learn, with the least RAM and disks: its images take 40 MiB and its trials half a second. sdb1 takes the dump. */
const SMALL = `
extends: learn
memory: { size: 32MiB }
adapters:
  - disks:
      - { size: 64MiB, partitions: [{ startSector: 63, sectors: 120000 }] }
      - { size: 40MiB, partitions: [{ startSector: 64, sectors: 70000 }] }
`;
/** Offset of sdb1 in the image of its disk, bytes. */
export const PARTITION_AT = 64 * 512;
export const BLOCK = 4096;

/** A folder for one spec file, with small.yaml in it. */
export class Folder {
  readonly path = mkdtempSync(join(tmpdir(), "dumplab-test-"));
  readonly small = this.write("small.yaml", SMALL);

  at(name: string): string {
    return join(this.path, name);
  }

  /** Returns the path. */
  write(name: string, contents: string | Uint8Array): string {
    writeFileSync(this.at(name), contents);
    return this.at(name);
  }

  /** Every file and folder with its size, its age and its identity: equal listings mean that nothing was touched. */
  listing(): string[] {
    return readdirSync(this.path, { recursive: true, encoding: "utf8" })
      .map((name) => {
        const { size, mtimeMs, ino } = lstatSync(this.at(name));
        return `${name} ${size} ${mtimeMs} ${ino}`;
      })
      .sort();
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
