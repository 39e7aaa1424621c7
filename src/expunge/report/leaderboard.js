"use strict";
// Sorting for the tables. Where it does not run, they stand in their first order.

// Places of values in sorted order. Stable; null (undecided) comes last in both directions.
function order(values, direction) {
  const sign = direction === "descending" ? -1 : 1;
  return values.map((_, place) => place).sort((one, other) => {
    const a = values[one], b = values[other];
    if (a === null || b === null) return (a === null) - (b === null) || one - other;
    const way = typeof a === "string" ? a.localeCompare(b, "en") : a - b;
    return sign * way || one - other;
  });
}

// What a click does: the column's own direction first, then the other, then the order of the page.
function next(current, first) {
  if (current === null) return first;
  if (current === first) return first === "ascending" ? "descending" : "ascending";
  return null;
}

function value(row, column) {
  const cell = row.cells[column];
  if (!cell || !("sort" in cell.dataset)) return null;
  return column === 0 ? cell.dataset.sort : Number(cell.dataset.sort);
}

function prepare(table) {
  const body = table.tBodies[table.tBodies.length - 1];
  const rows = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  const sort = (column, direction) => {
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    if (direction !== null) heads[column].setAttribute("aria-sort", direction);
    const places = direction === null ? rows.keys() : order(rows.map((row) => value(row, column)), direction);
    body.append(...Array.from(places, (place) => rows[place]));
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(column, next(head.getAttribute("aria-sort"), head.dataset.first)));
  });
  return (key, direction) => {
    const column = heads.findIndex((head) => head.dataset.key === key);
    if (column >= 0) sort(column, direction || heads[column].dataset.first);
  };
}

// #sort=1:cost:descending sorts the first setting's table when the page is opened.
function start() {
  const asked = /^#sort=(\d+):([a-z0-9-]+)(?::(ascending|descending))?$/.exec(location.hash);
  document.querySelectorAll("table.sortable").forEach((table) => {
    const sort = prepare(table);
    if (asked && table.dataset.board === asked[1]) sort(asked[2], asked[3]);
  });
}

if (typeof module === "undefined") start();
else module.exports = { order, next };
