// What both figures of a comparison are drawn with: marks, bars, words. Plain SVG attributes, so that every program that places pictures
// shows the same; the classes let a page recolour what is neither data nor band.
import type { Cell } from "./cells.ts";
import type { PaperMark } from "./paper-verdict.ts";
import { percent, range } from "./percent.ts";
import { element, escaped, type Attributes } from "./xml.ts";

/** A comparison, and where it comes from. */
export interface Comparison {
  readonly cells: readonly Cell[];
  /** What is swept; null without a sweep. */
  readonly key: string | null;
  /** "seeds 1..40" */
  readonly seeds: string;
  /** The command line that makes it again. */
  readonly command: string;
  readonly version: string;
  /** Whether trials are missing. */
  readonly interrupted: boolean;
}

interface DumperStyle {
  readonly colour: string;
  readonly dash: string | undefined;
  /** The mark's outline around (0, 0), about 10 px across. */
  readonly path: string;
}

/** Colours by Okabe and Ito, which colour-blind readers tell apart; marks and dashes differ too, for print without colour. */
const STYLES: Readonly<Record<string, DumperStyle>> = {
  diskdump: { colour: "#0072b2", dash: undefined, path: "M-5 0A5 5 0 1 0 5 0A5 5 0 1 0 -5 0Z" },
  lkcd: { colour: "#d55e00", dash: "7 3", path: "M-4.5 -4.5H4.5V4.5H-4.5Z" },
  "lkcd-modified": { colour: "#e69f00", dash: "2 3", path: "M0 -6L6 0L0 6L-6 0Z" },
  netdump: { colour: "#009e73", dash: "9 3 2 3", path: "M0 -6L5.5 4.5H-5.5Z" },
  kdump: { colour: "#cc79a7", dash: "4 4", path: "M0 6L5.5 -4.5H-5.5Z" },
  mkdump: { colour: "#56b4e9", dash: "12 4", path: "M-2 -6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z" },
};
export const styleOf = (dumper: string): DumperStyle => STYLES[dumper] ?? STYLES["diskdump"]!;

export const INK = "#1a1a1a";
export const GREY = "#5f5f5f";
export const PAPER = "#ffffff";
export const FONT_PX = 12;
const FONT = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";
/** A generous mean: no font in FONT is wider over words. */
export const widthOf = (text: string, fontPx = FONT_PX): number => text.length * fontPx * 0.6;

export const words = (text: string, x: number, y: number, more: Attributes = {}): string =>
  element("text", { x, y, fill: INK, class: "ink", ...more }, escaped(text));

export const line = (x1: number, y1: number, x2: number, y2: number, more: Attributes = {}): string =>
  element("line", { x1, y1, x2, y2, stroke: INK, class: "axis", ...more });

/** A filled mark; hollow for the white paper's. */
export function mark(dumper: string, x: number, y: number, hollow = false): string {
  const { colour, path } = styleOf(dumper);
  const fill = hollow ? PAPER : colour;
  return element("path", {
    ...{ d: path, transform: `translate(${x.toFixed(2)} ${y.toFixed(2)})`, fill, stroke: hollow ? colour : INK },
    ...{ "stroke-width": hollow ? 1.5 : 0.8, class: hollow ? "hollow" : "mark" },
  });
}

/** Line by line, no longer than `widthPx`. */
export function wrapped(text: string, widthPx: number): string[] {
  const lines: string[] = [];
  let current = "";
  for (const word of text.split(/\s+/)) {
    if (current !== "" && widthOf(`${current} ${word}`) > widthPx) {
      lines.push(current);
      current = word;
    } else current = current === "" ? word : `${current} ${word}`;
  }
  return current === "" ? lines : [...lines, current];
}

export const paperText = ({ successes, trials, rate, interval }: PaperMark): string =>
  `${successes}/${trials}, ${percent(rate)} % [${range(interval)}]`;

/** What goes around a drawing: its size, a title and a description for those who do not see it, and where it comes from. */
export function figure(
  comparison: Comparison,
  { width, height, title, sentences }: { width: number; height: number; title: string; sentences: readonly string[] },
  body: readonly string[],
): string {
  const { command, version, interrupted } = comparison;
  const origin = `Made by: ${command} (dumplab ${version})${interrupted ? "; interrupted, trials are missing" : ""}`;
  const attributes = {
    ...{ xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${Math.ceil(width)} ${Math.ceil(height)}` },
    ...{
      width: Math.ceil(width),
      height: Math.ceil(height),
      role: "img",
      "aria-labelledby": "figure-title figure-desc",
    },
    ...{ "font-family": FONT, "font-size": FONT_PX },
  };
  const paper = element("rect", { width: Math.ceil(width), height: Math.ceil(height), fill: PAPER, class: "paper" });
  return `${element(
    "svg",
    attributes,
    `\n${element("title", { id: "figure-title" }, escaped(title))}`,
    `\n${element("desc", { id: "figure-desc" }, escaped([...sentences, origin].join("\n")))}`,
    `\n${paper}\n`,
    body.join("\n"),
    "\n",
  )}\n`;
}
