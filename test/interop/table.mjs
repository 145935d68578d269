// docs/tools.md: what each program of other people reads of ours, from the tests in which it judged.
//
//   npx vitest run --reporter=json --outputFile=report.json; node test/interop/table.mjs report.json          writes the page
//   node test/interop/table.mjs report.json --check                             exit code 1 when the page says otherwise
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const PAGE = join(fileURLToPath(import.meta.url), "../../../docs/tools.md");
const PACKAGES = {
  crash: "crash 8.0.2",
  tshark: "tshark 4.0.17",
  gdb: "gdb 13.1",
  "gdb-multiarch": "gdb-multiarch 13.1",
  readelf: "binutils 2.40",
  nm: "binutils 2.40",
  "eu-readelf": "elfutils 0.188",
  "eu-elflint": "elfutils 0.188",
  makedumpfile: "makedumpfile 1.7.2",
  gcc: "gcc 12.2",
};

const [reportPath, flag] = process.argv.slice(2);
if (reportPath === undefined || (flag !== undefined && flag !== "--check")) {
  console.error("usage: node test/interop/table.mjs REPORT.json [--check]");
  process.exit(2);
}
const { testResults } = JSON.parse(readFileSync(reportPath, "utf8"));

/** Program -> what was shown -> how many tests showed it (one per kind of death, format or platform). */
const shown = new Map();
let skipped = 0;
for (const { assertionResults } of testResults) {
  for (const { meta, status, ancestorTitles, title } of assertionResults) {
    if (!meta?.programs) continue;
    if (status === "pending" || status === "skipped") skipped++;
    if (status !== "passed") continue;
    for (const program of new Set(meta.programs)) {
      const rows = shown.get(program) ?? new Map();
      shown.set(program, rows);
      const sentence = [...ancestorTitles.filter((text) => text !== ""), title].at(-1);
      const row = rows.get(sentence) ?? { cases: 0, groups: new Set() };
      rows.set(sentence, row);
      row.cases++;
      row.groups.add(ancestorTitles.filter((text) => text !== "").join(" > "));
    }
  }
}
if (skipped > 0) {
  console.error(`table: ${skipped} tests were skipped because a program is missing; the page needs all of them`);
  process.exit(flag === "--check" ? 0 : 2);
}

const cell = (text) => text.replaceAll("|", "\\|").replaceAll("\n", " ");
const lines = [
  "# What the field's tools read",
  "",
  "Made from the tests by `test/interop/table.mjs`; each line is the title of a test in which that program judged our files, and in how",
  "many cases it did (kinds of death, file formats, platforms). The programs are Debian 12's, unmodified. To run them all:",
  "`npx vitest run test/interop kernel-sim/abi`.",
  "",
];
for (const program of [...shown.keys()].sort()) {
  lines.push(`## ${program} (${PACKAGES[program] ?? "Debian 12"})`, "", "| what it reads | cases |", "| --- | --- |");
  for (const [sentence, { cases }] of [...shown.get(program)].sort(([a], [b]) => (a < b ? -1 : 1))) {
    lines.push(`| ${cell(sentence)} | ${cases} |`);
  }
  lines.push("");
}
const page = lines.join("\n");
if (flag !== "--check") writeFileSync(PAGE, page);
else {
  const known = readFileSync(PAGE, "utf8");
  const plain = (text) => text.replace(/[ -]+/g, " ");
  if (plain(known) !== plain(page)) {
    console.error(
      "docs/tools.md does not say what the tests show; make it again: node test/interop/table.mjs REPORT.json",
    );
    process.exit(1);
  }
}
