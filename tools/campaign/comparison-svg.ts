// A comparison as a picture (SVG 1.1): a curve for a sweep, else a row per dumper.
import { curvePlot } from "./curve-plot.ts";
import type { Comparison } from "./figure.ts";
import { ratePlot } from "./rate-plot.ts";

export const comparisonFigure = (comparison: Comparison): string =>
  comparison.key === null ? ratePlot(comparison) : curvePlot(comparison);

export const comparisonSvg = (comparison: Comparison): string =>
  `<?xml version="1.0" encoding="UTF-8"?>\n${comparisonFigure(comparison)}`;
