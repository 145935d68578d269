// The figure of a sweep: success against the value, an interval at each point, the white paper's intervals as bands, and below the
// axis how many of how many each point stands for.
import { rateOf, type Cell } from "./cells.ts";
import { figuresOf } from "./comparison-text.ts";
import { figure, GREY, line, mark, paperText, styleOf, widthOf, words, wrapped, type Comparison } from "./figure.ts";
import { paperMarks } from "./paper-verdict.ts";
import { percent, range } from "./percent.ts";
import { element } from "./xml.ts";

const LEFT = 128;
const PLOT_HEIGHT = 330;
const LEGEND_ROW = 20;
const DODGE = 13;
const LINE = 16;
const LONGEST_LABEL = 24;

/** What keys of a scenario count, for the axis. */
const MEANINGS: Readonly<Record<string, string>> = {
  "load.perDisk": "load processes per device",
  "load.processes": "load processes",
  "load.thinkTime": "mean pause between two requests of a process",
  cpus: "CPUs",
  "memory.size": "RAM",
  "network.lossFraction": "share of frames lost",
};

const numberIn = (value: string | null): number => (/^\d+(\.\d+)?$/.test(value ?? "") ? Number(value) : NaN);

/** The columns stand side by side: where that is no scale, the axis says so. */
function scaleText(values: readonly (string | null)[]): string {
  const numbers = values.map(numberIn);
  if (numbers.length < 3 || numbers.some(Number.isNaN)) return "";
  const near = (a: number, b: number): boolean => Math.abs(a - b) < 1e-9 * Math.max(Math.abs(a), Math.abs(b), 1);
  const steps = numbers.slice(1).map((value, i) => value - numbers[i]!);
  if (steps.every((step) => near(step, steps[0]!))) return "";
  const ratios = numbers.slice(1).map((value, i) => value / numbers[i]!);
  return ratios.every((ratio) => near(ratio, ratios[0]!)) ? " (logarithmic)" : " (evenly spaced, not to scale)";
}

const shortened = (text: string): string =>
  text.length > LONGEST_LABEL ? `${text.slice(0, LONGEST_LABEL - 1)}\u2026` : text;

/** One note per dumper and reason, with the values that it holds for. */
function impossibleNotes(cells: readonly Cell[], key: string): string[] {
  const valuesOf = new Map<string, string[]>();
  for (const { dumper, value, impossible } of cells) {
    const what = `${dumper}: ${impossible}`;
    valuesOf.set(what, [...(valuesOf.get(what) ?? []), value ?? "-"]);
  }
  return [...valuesOf].map(([what, values]) => `n/p, not possible here, ${key}=${values.join(", ")}: ${what}`);
}

