// Pointing at a point of a map shows the whole group.
"use strict";
for (const map of document.querySelectorAll("figure.map svg")) {
  const groups = new Map();
  for (const point of map.querySelectorAll("[data-group]")) {
    const group = point.dataset.group;
    if (!groups.has(group)) groups.set(group, []);
    groups.get(group).push(point);
  }
  let lit = null;
  const show = (group) => {
    if (group === lit) return;
    for (const point of groups.get(lit) ?? []) point.classList.remove("lit");
    for (const point of groups.get(group) ?? []) point.classList.add("lit");
    map.classList.toggle("dim", group !== null);
    lit = group;
  };
  map.addEventListener("pointerover", (event) => show(event.target.dataset.group ?? null));
  map.addEventListener("pointerleave", () => show(null));
}
