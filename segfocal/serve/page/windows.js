// The window: which intensities run from black to white, by name, by number or by hand.

const find = (selector) => document.querySelector(selector);
const AUTO = "Automatic";
const OWN = "Own";
const WAIT_MS = 120; // NiiVue goes over the whole scan for a new window

export class Windows {
  #timer = 0;

  /**
   * @param {Viewer} viewer
   * @param {{name: string, low: number, high: number}[]} presets
   */
  constructor(viewer, presets) {
    Object.assign(this, { viewer, presets });
    this.select = find("#preset");
    for (const name of [AUTO, ...presets.map((one) => one.name), OWN]) this.select.add(new Option(name[0].toUpperCase() + name.slice(1), name));
    this.select.addEventListener("change", () => this.choose(this.select.value));
    for (const field of [find("#low"), find("#high")]) {
      field.addEventListener("change", () => this.set(Number(find("#low").value), Number(find("#high").value)));
    }
  }

  /** Begin with the first preset where the scan looks like a CT, else with its own intensities. */
  reset() {
    const [low] = this.viewer.percentiles([0.02]);
    this.choose(low < -500 && this.presets.length ? this.presets[0].name : AUTO);
  }

  choose(name) {
    const preset = this.presets.find((one) => one.name === name);
    if (name === OWN) return;
    const [low, high] = preset ? [preset.low, preset.high] : this.viewer.percentiles([0.01, 0.99]);
    this.#apply(low, high, name);
  }

  next() {
    const names = [...this.select.options].map(({ value }) => value).filter((name) => name !== OWN);
    this.choose(names[(names.indexOf(this.select.value) + 1) % names.length]);
  }

  set(low, high) {
    if (Number.isFinite(low) && Number.isFinite(high)) this.#apply(Math.min(low, high), Math.max(low, high), OWN);
  }

  #apply(low, high, name) {
    this.select.value = name;
    find("#low").value = Math.round(low);
    find("#high").value = Math.round(high);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.viewer.setWindow(low, high), name === OWN ? WAIT_MS : 0);
  }
}
