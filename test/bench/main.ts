// npm run bench: what things cost, as ratios against something measured in the same run. --smoke: small and short, for CI.
import { adapterRows } from "./adapters.ts";
import { coreRows } from "./core.ts";
import { formatRows } from "./formats.ts";
import { kernelRows } from "./kernel.ts";
import { machineRows } from "./machine.ts";
import type { Row } from "./measure.ts";

const smoke = process.argv.includes("--smoke");
const only = process.argv.find((arg) => arg.startsWith("--only="))?.slice(7);

const groups: readonly (readonly [string, (smoke: boolean) => Row[]])[] = [
  ["core", coreRows],
  ["kernel", kernelRows],
  ["machine", machineRows],
  ["adapters", adapterRows],
  ["formats", formatRows],
];

function line({ name, ratio, target, detail, unit }: Row): string {
  const value = `${ratio.toFixed(2)}${unit ?? "x"}`;
  const verdict = target === undefined ? "" : `${ratio <= target ? "ok  " : "OVER"} <= ${target}${unit ?? "x"}`;
  return `${name.padEnd(46)} ${value.padStart(9)}  ${verdict.padEnd(16)} ${detail}\n`;
}

for (const [group, rows] of groups) {
  if (only !== undefined && only !== group) continue;
  process.stderr.write(`dumplab bench: measuring ${group} ...\n`);
  for (const row of rows(smoke)) process.stdout.write(line(row));
}
