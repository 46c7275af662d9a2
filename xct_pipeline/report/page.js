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

// ------------------------------------------------------------------------------------------------ files to save
const give = (name, href) => {
  const link = document.createElement("a");
  link.download = name;
  link.href = href;
  link.click();
};
const cell = (value) => {
  let text = value === null || value === undefined ? "" : String(value);
  if (/^[=+@-]/.test(text) && Number.isNaN(Number(text))) text = "'" + text; // no formula in a spreadsheet
  return /[",\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
};
const giveTable = (name, rows) => {
  const text = rows.map((row) => row.map(cell).join(",")).join("\n") + "\n";
  give(name + ".csv", URL.createObjectURL(new Blob([text], { type: "text/csv" })));
};
const rowsOfChart = (div) => {
  const rows = [["trace", "x", "y", "z", "error_y"]];
  for (const trace of div._fullData) {
    const grid = trace.z && trace.z.length && trace.z[0] && trace.z[0].length !== undefined;
    if (grid) {
      trace.z.forEach((line, j) => Array.from(line).forEach((value, i) => {
        rows.push([trace.name, trace.x ? trace.x[i] : i, trace.y ? trace.y[j] : j, value, ""]);
      }));
      continue;
    }
    const [x, y, z] = [trace.x || [], trace.y || [], trace.z || []];
    const error = (trace.error_y && trace.error_y.array) || [];
    for (let k = 0; k < Math.max(x.length, y.length); k++) rows.push([trace.name, x[k], y[k], z[k], error[k]]);
  }
  return rows;
};
const rowsOfTable = (table) => [...table.rows].map((row) => [...row.cells].map((c) => {
  const unit = c.querySelector("small");
  const text = unit ? c.firstChild.textContent + " [" + unit.textContent + "]" : c.textContent;
  return text.replace("\u2013", "").replaceAll("\u2212", "-");
}));
for (const panel of document.querySelectorAll("article")) {
  const base = panel.dataset.panel.toLowerCase().replace(/[^a-z0-9]+/g, "_");
  const line = document.createElement("p");
  line.className = "save";
  const add = (text, what, action) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.setAttribute("aria-label", "save " + what + " of " + panel.dataset.panel + " as " + text);
    button.addEventListener("click", action);
    line.append(button);
  };
  panel.querySelectorAll(".chart").forEach((div, k) => {
    const [name, what] = [base + (k ? "_" + (k + 1) : ""), "chart " + (k + 1)];
    add("SVG", what, () => Plotly.downloadImage(div, { format: "svg", filename: name }));
    add("PNG", what, () => Plotly.downloadImage(div, { format: "png", filename: name, scale: 300 / 96 }));
    add("CSV", what, () => giveTable(name, rowsOfChart(div)));
  });
  panel.querySelectorAll("img.picture").forEach((image, k) => {
    add("PNG", "picture " + (k + 1), () => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
      canvas.getContext("2d").drawImage(image, 0, 0);
      give(base + (k ? "_" + (k + 1) : "") + ".png", canvas.toDataURL("image/png"));
    });
    const typed = document.createElement("code");
    typed.textContent = "xct report STORE --figures DIR";
    line.append(" SVG, 300 dpi and values: ", typed);
  });
  for (const held of panel.querySelectorAll("script.maps")) {
    add("CSV", "maps", () => {
      const data = JSON.parse(held.textContent);
      const rows = [["map", "x [" + data.length + "]", "y [" + data.length + "]", "change [" + data.unit + "]"]];
      data.maps.forEach((map, k) => map.forEach((line, j) => line.forEach((value, i) => {
        if (value !== null) rows.push([data.names[k], (i + 0.5) * data.step, (j + 0.5) * data.step, value]);
      })));
      giveTable(base, rows);
    });
  }
  for (const slice of panel.querySelectorAll("img.slice")) {
    add(slice.alt.slice(0, 3) + " PNG", "section " + slice.alt, () => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [slice.naturalWidth, slice.naturalHeight];
      canvas.getContext("2d").drawImage(slice, 0, 0);
      give(base + "_" + slice.alt.slice(0, 3) + ".png", canvas.toDataURL("image/png"));
    });
  }
  panel.querySelectorAll("table").forEach((table, k) => {
    const [name, what] = [base + "_table" + (k ? "_" + (k + 1) : ""), "table " + (k + 1)];
    const folded = table.closest("details:not(.part)");
    const title = folded ? folded.querySelector("summary").textContent.split(" (")[0] : "table";
    add(title + " CSV", what, () => giveTable(name, rowsOfTable(table)));
  });
  if (line.childElementCount) {
    line.prepend("Save");
    panel.append(line);
  }
}
// --------------------------------------------------------------------------------------------------- on paper
const [PAPER, TALLEST] = [1000, 520]; // pixels: between the margins of a page of A4 on its side; of a chart with its words
window.addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details.part")) part.open = true;
  for (const div of document.querySelectorAll(".chart")) {
    div.dataset.tall = div.dataset.tall || div.style.height;
    const height = Math.min(parseFloat(div.dataset.tall), TALLEST);
    div.style.height = height + "px";
    Plotly.relayout(div, { width: PAPER, height, autosize: false });
  }
});
window.addEventListener("afterprint", () => {
  for (const div of document.querySelectorAll(".chart")) {
    div.style.height = div.dataset.tall;
    Plotly.relayout(div, { width: null, height: parseFloat(div.dataset.tall), autosize: true });
  }
});
for (const part of document.querySelectorAll("details.part")) {
  part.addEventListener("toggle", () => {
    if (part.open) for (const div of part.querySelectorAll(".chart")) Plotly.Plots.resize(div);
  });
}
const unfold = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  const part = target && target.querySelector("details.part");
  if (part) part.open = true;
};
window.addEventListener("hashchange", unfold);
unfold();
