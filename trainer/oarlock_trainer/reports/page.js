"use strict";
(() => {
  const tip = document.getElementById("tip");
  const hide = () => { tip.hidden = true; };
  const show = (event, text) => {
    tip.textContent = text;
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const left = event.clientX + 16 + width > innerWidth ? event.clientX - 16 - width : event.clientX + 16;
    tip.style.left = Math.max(4, left) + "px";
    tip.style.top = Math.max(4, Math.min(event.clientY + 16, innerHeight - height - 4)) + "px";
  };
  const place = (svg, event) => {
    const box = svg.getBoundingClientRect(), view = svg.viewBox.baseVal;
    return [(event.clientX - box.left) * view.width / box.width, (event.clientY - box.top) * view.height / box.height];
  };
  for (const svg of document.querySelectorAll("svg[data-chart]")) {
    const chart = JSON.parse(svg.dataset.chart), hair = svg.querySelector(".hair");
    svg.addEventListener("pointermove", (event) => {
      const [x] = place(svg, event);
      const nearest = chart.curves.map((curve) => [curve.name, curve.points.reduce(
        (best, point) => (Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best))]);
      const at = nearest.reduce((best, [, point]) => (Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best), nearest[0][1]);
      hair.setAttribute("x1", at[0]);
      hair.setAttribute("x2", at[0]);
      hair.style.visibility = "visible";
      show(event, `${chart.across} ${at[1]}\n` + nearest.map(([name, point]) => `${name}  ${point[2]}`).join("\n"));
    });
    svg.addEventListener("pointerleave", () => { hair.style.visibility = "hidden"; hide(); });
  }
  for (const svg of document.querySelectorAll("svg[data-matrix]")) {
    const { margin, size, classes, rows } = JSON.parse(svg.dataset.matrix);
    const totals = rows.map((row) => row.reduce((sum, value) => sum + value, 0));
    svg.addEventListener("pointermove", (event) => {
      const [column, row] = place(svg, event).map((value) => Math.floor((value - margin) / size));
      if (!(rows[row] && rows[row][column] !== undefined)) return hide();
      const value = rows[row][column], share = totals[row] ? (100 * value / totals[row]).toFixed(1) : "0";
      show(event, `is ${classes[row]}\nwas called ${classes[column]}\n${value.toLocaleString("en")} of ${totals[row].toLocaleString("en")}, ${share} %`);
    });
    svg.addEventListener("pointerleave", hide);
  }
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    heads.forEach((head, index) => head.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const key = (row) => row.cells[index].dataset.value ?? row.cells[index].textContent;
      const order = (a, b) => (index ? key(a) - key(b) : key(a).localeCompare(key(b), undefined, { numeric: true }));
      body.append(...[...body.rows].sort((a, b) => (descending ? order(b, a) : order(a, b))));
    }));
  }
})();
