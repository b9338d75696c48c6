// The structures: which one is prompted, in what colour each is shown, and whether it is seen.

const HEX = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i;

export class Structures {
  /**
   * @param {HTMLElement} list
   * @param {(chosen?: boolean) => void} changed - another structure is chosen, or a colour or its visibility changed
   */
  constructor(list, changed) {
    Object.assign(this, { list, changed, all: [], chosen: 0 });
  }

  /** @param {{name: string, value: number, colour: string}[]} structures */
  set(structures) {
    const known = new Map(this.all.map((one) => [one.name, one]));
    this.all = structures.map((one) => ({ ...one, visible: true, ...keptOf(known.get(one.name)) }));
    this.chosen = Math.min(this.chosen, Math.max(0, this.all.length - 1));
    this.list.replaceChildren(...this.all.map((one, index) => this.#row(one, index)));
  }

  get current() {
    return this.all[this.chosen];
  }

  choose(index) {
    if (!this.all[index]) return;
    this.chosen = index;
    this.list.querySelectorAll("input[type=radio]")[index].checked = true;
    this.changed(true);
  }

  colourOf(name) {
    return this.all.find((one) => one.name === name)?.colour ?? "#ffffff";
  }

  /** Red, green, blue in 0 to 255 and visibility of each. */
  get colours() {
    return this.all.map(({ colour, visible }) => {
      const [red, green, blue] = HEX.exec(colour).slice(1).map((two) => parseInt(two, 16));
      return { red, green, blue, visible };
    });
  }

  /**
   * @param {number[]} millilitres - of each structure
   * @param {(number|null)[]|null} dice - of each, shown in place of its volume; null where there is none to show
   */
  tell(millilitres, dice = null) {
    this.list.querySelectorAll(".volume").forEach((place, index) => {
      const ml = millilitres[index];
      const volume = ml > 0 ? `${ml.toFixed(ml < 10 ? 1 : 0)} ml` : "–";
      const own = dice?.[index] ?? null;
      place.textContent = !dice ? volume : own === null ? "–" : `Dice ${own.toFixed(2)}`;
      place.title = dice ? volume : "";
    });
  }

  #row(structure, index) {
    const row = document.createElement("li");
    const [choice, label, colour, name, volume, eye] = ["input", "label", "input", "span", "span", "button"].map((kind) =>
      document.createElement(kind),
    );
    choice.type = "radio";
    choice.name = "structure";
    choice.checked = index === this.chosen;
    choice.addEventListener("change", () => this.choose(index));
    name.className = "name";
    name.textContent = structure.name;
    name.title = structure.name;
    volume.className = "volume";
    volume.textContent = "–";
    label.append(choice, name, volume);
    colour.type = "color";
    colour.value = structure.colour;
    colour.setAttribute("aria-label", `Colour of ${structure.name}`);
    colour.addEventListener("input", () => {
      structure.colour = colour.value;
      this.changed();
    });
    eye.type = "button";
    eye.className = "eye";
    const show = () => {
      eye.setAttribute("aria-pressed", structure.visible);
      eye.setAttribute("aria-label", `Show ${structure.name}`);
      eye.title = structure.visible ? `Hide ${structure.name}` : `Show ${structure.name}`;
      eye.replaceChildren(iconOf(structure.visible ? "eye" : "eye-off"));
    };
    eye.addEventListener("click", () => {
      structure.visible = !structure.visible;
      show();
      this.changed();
    });
    show();
    row.append(colour, label, eye);
    return row;
  }
}

function keptOf(known) {
  return known ? { colour: known.colour, visible: known.visible } : {};
}

/** An icon of those that index.html defines. */
export function iconOf(name) {
  const space = "http://www.w3.org/2000/svg";
  const [icon, use] = ["svg", "use"].map((kind) => document.createElementNS(space, kind));
  icon.setAttribute("class", "icon");
  icon.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${name}`);
  icon.append(use);
  return icon;
}
