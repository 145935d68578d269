// Goal: the figures say what the cells say, are XML, and nothing in them lies on anything else. Method: made-up cells; python's XML parser
// where there is one; boxes around the words by the width that a wide font needs.
import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { loadScenario } from "../scenario/load.ts";
import { DUMPERS } from "../scenario/scenario.ts";
import { dumpedBy } from "../testing/fake-dumper.ts";
import { fakeRecord } from "../testing/fake-trial.ts";
import { cellsOf, type PlannedCell } from "./cells.ts";
import { comparisonHtml } from "./comparison-html.ts";
import { comparisonSvg } from "./comparison-svg.ts";
import type { Comparison } from "./figure.ts";
import { instantsOf } from "./instants.ts";
import { escaped } from "./xml.ts";

const NASTY = `a<b>&"c" \u0007]]>`;

function comparisonOf(key: string | null, values: readonly (string | null)[]): Comparison {
  const plan = values.flatMap((value) =>
    DUMPERS.map((dumper): PlannedCell => {
      const base = loadScenario("learn", value === null ? [] : [`load.perDisk=${value}`]);
      const scenario = { ...dumpedBy(base, dumper), name: NASTY };
      const impossible = dumper === "kdump" && value !== "1" ? "kdump needs platform x86_64" : undefined;
      return { scenario, value, ...(impossible === undefined ? {} : { impossible }) };
    }),
  );
  const records = plan
    .filter(({ impossible }) => impossible === undefined)
    .flatMap(({ scenario }) =>
      Array.from({ length: 20 }, (_, i) =>
        fakeRecord(scenario, i + 1, {
          ...(scenario.dump.dumper === "lkcd" && i % 3 === 0
            ? { outcome: "hang", cause: NASTY, blocked: { on: NASTY, because: "held", function: "f" } }
            : {}),
        }),
      ),
    );
  const common = { seeds: "seeds 1..20", command: `dumplab bench '${NASTY}'`, version: "1.2.3", interrupted: false };
  return { ...common, cells: cellsOf(plan, records, []), key };
}

const rates = comparisonOf(null, [null]);
const curve = comparisonOf("load.perDisk", ["1", "2", "4", "8", "16"]);
const pageOf = (comparison: Comparison): string => comparisonHtml(comparison, instantsOf(comparison.cells));

