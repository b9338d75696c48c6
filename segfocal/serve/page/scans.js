// The list of scans with their status, a field to look for one, and the place where files are dropped.

import { getJson, upload } from "./api.js";

const STATUS = { new: "Not begun", begun: "Begun", saved: "Saved" };

function factsOf(scan) {
  if (scan.status in STATUS) return STATUS[scan.status] + (scan.labelled ? " · has a label" : "");
  if (scan.failure) return "Could not be judged";
  if (!scan.predicted) return "No prediction";
  const count = Object.keys(scan.dice).length;
  if (!count) return "No structure in either mask";
  return `Dice ${scan.mean_dice.toFixed(3)}${count > 1 ? ` · mean of ${count}` : ""}`;
}

export class Scans {
  /**
   * @param {HTMLElement} panel - holds the list, the field and the file input
   * @param {(scan: object) => void} open
   * @param {Notices} notices
   */
  constructor(panel, open, notices) {
    Object.assign(this, { panel, open, notices, all: [], current: null });
    this.list = panel.querySelector("ul");
    this.field = panel.querySelector("input[type=search]");
    this.field.addEventListener("input", () => this.draw());
    const file = panel.querySelector("input[type=file]");
    file.addEventListener("change", () => this.take([...file.files]).finally(() => (file.value = "")));
    panel.querySelector("#choose-file").addEventListener("click", () => file.click());
    this.#acceptDrops();
  }

  async read() {
    this.all = (await getJson("/api/scans")).scans;
    this.draw();
  }

  draw() {
    const wanted = this.field.value.trim().toLowerCase();
    const shown = this.all.filter(({ name }) => name.toLowerCase().includes(wanted));
    this.list.replaceChildren(...shown.map((scan) => this.#row(scan)));
    const saved = this.all.filter(({ status }) => status === "saved").length;
    const looking = document.body.classList.contains("viewing");
    const count = looking ? `${this.all.length}` : `${saved} of ${this.all.length} saved`;
    this.panel.querySelector("#scan-count").textContent = this.all.length ? count : "";
    this.panel.querySelector("#no-scans").hidden = shown.length > 0;
    this.panel.querySelector("#no-scans").textContent = this.all.length ? "No scan is called that." : "No scan yet: drop one here.";
    this.field.hidden = this.all.length < 8;
  }

  mark(current) {
    this.current = current;
    this.draw();
  }

  /** Follow a session: a scan on which something was done since it was saved is begun. */
  tell({ scan, revision, saved_revision: saved, can_undo: done }) {
    const row = this.all.find(({ id }) => id === scan);
    const status = revision === saved ? "saved" : done ? "begun" : row?.status;
    if (!row || row.status === status) return;
    row.status = status;
    this.draw();
  }

  /** The scan after the current one; those that are not saved come first. */
  next() {
    const at = this.all.findIndex(({ id }) => id === this.current);
    const round = [...this.all.slice(at + 1), ...this.all.slice(0, Math.max(0, at))];
    return round.find(({ status }) => status !== "saved") ?? round[0] ?? null;
  }

  /** Upload files, then open the first. */
  async take(files) {
    try {
      let first = null;
      for (const file of files) {
        this.notices.show({ text: `Uploading ${file.name}` });
        const scan = await upload(file);
        first ??= scan;
      }
      await this.read();
      if (first) this.open(this.all.find(({ id }) => id === first.id) ?? first);
    } catch (error) {
      this.notices.fail(error);
    } finally {
      this.notices.show(null);
    }
  }

  #row(scan) {
    const row = document.createElement("li");
    const button = document.createElement("button");
    const [dot, name, facts] = ["span", "span", "span"].map((kind) => document.createElement(kind));
    button.type = "button";
    button.className = "scan";
    dot.className = `dot ${scan.status}`;
    name.className = "name";
    name.textContent = scan.name;
    button.title = scan.name;
    facts.className = "facts";
    facts.textContent = factsOf(scan);
    if (scan.mean_dice !== undefined && scan.mean_dice !== null) dot.style.setProperty("--share", scan.mean_dice);
    if (scan.id === this.current) button.setAttribute("aria-current", "true");
    button.append(dot, name, facts);
    button.addEventListener("click", () => this.open(scan));
    row.append(button);
    return row;
  }

  #acceptDrops() {
    let depth = 0;
    const veil = document.querySelector("#drop-veil");
    const show = (change) => {
      depth = Math.max(0, depth + change);
      veil.hidden = depth === 0;
    };
    const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
    if (document.body.classList.contains("viewing")) return;
    addEventListener("dragenter", (event) => holdsFiles(event) && show(1));
    addEventListener("dragleave", (event) => holdsFiles(event) && show(-1));
    addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
    addEventListener("drop", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      show(-depth);
      this.take([...event.dataTransfer.files]);
    });
  }
}
