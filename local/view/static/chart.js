// The table of categories as bars. The table is what the service sends; the chart follows it.
"use strict";

(() => {
  const MOST = 20;
  let chart = null;

  function draw() {
    const rows = [...document.querySelectorAll("#categories tbody tr")].slice(0, MOST);
    const style = getComputedStyle(document.documentElement);
    const labels = rows.map((row) => row.querySelector("bdi").textContent);
    const data = rows.map((row) => Number(row.querySelector("td").textContent));
    const colours = rows.map((row) => style.getPropertyValue(`--c${row.dataset.colour}`).trim());
    const place = document.querySelector(".chart");
    place.hidden = !rows.length;
    const told = JSON.stringify([labels, data, colours]);
    if (!rows.length || told === place.dataset.told) return;
    place.dataset.told = told;
    const ink = style.getPropertyValue("--ink").trim();
    const line = style.getPropertyValue("--line").trim();
    chart?.destroy();
    const canvas = document.querySelector("#chart");
    canvas.parentElement.style.height = `${rows.length * 28 + 40}px`;
    chart = new Chart(canvas, {
      type: "bar",
      data: { labels, datasets: [{ data, backgroundColor: colours, borderColor: line, borderWidth: 1 }] },
      options: {
        indexAxis: "y",
        maintainAspectRatio: false,
        animation: false,
        plugins: { legend: { display: false } },
        scales: {
          x: { beginAtZero: true, ticks: { color: ink, precision: 0 }, grid: { color: line } },
          y: { ticks: { color: ink, autoSkip: false }, grid: { display: false } },
        },
      },
    });
  }

  document.addEventListener("DOMContentLoaded", draw);
  document.addEventListener("htmx:afterSettle", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
