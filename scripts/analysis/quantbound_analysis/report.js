"use strict";
// The summary table: sorted by its headings, filtered, a page at a time; what is chosen stands in the address (#sort=r_max&desc=1).
// The figures: the numbers under the nearest point, and all of them as CSV.
(() => {
  const byId = (id) => document.getElementById(id);
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const isNarrow = () => matchMedia("(max-width: 640px)").matches;
  const isNumber = (kind) => kind !== "text";

  // ------------------------------------------------------------------------------------------------------- the table
  const table = JSON.parse(byId("table-data").textContent);
  const place = Object.fromEntries(table.columns.map((column, index) => [column.key, index]));
  const first = { ...Object.fromEntries(Object.entries(table.shown).map(([axis, label]) => [axis, String(label)])), text: "", sort: "", desc: "" };
  const state = { ...first };
  let pages = 1;

  const readAddress = () => {
    const words = new URLSearchParams(location.hash.slice(1));
    for (const key of Object.keys(state)) if (words.has(key)) state[key] = words.get(key);
    if (!(state.sort in place)) state.sort = "";
  };
  const writeAddress = () => {
    const words = new URLSearchParams();
    for (const key of Object.keys(state)) if (state[key] !== first[key]) words.set(key, state[key]);
    history.replaceState(null, "", words.toString() ? "#" + words : location.pathname.split("/").pop() + location.search);
  };

  const chosenRows = () => {
    const text = state.text.trim().toLowerCase();
    const axes = Object.keys(table.labels).filter((axis) => state[axis] !== "");
    const rows = table.rows.filter((row) => axes.every((axis) => String(row[place[axis]]) === state[axis]) &&
                                            (!text || row.some((value) => typeof value === "string" && value.toLowerCase().includes(text))));
    if (!state.sort) return rows;
    const at = place[state.sort], sign = state.desc ? -1 : 1;
    const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
    return rows.map((row, index) => [row, index]).sort(([a, i], [b, j]) => {
      if (a[at] === null || b[at] === null) return (a[at] === null) - (b[at] === null) || i - j;  // nothing stands last either way
      return sign * compare(a[at], b[at]) || i - j;
    }).map(([row]) => row);
  };

  const shortNumber = (value) => (Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toExponential(2) : String(+value.toPrecision(4)));
  const cellContent = (value, kind) => {
    if (value === null) return ["-"];
    if (kind === "power") return ["10", make("sup", {}, value.toFixed(1))];
    return [kind === "number" ? shortNumber(value) : String(value)];
  };

  const showRows = () => {
    const rows = chosenRows(), size = (isNarrow() ? 5 : 25) * pages;
    byId("summary").tBodies[0].replaceChildren(...rows.slice(0, size).map((row) => make("tr", {}, ...table.columns.map((column, index) =>
      make("td", { class: isNumber(column.kind) ? "number" : "text", "data-heading": column.heading }, make("span", {}, ...cellContent(row[index], column.kind)))))));
    const head = byId("summary").tHead.rows[0];
    table.columns.forEach((column, index) => {
      head.cells[index].setAttribute("aria-sort", state.sort !== column.key ? "none" : state.desc ? "descending" : "ascending");
    });
    const said = [`${Math.min(size, rows.length)} of ${rows.length} rows `];
    if (rows.length > size) {
      const more = make("button", {}, "more"), all = make("button", {}, "all");
      more.onclick = () => { pages *= 4; showRows(); };
      all.onclick = () => { pages = Infinity; showRows(); };
      said.push(more, " ", all);
    }
    byId("more").replaceChildren(...said);
  };
  const update = () => { pages = 1; showRows(); writeAddress(); };
  const sortBy = (key, desc) => { state.sort = key; state.desc = desc ? "1" : ""; byId("sort-key").value = key; byId("sort-down").checked = Boolean(desc); update(); };

  const makeTable = () => {
    byId("summary").tHead.append(make("tr", {}, ...table.columns.map((column) => {
      const button = make("button", { title: column.meaning }, column.heading);
      button.onclick = () => sortBy(column.key, state.sort === column.key && !state.desc);
      return make("th", { scope: "col", class: isNumber(column.kind) ? "number" : "text", "data-key": column.key }, button);
    })));
    const text = make("input", { type: "search", id: "filter", placeholder: "part of a name" });
    text.value = state.text;
    text.oninput = () => { state.text = text.value; update(); };
    const controls = [make("label", {}, "find", text)];
    for (const [axis, labels] of Object.entries(table.labels)) {
      const select = make("select", { id: `filter-${axis}` }, make("option", { value: "" }, "all"), ...labels.map((label) => make("option", { value: label }, String(label))));
      select.value = state[axis];
      select.onchange = () => { state[axis] = select.value; update(); };
      controls.push(make("label", {}, axis === "granularity" ? "step per" : axis, select));
    }
    const key = make("select", { id: "sort-key" }, make("option", { value: "" }, "as in the file"), ...table.columns.map((column) => make("option", { value: column.key }, column.heading)));
    const down = make("input", { type: "checkbox", id: "sort-down" });
    key.value = state.sort;
    down.checked = Boolean(state.desc);
    key.onchange = () => sortBy(key.value, down.checked);
    down.onchange = () => sortBy(key.value, down.checked);
    controls.push(make("label", { class: "sorting" }, "sorted by", key), make("label", { class: "sorting" }, "largest first", down));
    byId("controls").append(...controls);
    showRows();
  };

  // ----------------------------------------------------------------------------------------------------- the figures
  const drawings = JSON.parse(byId("figure-data").textContent);
  const tip = byId("tip");
  const near = 28;  // pixels

  const nearest = (svg, places, event) => {
    const matrix = svg.getScreenCTM();
    let best = null, least = near * near;
    places.forEach(([x, y], index) => {
      const across = matrix.a * x + matrix.e - event.clientX, down = matrix.d * y + matrix.f - event.clientY, distance = across * across + down * down;
      if (distance <= least) { least = distance; best = index; }
    });
    return best;
  };
  const hide = () => { tip.hidden = true; document.querySelectorAll(".mark").forEach((mark) => mark.remove()); };
  const show = (svg, drawing, index, [x, y]) => {
    hide();
    const mark = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    for (const [name, value] of Object.entries({ cx: x, cy: y, r: 4.5, class: "mark" })) mark.setAttribute(name, value);
    svg.append(mark);
    const rows = drawing.columns.map((column, at) => [column, drawing.rows[index][at]]).filter(([, value]) => value !== null);
    tip.replaceChildren(make("table", {}, ...rows.map(([column, value]) => make("tr", {}, make("td", {}, column.replaceAll("_", " ")),
      make("td", {}, typeof value === "number" && !Number.isInteger(value) ? shortNumber(value) : String(value))))));
    tip.hidden = false;
    const matrix = svg.getScreenCTM(), left = matrix.a * x + matrix.e, top = matrix.d * y + matrix.f;
    const beside = left + 14 + tip.offsetWidth <= document.documentElement.clientWidth ? left + 14 : Math.max(8, left - 14 - tip.offsetWidth);
    const below = top + 14 + tip.offsetHeight <= innerHeight ? top + 14 : Math.max(0, top - 14 - tip.offsetHeight);
    tip.style.left = `${beside + scrollX}px`;
    tip.style.top = `${below + scrollY}px`;
  };
  document.querySelectorAll(".picture svg").forEach((svg) => {
    const drawing = drawings[svg.closest(".drawing").id], places = drawing[svg.closest(".picture").classList.contains("narrow") ? "narrow" : "wide"];
    const point = (event) => {
      const index = nearest(svg, places, event);
      if (index === null) hide(); else show(svg, drawing, index, places[index]);
    };
    svg.addEventListener("pointermove", point);
    svg.addEventListener("pointerdown", point);
    svg.addEventListener("pointerleave", hide);
  });

  const quoted = (value) => (value === null ? "" : /[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  document.querySelectorAll("figure").forEach((figure) => {
    const choice = figure.querySelector(".choice");
    if (choice) choice.onchange = () => figure.querySelectorAll(".drawing").forEach((drawing) => { drawing.hidden = drawing.id !== choice.value; });
    figure.querySelector(".csv").onclick = (event) => {
      const drawing = drawings[figure.querySelector(".drawing:not([hidden])").id];
      const lines = [drawing.columns, ...drawing.rows].map((row) => row.map(quoted).join(",") + "\n");
      const link = make("a", { href: URL.createObjectURL(new Blob(lines, { type: "text/csv" })), download: `${event.target.dataset.name}.csv` });
      link.click();
      URL.revokeObjectURL(link.href);
    };
  });

  readAddress();
  makeTable();
})();
