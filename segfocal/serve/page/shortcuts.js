// The keys: one table that both the keyboard and the help panel read.

/**
 * @param {object} page - what the keys do
 * @returns {{keys: string[], text: string, group: string, run: (key: string) => void}[]}
 */
export function shortcutsOf(page) {
  const rows = allOf(page);
  if (!page.about.viewing) return rows.filter(({ text }) => text !== COMPARED);
  return rows.filter(({ group, keys }) => group === "View" || keys[0] === "m");
}

const COMPARED = "Prediction, reference, difference";

function allOf(page) {
  const tool = (key, name, text) => ({ keys: [key], text, group: "Tools", run: () => page.chooseTool(name) });
  const row = (group, keys, text, run) => ({ group, keys, text, run });
  return [
    tool("v", "move", "Move the crosshair"),
    tool("p", "inside", "Point inside"),
    tool("n", "outside", "Point outside"),
    tool("b", "box", "Box"),
    tool("s", "scribble", "Scribble"),
    tool("l", "lasso", "Lasso"),
    tool("d", "brush", "Brush"),
    tool("e", "eraser", "Eraser"),
    row("Tools", ["[", "]"], "Smaller, larger brush", (key) => page.resizeBrush(key === "]" ? 1.25 : 0.8)),
    row("Tools", ["Enter"], "Point at the crosshair", () => page.useAtCrosshair()),
    row("Tools", ["Escape"], "Drop what is being drawn", () => page.drop()),
    row("Model", ["Ctrl+z"], "Undo", () => page.undo()),
    row("Model", ["Ctrl+y", "Ctrl+Z"], "Redo", () => page.redo()),
    row("Model", ["c"], "Carry to the neighbours", () => page.carry()),
    row("Model", ["a"], "Predict the whole scan", () => page.predict()),
    row("Model", ["0"], "Nothing of the structure on this slice", () => page.absent()),
    row("Model", ["Ctrl+s"], "Save mask and prompts", () => page.save()),
    row("Model", ["m"], "Next scan", () => page.nextScan()),
    row("View", ["ArrowUp", "ArrowDown"], "Next, previous slice", (key) => page.step(key === "ArrowUp" ? 1 : -1)),
    row("View", ["PageUp", "PageDown"], "Ten slices on, back", (key) => page.step(key === "PageUp" ? 10 : -10)),
    row("View", [".", ","], "Next, previous slice to look at", (key) => page.stepProblem(key === "." ? 1 : -1)),
    row("View", ["1", "2", "3", "4", "5", "6", "7", "8", "9"], "Structure by its number", (key) => page.chooseStructure(key - 1)),
    row("View", ["x"], COMPARED, () => page.compare.next()),
    row("View", ["h"], "Hide or show the mask", () => page.toggleMask()),
    row("View", ["o", "i"], "Mask more, less opaque", (key) => page.fade(key === "o" ? 0.1 : -0.1)),
    row("View", ["w"], "Next window", () => page.nextWindow()),
    row("View", ["q"], "Next layout", () => page.nextLayout()),
    row("View", ["f"], "Show the whole scan", () => page.fit()),
    row("View", ["?"], "This help", () => page.help()),
  ];
}

const SHOWN = { ArrowUp: "↑", ArrowDown: "↓", PageUp: "PgUp", PageDown: "PgDn", Escape: "Esc", "Ctrl+Z": "Ctrl+Shift+Z" };

const nameOf = (event) => (event.ctrlKey || event.metaKey ? `Ctrl+${event.key}` : event.key);

/** Run the row of the table that a key belongs to; leave keys alone that a field or a dialog wants. */
export function listen(table) {
  const rows = new Map(table.flatMap((row) => row.keys.map((key) => [key, row])));
  addEventListener("keydown", (event) => {
    if (event.altKey || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const { target } = event;
    if (target.matches("input, select, textarea") && !event.ctrlKey) return;
    const name = nameOf(event);
    if (name === "Enter" && target.matches("button, a, label")) return;
    const row = rows.get(name) ?? rows.get(name.length === 1 ? name.toLowerCase() : name);
    if (!row) return;
    event.preventDefault();
    row.run(event.key);
  });
}

/** Write the table into the help panel, a list for each group. */
export function writeHelp(table, place) {
  for (const group of new Set(table.map((row) => row.group))) {
    const section = document.createElement("section");
    const head = document.createElement("h3");
    head.textContent = group;
    const list = document.createElement("dl");
    for (const { keys, text } of table.filter((row) => row.group === group)) {
      const [term, meaning] = [document.createElement("dt"), document.createElement("dd")];
      const shown = keys.length > 3 ? [keys[0], "–", keys.at(-1)] : keys;
      for (const key of shown) {
        const cap = document.createElement(key === "–" ? "span" : "kbd");
        cap.textContent = SHOWN[key] ?? (key.startsWith("Ctrl+") ? key.replace(/\w$/, (one) => one.toUpperCase()) : key.length === 1 ? key.toUpperCase() : key);
        term.append(cap);
      }
      meaning.textContent = text;
      list.append(term, meaning);
    }
    section.append(head, list);
    place.append(section);
  }
}
