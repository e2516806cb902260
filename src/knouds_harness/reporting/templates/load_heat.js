/* A heat map: time to the right, response times upwards (each doubling takes the same height), the darker the more
   requests. No chart library that is small does these. */
const drawHeat = (() => {
  "use strict";
  const height = 300, edge = { left: 86, right: 26, top: 8, bottom: 44 } /* left and right as uPlot has them here */, mostRows = 48;
  let at = null; // the cell that is told: [column, bucket]

  const added = (columns) => {
    const whole = [];
    for (const of of Object.values(columns)) {
      of.forEach((column, index) => {
        const counts = (whole[index] ??= new Map());
        for (let each = 1; each < column.length; each++) {
          if (column[each]) counts.set(column[0] + each - 1, (counts.get(column[0] + each - 1) ?? 0) + column[each]);
        }
      });
    }
    return whole;
  };
  const coarser = (counts, together) => {
    const whole = new Map();
    for (const [bucket, count] of counts) {
      const row = Math.floor(bucket / together);
      whole.set(row, (whole.get(row) ?? 0) + count);
    }
    return whole;
  };
  const steps = (low, high) => {
    const found = [];
    for (let tens = 10 ** Math.floor(Math.log10(low)); tens <= high; tens *= 10) {
      for (const part of [1, 2, 5]) if (tens * part >= low && tens * part <= high) found.push(tens * part);
    }
    return found.length > 10 ? found.filter((each) => String(each).match(/^(0\.0*)?1/)) : found;
  };

  return (data, { colour, ms, width: fixed }) => {
    const canvas = document.getElementById("heat");
    if (!canvas) return;
    const heat = data.heat;
    const figure = canvas.closest("figure");
    figure.hidden = !heat;
    if (!heat) return;
    const picked = document.getElementById("pick-heat").value;
    const fine = added(picked ? { picked: heat.columns[picked] ?? [] } : heat.columns);
    const found = [...new Set(fine.flatMap((counts) => [...counts.keys()]))];
    if (!found.length) return;
    const together = Math.max(...found) - Math.min(...found) > mostRows ? 2 : 1; // buckets in a row
    const columns = fine.map((counts) => coarser(counts, together));
    const perDoubling = heat.perDoubling / together;
    document.getElementById("heat-step").textContent = `${Math.round(100 * (2 ** (1 / perDoubling) - 1))} %`;
    const buckets = columns.flatMap((counts) => [...counts.keys()]);
    const low = Math.min(...new Set(buckets)), high = Math.max(...new Set(buckets)) + 1;
    const most = columns.reduce((found, counts) => Math.max(found, ...counts.values()), 1);
    const fromMs = (bucket) => 2 ** (bucket / perDoubling) / 1000;

    const width = fixed || canvas.parentElement.clientWidth, scale = devicePixelRatio || 1;
    canvas.width = width * scale;
    canvas.height = height * scale;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const ctx = canvas.getContext("2d");
    ctx.scale(scale, scale);
    const across = (width - edge.left - edge.right) / columns.length;
    const up = (height - edge.top - edge.bottom) / (high - low);
    const y = (bucket) => height - edge.bottom - (bucket - low) * up;

    ctx.fillStyle = colour("--panel");
    ctx.fillRect(edge.left, edge.top, width - edge.left - edge.right, height - edge.top - edge.bottom);
    const shade = (count) => {
      const share = most > 1 ? Math.log(count) / Math.log(most) : 1;
      return `color-mix(in oklab, ${colour("--heat-high")} ${Math.round(100 * share)}%, ${colour("--heat-low")})`;
    };
    const shades = new Map();
    columns.forEach((counts, column) => {
      for (const [bucket, count] of counts) {
        if (!shades.has(count)) shades.set(count, shade(count));
        ctx.fillStyle = shades.get(count);
        ctx.fillRect(edge.left + column * across, y(bucket + 1), Math.ceil(across * scale) / scale, Math.ceil(up * scale) / scale);
      }
    });

    ctx.fillStyle = ctx.strokeStyle = colour("--quiet");
    ctx.font = "12px system-ui";
    ctx.textBaseline = "middle";
    ctx.textAlign = "right";
    for (const tick of steps(fromMs(low), fromMs(high))) {
      ctx.fillText(`${tick >= 1 ? tick.toLocaleString("en") : +tick.toPrecision(1)} ms`, edge.left - 6, y(Math.log2(tick * 1000) * perDoubling));
    }
    ctx.textAlign = "center";
    ctx.textBaseline = "top";
    const lastS = columns.length * heat.step;
    const stepS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600].find((each) => lastS / each <= width / 70) ?? 7200;
    for (let tick = 0; tick <= lastS; tick += stepS) {
      ctx.fillText(String(tick), edge.left + (tick / heat.step) * across, height - edge.bottom + 6);
    }
    ctx.fillText("seconds", edge.left + (width - edge.left) / 2, height - edge.bottom + 24);

    const readout = document.getElementById("heat-readout");
    const tell = () => {
      if (!at) return;
      const [column, bucket] = at;
      const count = columns[column]?.get(bucket) ?? 0;
      const until = (column + 1) * heat.step - 1;
      readout.textContent = `second${heat.step > 1 ? `s ${column * heat.step} to ${until}` : ` ${column}`}, ${ms(fromMs(bucket))} to ${ms(fromMs(bucket + 1))}: ${count.toLocaleString("en")} request${count === 1 ? "" : "s"}`;
    };
    const move = (column, bucket) => {
      at = [Math.min(Math.max(column, 0), columns.length - 1), Math.min(Math.max(bucket, low), high - 1)];
      tell();
    };
    canvas.onpointermove = (event) => move(Math.floor((event.offsetX - edge.left) / across), Math.floor(low + (height - edge.bottom - event.offsetY) / up));
    canvas.onkeydown = (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (!step) return;
      event.preventDefault();
      const [column, bucket] = at ?? [0, low];
      move(column + step[0], bucket + step[1]);
    };
    document.getElementById("heat-most").textContent = most.toLocaleString("en");
  };
})();
