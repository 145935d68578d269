// docs/dumpers.md: the white paper's table of dumpers (chapter 3.1), each cell from the tests that prove it (feature.ts).
//
//   npx vitest run --reporter=json --outputFile=report.json; node test/features/table.mjs report.json         writes the page
//   node test/features/table.mjs report.json --check                           exit code 1 when the page says otherwise
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const PAGE = join(fileURLToPath(import.meta.url), "../../../docs/dumpers.md");
const DUMPERS = ["diskdump", "lkcd", "lkcd-modified", "netdump", "kdump", "mkdump"];
const FEATURES = [
  ...["robustness", "safety", "trigger", "dump device"],
  ...["additional functions", "core format", "analysis tools", "platform dependency"],
];
/** Where the white paper says something else than the tests show, or something that they do not look at. */
const PAPER = [
  "diskdump, trigger: NMI switch, nmi_watchdog and OS_INIT (3.6); its netdump section adds SysRq and panic, which the two share.",
  "diskdump, dump device: about twice the memory's size, because a core is made of the partition afterwards. No test measures it.",
  "LKCD, trigger: panic and SysRq only (3.2). Here its hooks are also in die(), as in its patches, so oops, NMI and OS_INIT lead to it.",
  "LKCD, platforms: ppc64 is among its ports (3.2); here it is refused.",
  "LKCD, functions: live dump is not modelled.",
  "LKCD, tools: lcrash reads it, too. No test has lcrash.",
  "netdump, robustness: the paper calls it questionable because packets are lost. Here loss costs time and no page: see netdump.md.",
  "kdump, trigger: panic only, in the paper's days. Here it has the hooks of diskdump.",
  "mkdump, trigger: panic and nmi_watchdog. Here it has the hooks of diskdump. Its tools convert to LKCD's format; here the core is ELF.",
  "kdump and mkdump, platforms: the paper says that they depend highly on the platform; here there is one.",
];

const [reportPath, flag] = process.argv.slice(2);
if (reportPath === undefined || (flag !== undefined && flag !== "--check")) {
  console.error("usage: node test/features/table.mjs REPORT.json [--check]");
  process.exit(2);
}
const { testResults } = JSON.parse(readFileSync(reportPath, "utf8"));
const said = new Map(DUMPERS.map((dumper) => [dumper, new Map()]));
let skipped = 0;
let failed = 0;
for (const { meta, status } of testResults.flatMap(({ assertionResults }) => assertionResults)) {
  if (!meta?.features) continue;
  if (status === "pending" || status === "skipped") skipped++;
  if (status === "failed") failed++;
  if (status !== "passed") continue;
  for (const { dumper, feature, says } of meta.features) {
    const row = said.get(dumper);
    if (!row || !FEATURES.includes(feature)) throw new Error(`no such cell: ${dumper}, ${feature}`);
    row.set(feature, [...new Set([...(row.get(feature) ?? []), says])].sort());
  }
}
if (skipped > 0) {
  console.error(`features: ${skipped} tests were skipped because a program is missing; the page needs all of them`);
  process.exit(flag === "--check" ? 0 : 2);
}
if (failed > 0 && flag !== "--check") {
  console.error(`features: ${failed} tests that prove cells failed; the page is left as it is`);
  process.exit(1);
}

const cell = (text) => text.replaceAll("|", "\\|").replaceAll("\n", " ");
const lines = [
  "# The dumpers compared",
  "",
  "The points of view are those of the white paper's chapter 3.1. Made from the tests by `test/features/table.mjs`: a cell says what passed",
  "tests assert, nothing else, and one that no test proves says so. How often each succeeds under load is measured, not listed:",
  "[researcher's guide](researcher-guide.md), `dumplab bench --dumper all`.",
  "",
  `| dumper | ${FEATURES.join(" | ")} |`,
  `| --- |${" --- |".repeat(FEATURES.length)}`,
  ...DUMPERS.map((dumper) => {
    const cells = FEATURES.map((feature) => cell(said.get(dumper).get(feature)?.join("; ") ?? "_no test_"));
    return `| ${dumper} | ${cells.join(" | ")} |`;
  }),
  "",
  "## Where the white paper says otherwise",
  "",
  ...PAPER.map((sentence) => `- ${sentence}`),
  "",
];
const page = lines.join("\n");
if (flag !== "--check") writeFileSync(PAGE, page);
else {
  const plain = (text) => text.replace(/[ -]+/g, " ").replace(/_no test_/g, "no test");
  if (plain(readFileSync(PAGE, "utf8")) !== plain(page)) {
    console.error(
      "docs/dumpers.md does not say what the tests show; make it again: node test/features/table.mjs REPORT.json",
    );
    process.exit(1);
  }
}
