// The figure of a comparison without a sweep: a row per dumper, its rate with its interval, and the white paper's below it.
import { rateOf, type Cell } from "./cells.ts";
import { figure, GREY, line, mark, paperText, styleOf, widthOf, words, wrapped, type Comparison } from "./figure.ts";
import { paperMarks } from "./paper-verdict.ts";
import { percent, range } from "./percent.ts";

const LEFT = 124;
const PLOT = 380;
const TOP = 20;
const ROW = 46;
const PAPER_DY = 19;

export function ratePlot(comparison: Comparison): string {
  const { cells, seeds } = comparison;
  const marks = paperMarks(cells);
  const x = (share: number): number => LEFT + share * PLOT;
  const bottom = TOP + cells.length * ROW;
  const numbers = (cell: Cell): string =>
    `${cell.complete}/${cell.trials}, ${percent(rateOf(cell))} % [${range(cell.interval)}]`;
  const texts = ["white paper: 300/300, 100.0 % [98.7 - 100.0]", ...cells.map(numbers)];
  const width = LEFT + PLOT + 18 + Math.max(...texts.map((text) => widthOf(text)));
  const body: string[] = [];
  for (let tick = 0; tick <= 100; tick += 20) {
    body.push(line(x(tick / 100), TOP, x(tick / 100), bottom, { stroke: "#d0d0d0", class: "grid" }));
    body.push(words(String(tick), x(tick / 100), bottom + 18, { "text-anchor": "middle" }));
  }
  body.push(line(LEFT, bottom, LEFT + PLOT, bottom));
  const bar = (dumper: string, y: number, { low, high }: Cell["interval"], thin: boolean): string => {
    const more = { stroke: styleOf(dumper).colour, class: "bar", "stroke-width": thin ? 1.2 : 2 };
    const dashed = thin ? { "stroke-dasharray": "4 2" } : {};
    const caps = [low, high].map((end) => line(x(end), y - 4, x(end), y + 4, more));
    return [line(x(low), y, x(high), y, { ...more, ...dashed }), ...caps].join("");
  };
  const sentences: string[] = [];
  for (const [i, cell] of cells.entries()) {
    const y = TOP + i * ROW + 15;
    const { dumper, impossible } = cell;
    body.push(words(dumper, LEFT - 12, y + 4, { "text-anchor": "end" }));
    if (impossible !== null) {
      const lines = wrapped(`not possible here: ${impossible}`, width - LEFT - 12);
      lines
        .slice(0, 3)
        .forEach((text, n) => body.push(words(text, LEFT + 6, y + 4 + n * 14, { fill: GREY, class: "faint" })));
      sentences.push(`${dumper}: not possible here: ${impossible}.`);
      continue;
    }
    if (cell.trials === 0) continue;
    body.push(bar(dumper, y, cell.interval, false), mark(dumper, x(rateOf(cell)), y));
    body.push(words(numbers(cell), LEFT + PLOT + 14, y + 4));
    const paper = marks.find((one) => one.dumper === dumper);
    if (paper) {
      body.push(bar(dumper, y + PAPER_DY, paper.interval, true), mark(dumper, x(paper.rate), y + PAPER_DY, true));
      const text = `white paper: ${paperText(paper)}`;
      body.push(words(text, LEFT + PLOT + 14, y + PAPER_DY + 4, { fill: GREY, class: "faint" }));
    }
    sentences.push(`${dumper}: ${numbers(cell)}${paper ? `; white paper: ${paperText(paper)}` : ""}.`);
  }
  const middle = LEFT + PLOT / 2;
  body.push(words("complete dumps, % of trials", middle, bottom + 38, { "text-anchor": "middle" }));
  const filled = "filled: this campaign; hollow, dashed: white paper, chapter 3.6; bars: 95 % Wilson intervals";
  body.push(words(filled, 12, bottom + 62, { fill: GREY, class: "faint", "font-size": 11 }));
  const scenario = cells[0]?.scenario ?? "";
  const title = `Complete dumps by dumper: scenario ${scenario}, ${seeds}`;
  return figure(comparison, { width, height: bottom + 74, title, sentences }, body);
}
