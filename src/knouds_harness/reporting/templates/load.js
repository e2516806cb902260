(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("charts").textContent);
  const root = document.documentElement;
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const hue = (index) => colour(`--chart-${(index % 8) + 1}`);
  const byId = (id) => document.getElementById(id);
  const ms = (number) => (number == null ? "" : `${number < 10 ? number.toFixed(2) : number < 100 ? number.toFixed(1) : Math.round(number).toLocaleString("en")} ms`);
  const brief = (number) => (number >= 1 ? number.toLocaleString("en", { maximumFractionDigits: 1 }) : String(+number.toPrecision(2)));
  const logOfMs = { log: true, yValues: (_, ticks) => ticks.map((tick) => (tick == null ? "" : brief(tick))) };
  const made = new Map();
  let widthInPrint = 0;

  const decades = (_, ticks) => ticks.map((tick) => (Math.log10(tick) % 1 ? null : tick));
  const axis = (label, values, size, isLog) => ({
    label, stroke: colour("--quiet"), labelSize: 22, font: "12px system-ui", labelFont: "12px system-ui",
    grid: { stroke: colour("--line"), width: 1, ...(isLog && { filter: decades }) }, ticks: { stroke: colour("--line"), width: 1 },
    ...(values && { values }), ...(size && { size }),
  });

  // Seconds that count for no figure (warm-up, what came after the end) are shaded, throttled ones get a bar.
  const shades = {
    hooks: {
      drawClear: (chart) => {
        const { left, top, width, height } = chart.bbox;
        const at = (seconds) => Math.min(Math.max(chart.valToPos(seconds, "x", true), left), left + width);
        chart.ctx.save();
        chart.ctx.fillStyle = colour("--plain-fill");
        if (data.warmUp) chart.ctx.fillRect(left, top, at(data.warmUp) - left, height);
        if (end < Infinity) chart.ctx.fillRect(at(end), top, left + width - at(end), height);
        chart.ctx.fillStyle = colour("--warn");
        (data.by_status.throttled || []).forEach((count, index) => {
          if (count) chart.ctx.fillRect(at(data.seconds[index]), top, Math.max(2, at(data.seconds[index] + data.step) - at(data.seconds[index])), 4);
        });
        chart.ctx.restore();
      },
    },
  };
  const line = (at, name, vertical = true) => ({
    hooks: {
      draw: (chart) => {
        if (at == null) return;
        const { left, top, width, height } = chart.bbox;
        const place = Math.round(chart.valToPos(at, vertical ? "x" : "y", true));
        chart.ctx.save();
        chart.ctx.strokeStyle = chart.ctx.fillStyle = colour("--text");
        chart.ctx.setLineDash([4, 4]);
        chart.ctx.beginPath();
        chart.ctx.moveTo(vertical ? place : left, vertical ? top : place);
        chart.ctx.lineTo(vertical ? place : left + width, vertical ? top + height : place);
        chart.ctx.stroke();
        chart.ctx.font = `${12 * devicePixelRatio}px system-ui`;
        const isRight = place > left + width * 0.7;
        chart.ctx.textAlign = isRight ? "right" : "left";
        chart.ctx.fillText(name, place + (isRight ? -6 : 6), top + height - 8 * devicePixelRatio);
        chart.ctx.restore();
      },
    },
  });

  // The legend's entries switch lines on and off: by keyboard as well.
  const operable = {
    hooks: {
      ready: (chart) => {
        chart.root.querySelector("canvas").setAttribute("aria-hidden", "true");
        chart.root.querySelectorAll(".u-legend .u-series").forEach((row, index) => {
          const head = row.querySelector("th");
          if (!index || !head) return;
          const button = document.createElement("button");
          button.type = "button";
          button.className = "key";
          button.setAttribute("aria-pressed", "true");
          button.append(...head.childNodes);
          head.replaceChildren(button);
          button.addEventListener("click", () => setTimeout(() => button.setAttribute("aria-pressed", String(chart.series[index].show))));
        });
      },
    },
  };

  // What is answered after the end is no rate any more; of a capacity search the plan is that of one point.
  const end = data.capacity.length ? Infinity : data.end;
  const whileSending = (column) => column.map((number, index) => (data.seconds[index] >= end ? null : number));

  // The last second is one too, and as wide as in the heat map.
  const untilTheEnd = (_, low, high) => [low, high === data.seconds.at(-1) ? high + data.step : high];
  const draw = (id, columns, series, { x, y, xValues, yValues, log, xLog, time, plugins = [], legend = true }) => {
    const place = byId(id);
    if (!place) return;
    made.get(id)?.chart.destroy();
    made.delete(id);
    place.closest("figure").hidden = !columns[0]?.length;
    if (!columns[0]?.length) return;
    const size = () => ({ width: widthInPrint || place.clientWidth, height: 260 });
    const options = {
      ...size(), legend: { show: legend }, plugins: [operable, ...(time ? [shades] : []), ...plugins],
      cursor: time ? { sync: { key: "seconds" } } : {},
      scales: {
        x: { time: false, ...(xLog && { distr: 3 }), ...(time && { range: untilTheEnd }) },
        y: log ? { distr: 3 } : { range: (_, low, high) => [0, high > 0 ? high * 1.05 : 1] },
      },
      axes: [axis(x, xValues, 36, xLog), axis(y, yValues, 64, log)],
      series: [{ label: x }, ...series.map((each) => ({ width: 2, ...each, points: { show: columns[0].length <= 60, fill: colour("--page"), ...each.points } }))],
    };
    made.set(id, { chart: new uPlot(options, columns, place), size });
  };

  const seconds = data.seconds;
  const drawRate = () => {
    const names = Object.keys(data.by_status);
    const columns = [seconds, ...names.map((name) => whileSending(data.by_status[name]))];
    const series = names.map((name) => ({ label: name, stroke: colour(data.statusColours[name]), value: (_, number) => (number == null ? "" : `${brief(number)}/s`) }));
    if (data.asked) {
      columns.push(data.asked);
      series.push({ label: "tasks asked for", stroke: colour("--quiet"), dash: [6, 4], width: 1, points: { show: false }, value: (_, number) => (number == null ? "" : `${brief(number)}/s`) });
    }
    const steady = data.steadyFrom ? [line(data.steadyFrom, "steady from here")] : [];
    draw("chart-rate", columns, series, { x: "seconds", y: "requests per second", time: true, plugins: steady });
  };

  const drawErrors = () => {
    const names = Object.keys(data.by_status).filter((name) => name !== "ok");
    const all = seconds.map((_, index) => Object.values(data.by_status).reduce((sum, column) => sum + column[index], 0));
    const columns = names.map((name) => data.by_status[name].map((count, index) => (all[index] ? (100 * count) / all[index] : null)));
    const series = names.map((name) => ({ label: name, stroke: colour(data.statusColours[name]), value: (_, number) => (number == null ? "" : `${number.toFixed(2)} %`) }));
    draw("chart-errors", names.length ? [seconds, ...columns] : [[]], series, { x: "seconds", y: "% of requests", time: true });
  };

  // Lines lead over seconds without an answer, as far as is usual for them; over a longer silence there is none.
  const overShortGaps = (column) => {
    const answered = column.flatMap((number, index) => (number == null ? [] : [index]));
    const apart = answered.slice(1).map((index, before) => index - answered[before]).sort((one, other) => one - other);
    const longest = 5 * (apart[apart.length >> 1] ?? 1) * data.step;
    return (chart, _, __, ___, gaps) => {
      const width = chart.valToPos(longest, "x", true) - chart.valToPos(0, "x", true);
      return gaps.filter(([from, to]) => to - from > width);
    };
  };

  const everyOperation = "";
  const drawTimes = () => {
    const picked = byId("pick-times")?.value ?? everyOperation;
    const lines = picked === everyOperation
      ? Object.entries(data.times).filter(([name]) => name !== "all operations").map(([name, columns], index) => [name, columns.p99_ms, hue(index), index >= 8 ? [5, 3] : undefined])
      : Object.entries(data.secondTimes).map(([measure, name], index) => [name, data.times[picked]?.[measure] ?? [], hue(index), index === 2 ? [2, 3] : undefined]);
    const series = lines.map(([label, column, stroke, dash]) => ({ label, stroke, dash, gaps: overShortGaps(column), value: (_, number) => ms(number) }));
    draw("chart-times", lines.length ? [seconds, ...lines.map((each) => each[1])] : [[]], series, { x: "seconds", y: "ms", time: true, ...logOfMs });
  };

  // x is 1 / (1 - share): each nine takes the same width.
  const drawPercentiles = () => {
    const picked = byId("pick-percentiles")?.value;
    const curves = Object.entries(data.percentiles[picked] ?? {}).filter(([, curve]) => curve.count);
    const points = curves.map(([, curve]) => [
      [1, curve.min], ...curve.at.map(([percent, at]) => [100 / (100 - percent), at]).filter(([x]) => x < curve.count), [Math.max(curve.count, 1.01), curve.max],
    ]);
    const xs = [...new Set(points.flat(1).map(([x]) => x))].sort((one, other) => one - other);
    const columns = points.map((curve) => xs.map((x) => curve.find((point) => point[0] === x)?.[1] ?? null));
    const share = (x) => (x <= 1 ? "0 %" : `${+(100 - 100 / x).toFixed(Math.max(0, Math.ceil(Math.log10(x)) - 1))} %`);
    const series = curves.map(([label], index) => ({ label, stroke: hue(index), dash: [undefined, [6, 4], [2, 3]][index], spanGaps: true, points: { show: true, size: 6 }, value: (_, number) => ms(number) }));
    const times = columns.flat().filter((each) => each > 0);
    draw("chart-percentiles", columns.length ? [xs, ...columns] : [[]], series, {
      x: "share of requests that took no longer", y: "ms", xLog: true, ...(Math.max(...times) > 20 * Math.min(...times) && logOfMs), xValues: (_, ticks) => ticks.map((tick) => (tick == null ? "" : share(tick))),
    });
  };

  const drawCapacity = () => {
    const points = [...data.capacity].sort((one, other) => one[0] - other[0]);
    const marks = [line(data.knee, "knee")];
    if (data.highest !== data.knee) marks.push(line(data.highest, "highest kept"));
    const size = { points: { show: true, size: 8 } };
    draw("chart-capacity", [points.map((p) => p[0]), points.map((p) => p[1]), points.map((p) => p[2])], [
      { label: "median", stroke: hue(0), ...size, value: (_, number) => ms(number) },
      { label: "99th percentile", stroke: hue(1), ...size, value: (_, number) => ms(number) },
    ], { x: "requests per second", y: "ms", ...logOfMs, plugins: marks });
  };

  const everything = () => {
    drawRate();
    drawErrors();
    drawTimes();
    drawPercentiles();
    drawCapacity();
    drawHeat(data, { colour, ms, width: widthInPrint });
  };
  byId("pick-times")?.addEventListener("input", drawTimes);
  byId("pick-percentiles")?.addEventListener("input", drawPercentiles);
  byId("pick-heat")?.addEventListener("input", () => drawHeat(data, { colour, ms, width: widthInPrint }));
  everything();

  let waiting = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => {
      for (const { chart, size } of made.values()) chart.setSize(size());
      drawHeat(data, { colour, ms, width: widthInPrint });
    });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", everything);
  addEventListener("beforeprint", () => { widthInPrint = 660; root.classList.add("light"); everything(); });
  addEventListener("afterprint", () => { widthInPrint = 0; root.classList.remove("light"); everything(); });
})();
