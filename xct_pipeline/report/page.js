"use strict";
for (const div of document.querySelectorAll(".chart")) {
  const figure = JSON.parse(div.nextElementSibling.textContent);
  Plotly.newPlot(div, figure.data, figure.layout, { displaylogo: false, responsive: true,
    modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] });
}
for (const viewer of document.querySelectorAll(".viewer")) {
  const data = JSON.parse(viewer.querySelector(".slices").textContent);
  const range = viewer.querySelector("input[type=range]");
  const labels = viewer.querySelector(".labels");
  const overlay = viewer.querySelector(".overlay");
  const show = () => {
    const k = Number(range.value);
    viewer.querySelector(".plane .slice").src = data.planes[k];
    viewer.querySelector("output").textContent = "plane " + data.rows[k] + ", " + data.heights[k];
    for (const cut of viewer.querySelectorAll(".cut")) cut.style.bottom = 100 * data.fractions[k] + "%";
    if (overlay) {
      overlay.hidden = !labels.checked;
      overlay.src = data.overlays[k];
    }
  };
  range.addEventListener("input", show);
  if (labels) labels.addEventListener("change", show);
  show();
}
const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.getAttribute("href").slice(1), a]));
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    for (const link of links.values()) link.classList.remove("here");
    links.get(entry.target.id).classList.add("here");
  }
}, { rootMargin: "-10% 0px -75% 0px" });
for (const section of document.querySelectorAll("main > section")) seen.observe(section);
