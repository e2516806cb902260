(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("charts").textContent);
  const css = getComputedStyle(document.documentElement);
  const colour = (name) => css.getPropertyValue(name).trim();
  const outcomes = { kept: "--good", throttled: "--warn", refused: "--note", failed: "--bad", wrong: "--wrong" };
  const hues = [210, 25, 145, 280, 340, 55, 185, 0, 235, 95];
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const hue = (index) => `hsl(${hues[index % hues.length]} 65% ${dark ? 68 : 38}%)`;
  const axis = (label) => ({
    label, stroke: colour("--quiet"), labelSize: 22, font: "12px system-ui", labelFont: "12px system-ui",
    grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 },
  });

  // What was left out of the figures is shaded.
  const warmUp = {
    hooks: {
      drawClear: (chart) => {
        if (!data.warmUp) return;
        const left = chart.valToPos(0, "x", true);
        const right = Math.min(chart.valToPos(data.warmUp, "x", true), chart.bbox.left + chart.bbox.width);
        chart.ctx.fillStyle = colour("--plain-fill");
        chart.ctx.fillRect(left, chart.bbox.top, Math.max(0, right - left), chart.bbox.height);
      },
    },
  };

  const draw = (id, columns, series, { x, y, log = false, plugins = [] }) => {
    const place = document.getElementById(id);
    if (!place || !columns[0].length) return;
    const options = {
      width: place.clientWidth, height: 260, plugins,
      scales: { x: { time: false }, y: log ? { distr: 3 } : { range: (_, low, high) => [Math.min(0, low), high * 1.05 || 1] } },
      axes: [axis(x), { ...axis(y), size: 64 }],
      series: [{ label: x }, ...series],
    };
    const chart = new uPlot(options, columns, place);
    new ResizeObserver(() => chart.setSize({ width: place.clientWidth, height: 260 })).observe(place);
  };

  const seconds = data.seconds;
  const present = Object.keys(outcomes).filter((name) => name === "kept" || data.outcomes[name].some(Boolean));
  const rateColumns = [seconds, ...present.map((name) => data.outcomes[name])];
  const rateSeries = present.map((name) => ({ label: name, stroke: colour(outcomes[name]), width: 2 }));
  if (data.isRate) {
    rateColumns.push(data.level);
    rateSeries.push({ label: "asked for", stroke: colour("--quiet"), dash: [6, 4], width: 1 });
  }
  draw("chart-rate", rateColumns, rateSeries, { x: "seconds", y: "requests per second", plugins: [warmUp] });

  const operations = Object.keys(data.times);
  for (const [id, measure] of [["chart-p99", "p99_ms"], ["chart-p50", "p50_ms"]]) {
    const columns = [seconds, ...operations.map((name) => data.times[name][measure])];
    const series = operations.map((name, index) => ({
      label: name, stroke: hue(index), width: 2, spanGaps: true,
      value: (_, number) => (number == null ? "" : `${number.toFixed(number < 10 ? 2 : 1)} ms`),
    }));
    draw(id, columns, series, { x: "seconds", y: "ms", plugins: [warmUp] });
  }

  const points = [...data.capacity].sort((one, other) => one[0] - other[0]);
  draw("chart-capacity", [points.map((p) => p[0]), points.map((p) => p[1]), points.map((p) => p[2])], [
    { label: "p50", stroke: hue(0), width: 2, points: { show: true, size: 7 } },
    { label: "p99", stroke: hue(1), width: 2, points: { show: true, size: 7 } },
  ], { x: "requests per second", y: "ms", log: true });
})();
