// Kernel modules and the order in which they must be loaded.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Names as in "depends=": with underscores. */
const nameOf = (file: string): string => file.replace(/^.*\//, "").replace(/\.ko$/, "").replaceAll("-", "_");

export class ModuleTree {
  private readonly files = new Map<string, string>();

  /** @param folder below which the .ko files lie */
  constructor(folder: string) {
    for (const file of readdirSync(folder, { recursive: true, encoding: "utf8" }).sort()) {
      if (file.endsWith(".ko")) this.files.set(nameOf(file), join(folder, file));
    }
  }

  read(name: string): Uint8Array {
    return readFileSync(this.fileOf(name));
  }

  /** The modules that `names` need, and they themselves, each after what it depends on. Throws for a name that is not there. */
  loadOrder(...names: readonly string[]): string[] {
    const order: string[] = [];
    const visit = (name: string): void => {
      if (order.includes(name)) return;
      for (const needed of this.dependenciesOf(name)) visit(needed);
      order.push(name);
    };
    for (const name of names) visit(name.replaceAll("-", "_"));
    return order;
  }

  /** What the module's own .modinfo section says. */
  private dependenciesOf(name: string): string[] {
    const text = readFileSync(this.fileOf(name), "latin1");
    const depends = /\0depends=([^\0]*)\0/.exec(text)?.[1] ?? "";
    return depends
      .split(",")
      .filter((needed) => needed !== "")
      .map((needed) => needed.replaceAll("-", "_"));
  }

  private fileOf(name: string): string {
    const file = this.files.get(name);
    if (file === undefined) throw new Error(`this kernel has no module ${name}`);
    return file;
  }
}
