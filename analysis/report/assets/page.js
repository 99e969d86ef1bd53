"use strict";
/* Everything of a report that moves besides the trace: sorting tables, long tables, printing. */
(function () {
  const root = document.documentElement;
  window.addEventListener("error", (e) => { root.dataset.error = String(e.message); });
  const MOST_ROWS = 60;

  function sortable(table) {
    const body = table.tBodies[0];
    table.querySelectorAll("th button[data-key]").forEach((button) => button.addEventListener("click", () => {
      const key = button.dataset.key, head = button.closest("th"), words = button.dataset.words !== undefined;
      const was = head.getAttribute("aria-sort"), up = was ? was === "descending" : button.dataset.first === "up";
      table.querySelectorAll("th[aria-sort]").forEach((th) => th.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => words ? row.dataset[key] || "" : row.dataset[key] === "" || row.dataset[key] === undefined ? NaN : Number(row.dataset[key]);
      const order = (a, b) => {
        const x = value(a), y = value(b);
        if (words) return up ? x.localeCompare(y) : y.localeCompare(x);
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
        return up ? x - y : y - x;
      };
      [...body.rows].sort(order).forEach((row) => body.append(row));
    }));
  }

  function shortened(table) {
    const rows = [...table.tBodies[0].rows];
    if (rows.length <= MOST_ROWS) return;
    const size = (row) => Math.abs(Number(row.dataset.energy));
    [...rows].sort((a, b) => size(b) - size(a)).slice(MOST_ROWS).forEach((row) => row.classList.add("minor"));
    const button = document.createElement("button");
    const say = () => { button.textContent = table.classList.contains("all") ? "Show the " + MOST_ROWS + " largest" : "Show all " + rows.length + " rows"; };
    button.type = "button"; button.className = "more"; say();
    button.addEventListener("click", () => { table.classList.toggle("all"); say(); });
    table.classList.add("long"); table.closest(".scroll").after(button);
  }

  function view(traces) {
    const found = /#view=([0-9.]+),([0-9.]+)/.exec(location.hash), some = /#show=([a-z]+)/.exec(location.hash);
    if (!traces.length) return;
    if (found) traces[0].set(Number(found[1]), Number(found[2]));
    if (some) traces[0].show(some[1]);
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("table.sortable").forEach(sortable);
    document.querySelectorAll("table.layers").forEach(shortened);
    const traces = [];
    const begin = (figure) => { if (!figure.trace) traces.push(figure.trace = new window.JoulebenchTrace(figure)); };
    document.querySelectorAll("figure.trace").forEach((figure) => {
      const details = figure.closest("details");
      if (details && !details.open) details.addEventListener("toggle", () => begin(figure), { once: true });
      else begin(figure);
    });
    view(traces);
    window.addEventListener("hashchange", () => view(traces));
    window.addEventListener("beforeprint", () => {
      root.dataset.theme = "light";
      document.querySelectorAll("details").forEach((d) => { d.open = true; });
      traces.forEach((t) => t.paint());
    });
    window.addEventListener("afterprint", () => { delete root.dataset.theme; traces.forEach((t) => t.draw()); });
    document.querySelectorAll("button.copy").forEach((button) => button.addEventListener("click", () => {
      navigator.clipboard.writeText(document.getElementById(button.dataset.what).textContent.trim()).then(() => { button.textContent = "copied"; });
    }));
    traces.forEach((t) => t.paint());
    root.dataset.ready = String(traces.length);
  });
})();