describe("a figure", () => {
  test.each([
    ["of rates", comparisonSvg(rates)],
    ["of a curve", comparisonSvg(curve)],
    ["on a page", pageOf(rates)],
    ["of a curve on a page", pageOf(curve)],
  ])("%s is well-formed XML, whatever the names hold", (_, text) => {
    expect(text).not.toContain(NASTY);
    expect(text).toContain(escaped("a<b>"));
    expect([...text.matchAll(/<(script|link|img|iframe)\b|(?:src|href)=/g)]).toEqual([]);
    expect([...text.matchAll(/\bNaN\b|undefined|Infinity/g)]).toEqual([]);
  });

  test.for([
    ["of rates", comparisonSvg(rates)],
    ["of a curve", comparisonSvg(curve)],
    ["on a page", pageOf(rates)],
    ["of a curve on a page", pageOf(curve)],
  ])("%s is read by another XML parser", ([, text], context) => {
    const program = "import sys,xml.dom.minidom as m; print(m.parse(sys.stdin.buffer).documentElement.tagName)";
    const { error, status, stdout, stderr } = spawnSync("python3", ["-c", program], { input: text, encoding: "utf8" });
    if (error) context.skip('python3 is not installed; "apt-get install -y python3" lets this test run');
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(["svg", "html"]).toContain(stdout.trim());
  });

  test("has a title, axis words with units, and every number in words for those who do not see it", () => {
    const svg = comparisonSvg(curve);
    expect(svg).toMatch(
      /<title id="figure-title">Complete dumps against load\.perDisk: scenario a&lt;b&gt;.*seeds 1\.\.20</,
    );
    expect(svg).toContain("complete dumps, % of trials");
    expect(svg).toContain("load processes per device, load.perDisk (logarithmic)");
    const description = /<desc[^>]*>([^<]*)</.exec(svg)![1]!;
    expect(description).toContain("lkcd, load.perDisk=4: 13/20, 65.0 % [43.3 - 81.9].");
    expect(description).toContain("kdump, load.perDisk=8: not possible here: kdump needs platform x86_64.");
    expect(description).toContain("(dumplab 1.2.3)");
    expect(comparisonSvg({ ...curve, interrupted: true })).toContain("interrupted, trials are missing");
  });

  test("puts a point where its rate is, and the paper's interval as a band from 57.5 to 78.6 %", () => {
    const svg = comparisonSvg(curve);
    const tick = (label: string): number =>
      Number(new RegExp(`y="([\\d.]+)"[^>]*text-anchor="end"[^>]*>${label}</text>`).exec(svg)![1]) - 4;
    const [zero, hundred] = [tick("0"), tick("100")];
    const share = (y: number): number => (zero - y) / (zero - hundred);
    const band = /<rect x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="([\d.]+)" fill="url\(#hatch-lkcd\)"/.exec(svg)!;
    expect(share(Number(band[1]))).toBeCloseTo(0.786, 2);
    expect(share(Number(band[1]) + Number(band[2]))).toBeCloseTo(0.575, 2);
    const points = /<polyline points="([^"]*)" fill="none" stroke="#d55e00"/.exec(svg)![1]!.split(" ");
    expect(points.map((point) => Math.round(share(Number(point.split(",")[1])) * 100))).toEqual([65, 65, 65, 65, 65]);
  });

  test.each([
    ["of rates", comparisonSvg(rates)],
    ["of a curve", comparisonSvg(curve)],
    [
      "of a curve of two long values",
      comparisonSvg({ ...curve, cells: curve.cells.filter((c) => "12".includes(c.value!)) }),
    ],
  ])("%s has no words on words, and none outside", (_, svg) => {
    const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg)!.map(Number);
    const boxes = [...svg.matchAll(/<text ([^>]*)>([^<]*)<\/text>/g)]
      .filter(([, attributes]) => !attributes!.includes("rotate"))
      .map(([, attributes, words]) => {
        const of = (name: string): number => Number(new RegExp(`\\b${name}="([\\d.]+)"`).exec(attributes!)?.[1]);
        const size = of("font-size") || 12;
        const wide = words!.replace(/&\w+;/g, "_").length * size * 0.52;
        const anchor = /text-anchor="(\w+)"/.exec(attributes!)?.[1];
        const left = of("x") - (anchor === "end" ? wide : anchor === "middle" ? wide / 2 : 0);
        return { words, left, right: left + wide, top: of("y") - size * 0.75, bottom: of("y") + size * 0.2 };
      });
    expect(boxes.length).toBeGreaterThan(10);
    for (const box of boxes) {
      expect(box.left, box.words).toBeGreaterThanOrEqual(0);
      expect(box.right, box.words).toBeLessThanOrEqual(width!);
      expect(box.bottom, box.words).toBeLessThanOrEqual(height!);
    }
    const clashes = boxes.flatMap((a, i) =>
      boxes
        .slice(i + 1)
        .filter((b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)
        .map((b) => `${a.words} | ${b.words}`),
    );
    expect(clashes).toEqual([]);
  });

  test("tells dumpers apart by mark and colour", () => {
    const marks = [...comparisonSvg(rates).matchAll(/<path d="([^"]*)"[^>]*fill="(#\w+)"[^>]*class="mark"/g)];
    expect(new Set(marks.map(([, path]) => path)).size).toBe(5);
    expect(new Set(marks.map(([, , colour]) => colour)).size).toBe(5);
  });
});

test("the page has the outcomes, the causes with a command each, the command and the version that made it", () => {
  const page = pageOf(rates);
  expect(page).toContain(`<td class="n">7</td><td>${escaped(NASTY)}</td><td>f</td><td>held</td>`);
  expect(page).toContain("dumplab 1.2.3.");
  expect(page).toContain(escaped(`dumplab bench '${NASTY}'`));
  expect(page).toContain("not possible here: kdump needs platform x86_64");
  expect(page).toContain("prefers-color-scheme:dark");
});
