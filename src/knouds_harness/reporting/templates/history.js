(() => {
  "use strict";
  const all = JSON.parse(document.getElementById("charts").textContent);
  const root = document.documentElement;
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const made = [];
  let widthInPrint = 0;

  const axis = (more) => ({
    stroke: colour("--quiet"), font: "12px system-ui", labelFont: "12px system-ui", labelSize: 22,
    grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, ...more,
  });
  const written = (data, index, from, to) => (data.at_s[index] == null ? "" : new Date(1000 * data.at_s[index]).toISOString().slice(from, to).replace("T", " "));
  const isOfDays = (data) => data.at_s.at(-1) - data.at_s[0] < 4 * 86400;

  // Where the level changed: between the last run before and the first one after.
  const changes = (data) => ({
    hooks: {
      draw: (chart) => {
        const { top, height } = chart.bbox;
        chart.ctx.save();
        chart.ctx.strokeStyle = colour("--text");
        chart.ctx.setLineDash([4, 4]);
        for (const index of data.changes) {
          const place = Math.round(chart.valToPos(index - 0.5, "x", true));
          chart.ctx.beginPath();
          chart.ctx.moveTo(place, top);
          chart.ctx.lineTo(place, top + height);
          chart.ctx.stroke();
        }
        chart.ctx.restore();
      },
      ready: (chart) => chart.root.querySelector("canvas").setAttribute("aria-hidden", "true"),
    },
  });

  const draw = (data, number) => {
    const place = document.getElementById(`chart-${number}`);
    made[number]?.chart.destroy();
    const size = () => ({ width: widthInPrint || place.clientWidth, height: 260 });
    const word = (_, value, __, index) => (index == null || value == null ? "" : data.words[index]);
    const point = (stroke, fill) => ({ stroke, width: 0, paths: () => null, value: word, points: { show: true, size: 8, stroke, fill } });
    const options = {
      ...size(), plugins: [changes(data)],
      scales: { x: { time: false, range: [-0.5, data.at_s.length - 0.5] }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [
        axis({ incrs: [1, 2, 5, 10, 20, 50, 100, 200], space: 90, values: (_, ticks) => ticks.map((tick) => (isOfDays(data) ? written(data, tick, 5, 16) : written(data, tick, 0, 10))) }),
        axis({ size: 64, label: data.measure }),
      ],
      series: [
        { label: "run of", value: (_, value) => (value == null ? "" : written(data, value, 0, 16)) },
        { label: "value", ...point(colour("--chart-1"), colour("--chart-1")) },
        { label: "no valid measurement", ...point(colour("--warn"), colour("--page")) },
        { label: "level", stroke: colour("--chart-2"), width: 2, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false }, value: (_, value) => (value == null ? "" : String(+value.toPrecision(4))) },
      ],
    };
    made[number] = { chart: new uPlot(options, [data.at_s.map((_, index) => index), data.values, data.unsound, data.level], place), size };
  };

  const everything = () => all.forEach(draw);
  everything();
  let waiting = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => made.forEach(({ chart, size }) => chart.setSize(size())));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", everything);
  addEventListener("beforeprint", () => { widthInPrint = 660; root.classList.add("light"); everything(); });
  addEventListener("afterprint", () => { widthInPrint = 0; root.classList.remove("light"); everything(); });
})();
