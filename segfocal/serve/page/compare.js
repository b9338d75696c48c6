// Two masks of one scan, prediction and reference, and what tells them apart: one of the three is shown.

import { fetchLabels } from "./api.js";
import { Labels } from "./labels.js";

export const SHOWN = ["prediction", "reference", "difference"];
const find = (selector) => document.querySelector(selector);

/** What the difference tells apart: in what colours, after those of the structures. */
export const DIFFERENCES = [
  { name: "in both", colour: [205, 210, 218] },
  { name: "missed", colour: [230, 85, 13] },
  { name: "too much", colour: [64, 160, 255] },
  { name: "another structure", colour: [190, 120, 235] },
];

export class Compare {
  shown = "prediction";

  /** @param {() => void} changed - another mask is chosen */
  constructor(changed) {
    this.changed = changed;
    for (const button of document.querySelectorAll("#compare [data-shown]")) {
      button.addEventListener("click", () => this.choose(button.dataset.shown));
    }
    for (const { name, colour } of DIFFERENCES) {
      const [row, patch] = [document.createElement("li"), document.createElement("span")];
      patch.className = "patch";
      patch.style.background = `rgb(${colour.join(" ")})`;
      row.append(patch, name);
      find("#differences").append(row);
    }
  }

  /** Take the prediction of a session, and fetch the reference. */
  async read(session, prediction) {
    const { fileShape, order, sliceAxis, structures } = prediction;
    this.prediction = prediction;
    this.reference = new Labels(fileShape, order, sliceAxis, structures);
    this.difference = new Labels(fileShape, order, sliceAxis, structures);
    this.reference.put(await fetchLabels(session, 0, "reference"));
  }

  forget() {
    this.prediction = this.reference = this.difference = null;
  }

  choose(shown) {
    this.shown = shown;
    for (const button of document.querySelectorAll("#compare [data-shown]")) {
      button.setAttribute("aria-pressed", button.dataset.shown === shown);
    }
    find("#differences").hidden = shown !== "difference";
    this.changed();
  }

  next() {
    this.choose(SHOWN[(SHOWN.indexOf(this.shown) + 1) % SHOWN.length]);
  }

  /**
   * The mask that is shown; null before both are there.
   *
   * @param {{visible: boolean}[]} structures - those that are hidden count as background in the difference
   */
  labels(structures) {
    if (this.shown === "difference" && this.difference) this.#tellApart(structures);
    return this[this.shown] ?? null;
  }

  #tellApart(structures) {
    const seen = new Uint8Array(256);
    structures.forEach(({ visible }, index) => (seen[index + 1] = visible ? index + 1 : 0));
    const [both, missed, more, other] = DIFFERENCES.map((_, index) => structures.length + 1 + index);
    const [predicted, wanted, { data }] = [this.prediction.data, this.reference.data, this.difference];
    for (let index = 0; index < data.length; index++) {
      const [one, two] = [seen[predicted[index]], seen[wanted[index]]];
      data[index] = one === two ? (one ? both : 0) : one === 0 ? missed : two === 0 ? more : other;
    }
  }
}
