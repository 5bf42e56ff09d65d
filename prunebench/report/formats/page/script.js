"use strict";
// The page is whole without this script: it adds sorting, filters and the comparison of two runs.

const number = (text) => {
  const found = text.replace(/,/g, "").match(/^[+-]?\d+(\.\d+)?/);
  return found ? Number(found[0]) : null;
};

function compareCells(left, right) {
  const [a, b] = [number(left), number(right)];
  if (a !== null && b !== null) return a - b;
  if (a !== null || b !== null) return a === null ? -1 : 1;
  return left.localeCompare(right);
}

function sort(table, column, header) {
  const ascending = header.getAttribute("aria-sort") === "descending" || !header.hasAttribute("aria-sort");
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const text = (row) => row.cells[column].textContent.trim();
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => (ascending ? 1 : -1) * compareCells(text(a), text(b)));
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    if (header.tagName !== "TH") return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sort(table, column, header));
  });
}

for (const table of document.querySelectorAll("table[data-filter]")) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  input.type = "search";
  label.className = "filter";
  label.append(`${table.dataset.filter} `, input);
  table.closest(".scroll").before(label);
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    for (const row of table.tBodies[0].rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}

const list = document.querySelector("#findings .findings");
const statuses = list ? [...new Set([...list.children].map((each) => each.dataset.status))] : [];
if (statuses.length > 1) {
  const bar = document.createElement("p");
  bar.className = "filter";
  for (const status of statuses) {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => {
      for (const each of list.children) if (each.dataset.status === status) each.hidden = !box.checked;
    });
    label.append(box, ` ${status}`);
    bar.append(label);
  }
  list.before(bar);
}

const form = document.getElementById("diff");
const figures = form ? JSON.parse(document.getElementById("figures").textContent) : [];
if (figures.length > 1) {
  const { left, right } = form.elements;
  for (const select of [left, right]) {
    figures.forEach((run, index) => select.add(new Option(run.name, String(index))));
  }
  right.value = "1";
  const shown = (value) => {
    if (value === undefined) return "-";
    return value.toLocaleString("en", Number.isInteger(value) ? {} : { maximumSignificantDigits: 4 });
  };
  const fill = () => {
    const sides = [figures[left.value].figures, figures[right.value].figures];
    const names = [...new Set(sides.flatMap(Object.keys))];
    const body = form.querySelector("tbody");
    body.replaceChildren(...names.map((name) => {
      const row = document.createElement("tr");
      const [before, after] = sides.map((side) => side[name]);
      const difference = before === undefined || after === undefined ? undefined : after - before;
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = name;
      row.append(head);
      for (const value of [before, after, difference]) {
        const cell = row.insertCell();
        cell.className = "figure";
        cell.textContent = shown(value);
      }
      return row;
    }));
  };
  form.addEventListener("change", fill);
  form.addEventListener("submit", (event) => event.preventDefault());
  fill();
  form.hidden = false;
}
