// A comparison as a page of its own: the figure and the tables, for any browser, without a network or a script.
import { rateOf, type Cell } from "./cells.ts";
import { figuresOf } from "./comparison-text.ts";
import { comparisonFigure } from "./comparison-svg.ts";
import type { Comparison } from "./figure.ts";
import type { Instants } from "./instants.ts";
import { instantsText } from "./instants.ts";
import { verdicts } from "./paper-verdict.ts";
import { percent, range } from "./percent.ts";
import { element, escaped } from "./xml.ts";

const DARK = `--ink:#e8e8e8;--faint:#a8a8a8;--paper:#161616;--rule:#3a3a3a;--grid:#333`;
const STYLE = `
:root{color-scheme:light dark;--ink:#1a1a1a;--faint:#5f5f5f;--paper:#fff;--rule:#c8c8c8;--grid:#d0d0d0}
@media screen and (prefers-color-scheme:dark){:root{${DARK}}}
body{font:15px/1.5 Helvetica,Arial,"Liberation Sans","DejaVu Sans",sans-serif;color:var(--ink);background:var(--paper);margin:2rem auto;max-width:72rem;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
figure{margin:1rem 0;overflow-x:auto}svg{max-width:100%;height:auto}
svg .ink{fill:var(--ink)}svg .faint{fill:var(--faint)}svg .axis{stroke:var(--ink)}svg .grid{stroke:var(--grid)}svg .paper,svg .hollow{fill:var(--paper)}svg .mark{stroke:var(--paper)}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.87rem}caption{text-align:left;color:var(--faint);padding-bottom:.3rem}
th,td{border-bottom:1px solid var(--rule);padding:.3rem .6rem;text-align:left;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code{font-size:.92em;overflow-wrap:anywhere}.note{color:var(--faint)}
@media print{body{margin:0;max-width:none;font-size:10pt}h2,table,figure{break-inside:avoid}}
`;

type Field = { readonly text: string; readonly number?: true; readonly code?: true };
const plain = (text: string): Field => ({ text });
const number = (text: string | number): Field => ({ text: String(text), number: true });

function tableOf(caption: string, header: readonly Field[], rows: readonly (readonly Field[])[]): string {
  const field = (tag: string, { text, number: isNumber, code }: Field): string => {
    const inner = code ? element("code", {}, escaped(text)) : escaped(text);
    return element(tag, { class: isNumber ? "n" : undefined, scope: tag === "th" ? "col" : undefined }, inner);
  };
  const row = (tag: string, fields: readonly Field[]): string =>
    element("tr", {}, ...fields.map((one) => field(tag, one)));
  const body = rows.map((fields) => row("td", fields)).join("\n");
  const head = element("thead", {}, row("th", header));
  const table = element("table", {}, element("caption", {}, escaped(caption)), head, element("tbody", {}, body));
  return element("div", { class: "wide" }, table);
}

const valueFields = (key: string | null, cell: Cell): Field[] => (key === null ? [] : [plain(cell.value ?? "-")]);
const heads = (key: string | null): Field[] => [plain("dumper"), ...(key === null ? [] : [plain(key)])];

function ratesTable({ cells, key }: Comparison): string {
  const header = [
    ...heads(key),
    ...[
      "trials",
      "complete",
      "rate, %",
      "95 % interval, %",
      "dump, s virtual",
      "on the device, MB",
      "host, s per trial",
    ].map(number),
    ...["load, MB/s", "queue depth", "CPU busy, %"].map(number),
  ];
  const rows = cells.map((cell) => {
    if (cell.impossible !== null)
      return [plain(cell.dumper), ...valueFields(key, cell), plain(`not possible here: ${cell.impossible}`)];
    const f = figuresOf(cell);
    const rate = cell.trials === 0 ? ["-", "-"] : [percent(rateOf(cell)), range(cell.interval)];
    const texts = [cell.trials, cell.complete, ...rate, f.dumpS, f.megabytes, f.hostS, f.loadMbPerS, f.queue, f.cpu];
    return [plain(cell.dumper), ...valueFields(key, cell), ...texts.map(number)];
  });
  return tableOf("Medians over the trials; - where a dumper does not count it.", header, rows);
}

function outcomesTable({ cells, key }: Comparison): string {
  const classes = [...new Set(cells.flatMap(({ outcomes }) => outcomes.map(([outcome]) => outcome)))];
  const rows = cells
    .filter(({ trials }) => trials > 0)
    .map((cell) => {
      const counts = new Map(cell.outcomes);
      return [plain(cell.dumper), ...valueFields(key, cell), ...classes.map((name) => number(counts.get(name) ?? 0))];
    });
  return tableOf("Trials by how they ended.", [...heads(key), ...classes.map(number)], rows);
}

function causesTable({ cells, key }: Comparison): string {
  const rows = cells.flatMap((cell) =>
    cell.blockers.map(({ on, function: where, because, count, command }): Field[] => [
      ...[plain(cell.dumper), ...valueFields(key, cell), number(count)],
      ...[plain(on ?? "-"), plain(where ?? "-"), plain(because), { text: command, code: true as const }],
    ]),
  );
  if (rows.length === 0) return element("p", {}, "Every trial was complete.");
  const header = [
    ...heads(key),
    number("trials"),
    ...["blocked on", "in", "holder or cause", "one of them again"].map(plain),
  ];
  return tableOf("What trials that were not complete waited for, or else their cause.", header, rows);
}

export function comparisonHtml(comparison: Comparison, instants: Instants | null): string {
  const { cells, key, seeds, command, version, interrupted } = comparison;
  const title = `Dumpers compared: ${cells[0]?.scenario ?? ""}${key === null ? "" : ` by ${key}`}`;
  const paragraph = (text: string, kind?: string): string => element("p", { class: kind }, escaped(text));
  const heading = (text: string): string => element("h2", {}, escaped(text));
  const said = verdicts(cells, key);
  const body = [
    element("h1", {}, escaped(title)),
    paragraph(`${seeds} of each cell.${interrupted ? " Interrupted: trials are missing." : ""}`, "note"),
    element("figure", {}, comparisonFigure(comparison).trimEnd()),
    ...[heading("Rates"), ratesTable(comparison)],
    ...(said.length > 0
      ? [heading("Against the white paper"), element("ul", {}, ...said.map((text) => element("li", {}, escaped(text))))]
      : []),
    ...[heading("Outcomes"), outcomesTable(comparison), heading("Causes"), causesTable(comparison)],
    ...(instants
      ? [heading("Equal instants"), element("pre", { style: "white-space:pre-wrap" }, escaped(instantsText(instants)))]
      : []),
    heading("How this was made"),
    element("p", {}, element("code", {}, escaped(command))),
    paragraph(
      `dumplab ${version}. Intervals are Wilson's at 95 %: they are about the choice of seeds, not about how like a real machine the model is.`,
    ),
  ];
  const head = [
    element("meta", { charset: "utf-8" }),
    element("meta", { name: "viewport", content: "width=device-width, initial-scale=1" }),
    element("title", {}, escaped(title)),
    element("style", {}, STYLE),
  ];
  const page = element(
    "html",
    { lang: "en" },
    `\n${element("head", {}, head.join("\n"))}\n`,
    element("body", {}, `\n${body.join("\n")}\n`),
  );
  return `<!DOCTYPE html>\n${page}\n`;
}
