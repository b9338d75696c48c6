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

  /** Begin with the first preset where the scan looks like a CT, else with its own intensities; return low and high. */
  first() {
    const [low] = this.viewer.percentiles([0.02]);
    const name = low < -500 && this.presets.length ? this.presets[0].name : AUTO;
    const window = this.#of(name);
    this.#tell(...window, name);
    return window;
  }

  choose(name) {
    if (name !== OWN && this.viewer.open) this.#apply(...this.#of(name), name);
  }

  next() {
    const names = [...this.select.options].map(({ value }) => value).filter((name) => name !== OWN);
    this.choose(names[(names.indexOf(this.select.value) + 1) % names.length]);
  }

  set(low, high) {
    if (low < high && this.viewer.open) this.#apply(low, high, OWN);
  }

  #of(name) {
    const preset = this.presets.find((one) => one.name === name);
    const [low, high] = preset ? [preset.low, preset.high] : this.viewer.percentiles([0.01, 0.99]);
    return [low, Math.max(high, low + 1e-6)];
  }

  #tell(low, high, name) {
    this.select.value = name;
    find("#low").value = Math.round(low);
    find("#high").value = Math.round(high);
  }

  #apply(low, high, name) {
    this.#tell(low, high, name);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.viewer.setWindow(low, high), name === OWN ? WAIT_MS : 0);
  }
}