export function curvePlot(comparison: Comparison): string {
  const { cells, seeds } = comparison;
  const key = comparison.key ?? "";
  const dumpers = [...new Set(cells.map(({ dumper }) => dumper))];
  const values = [...new Set(cells.map(({ value }) => value))];
  const at = (value: string | null, dumper: string): Cell | undefined =>
    cells.find((cell) => cell.value === value && cell.dumper === dumper);
  const marks = paperMarks(cells);
  const labels = values.map((value) => shortened(value ?? "-"));
  const column = Math.max(
    dumpers.length * DODGE + 14,
    58,
    ...labels.map((label) => widthOf(label) + 10),
    360 / values.length,
  );
  const plotWidth = column * values.length;
  const right = LEFT + plotWidth;
  const rightText = marks.flatMap((paper) => [paper.title, paperText(paper)]);
  const width = right + 24 + Math.max(widthOf("white paper:"), ...rightText.map((text) => widthOf(text, 11)));
  const legendColumn = Math.max(...dumpers.map((dumper) => widthOf(dumper))) + 56;
  const perRow = Math.max(1, Math.floor((width - 24) / legendColumn));
  const top = 18 + Math.ceil(dumpers.length / perRow) * LEGEND_ROW + 12;
  const bottom = top + PLOT_HEIGHT;
  const y = (share: number): number => bottom - share * PLOT_HEIGHT;
  const x = (value: string | null, dumper: string): number =>
    LEFT + (values.indexOf(value) + 0.5) * column + (dumpers.indexOf(dumper) - (dumpers.length - 1) / 2) * DODGE;
  const body: string[] = [];

  for (const [i, dumper] of dumpers.entries()) {
    const [lx, ly] = [14 + (i % perRow) * legendColumn, 18 + Math.floor(i / perRow) * LEGEND_ROW];
    const { colour, dash } = styleOf(dumper);
    body.push(line(lx, ly, lx + 34, ly, { stroke: colour, "stroke-width": 2, "stroke-dasharray": dash, class: "bar" }));
    body.push(mark(dumper, lx + 17, ly), words(dumper, lx + 40, ly + 4));
  }
  for (let tick = 0; tick <= 100; tick += 20) {
    body.push(line(LEFT, y(tick / 100), right, y(tick / 100), { stroke: "#d0d0d0", class: "grid" }));
    body.push(words(String(tick), LEFT - 8, y(tick / 100) + 4, { "text-anchor": "end" }));
  }
  // Hatched as well as coloured: a band must not vanish in print.
  const hatches = marks.map(({ dumper }, i) => {
    const angle = [45, -45, 0, 90][i % 4];
    const more = { width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: `rotate(${angle})` };
    const stroke = element("line", { x1: 0, y1: 0, x2: 0, y2: 6, stroke: styleOf(dumper).colour, "stroke-width": 1.4 });
    return element("pattern", { id: `hatch-${dumper}`, ...more }, stroke);
  });
  if (hatches.length > 0) body.push(element("defs", {}, ...hatches));
  let free = top - 20;
  for (const paper of [...marks].sort((a, b) => b.rate - a.rate)) {
    const { dumper, interval, rate, title } = paper;
    const { colour } = styleOf(dumper);
    const area = { x: LEFT, y: y(interval.high), width: plotWidth, height: y(interval.low) - y(interval.high) };
    body.push(element("rect", { ...area, fill: `url(#hatch-${dumper})`, opacity: 0.35, class: "band" }));
    body.push(line(LEFT, y(rate), right + 10, y(rate), { stroke: colour, "stroke-width": 1, class: "bar" }));
    const ty = Math.max(y(rate) + 4, free + 34);
    body.push(words(`white paper: ${title}`, right + 14, ty, { "font-size": 11 }));
    body.push(words(paperText(paper), right + 14, ty + 13, { "font-size": 11, fill: GREY, class: "faint" }));
    free = ty;
  }
  body.push(line(LEFT, bottom, right, bottom), line(LEFT, top, LEFT, bottom));
  const label = "complete dumps, % of trials";
  const turned = { transform: `rotate(-90 ${LEFT - 44} ${top + PLOT_HEIGHT / 2})`, "text-anchor": "middle" };
  body.push(words(label, LEFT - 44, top + PLOT_HEIGHT / 2, turned));

  const isNumeric = values.every((value) => /^\d/.test(value ?? ""));
  const sentences: string[] = [];
  for (const dumper of dumpers) {
    const { colour, dash } = styleOf(dumper);
    const points = values.flatMap((value) => {
      const cell = at(value, dumper);
      return cell && cell.trials > 0 ? [{ cell, x: x(value, dumper), y: y(rateOf(cell)) }] : [];
    });
    if (isNumeric && points.length > 1) {
      const path = points.map((point) => `${point.x.toFixed(2)},${point.y.toFixed(2)}`).join(" ");
      const more = { fill: "none", stroke: colour, "stroke-width": 1.8, "stroke-dasharray": dash, class: "bar" };
      body.push(element("polyline", { points: path, ...more }));
    }
    for (const { cell, x: px } of points) {
      const { low, high } = cell.interval;
      const more = { stroke: colour, "stroke-width": 1.4, class: "bar" };
      body.push(line(px, y(low), px, y(high), more));
      for (const end of [low, high]) body.push(line(px - 4, y(end), px + 4, y(end), more));
    }
    for (const point of points) body.push(mark(dumper, point.x, point.y));
    for (const { cell } of points) {
      const rate = `${percent(rateOf(cell))} % [${range(cell.interval)}]`;
      sentences.push(`${dumper}, ${key}=${cell.value}: ${cell.complete}/${cell.trials}, ${rate}.`);
    }
  }

  let row = bottom + 18;
  const middleOf = (i: number): number => LEFT + (i + 0.5) * column;
  for (const [i, text] of labels.entries()) body.push(words(text, middleOf(i), row, { "text-anchor": "middle" }));
  row += 20;
  const meaning = MEANINGS[key] === undefined ? key : `${MEANINGS[key]}, ${key}`;
  body.push(words(`${meaning}${scaleText(values)}`, LEFT + plotWidth / 2, row, { "text-anchor": "middle" }));
  row += 24;
  const tableRow = (name: string, texts: readonly string[], small: boolean): void => {
    const more = { "font-size": 11, ...(small ? { fill: GREY, class: "faint" } : {}) };
    body.push(words(name, LEFT - 12, row, { ...more, "text-anchor": "end" }));
    for (const [i, text] of texts.entries())
      body.push(words(text, middleOf(i), row, { ...more, "text-anchor": "middle" }));
    row += LINE;
  };
  body.push(
    words("complete of trials", LEFT - 12, row, { "font-size": 11, "text-anchor": "end", "font-weight": "bold" }),
  );
  row += LINE;
  for (const dumper of dumpers) {
    const texts = values.map((value) => {
      const cell = at(value, dumper);
      return !cell || cell.impossible !== null ? "n/p" : `${cell.complete}/${cell.trials}`;
    });
    tableRow(dumper, texts, false);
  }
  const loads = values.map((value) => cells.find((cell) => cell.value === value && cell.load.bytesPerS !== null));
  if (loads.some((cell) => cell !== undefined)) {
    const shown = (what: "loadMbPerS" | "queue" | "cpu"): string[] =>
      loads.map((cell) => (cell ? figuresOf(cell)[what] : "-"));
    tableRow("load, MB/s", shown("loadMbPerS"), true);
    tableRow("queue depth", shown("queue"), true);
    tableRow("CPU busy, %", shown("cpu"), true);
  }
  const reasons = cells.filter(({ impossible }) => impossible !== null);
  const notes = [
    "Points: this campaign, with 95 % Wilson intervals, side by side where they share a value. Bands and lines: the white paper's " +
      "intervals and rates, chapter 3.6.",
    ...impossibleNotes(reasons, key),
  ];
  for (const { dumper, value, impossible } of reasons) {
    sentences.push(`${dumper}, ${key}=${value}: not possible here: ${impossible}.`);
  }
  row += 8;
  for (const text of notes.flatMap((note) => wrapped(note, width - 24))) {
    body.push(words(text, 12, row, { "font-size": 11, fill: GREY, class: "faint" }));
    row += 14;
  }
  const title = `Complete dumps against ${key}: scenario ${cells[0]?.scenario ?? ""}, ${seeds}`;
  return figure(comparison, { width, height: row + 4, title, sentences }, body);
}
