// The hand on the pictures: moving about, and the prompts and strokes that it draws.

import { SPACE } from "./layout.js";

/** What the left button does. `plane`: drawn only where the model's slices are seen. */
export const TOOLS = {
  move: { cursor: "crosshair", hint: "Click to move the crosshair; wheel for slices, right button for the window." },
  inside: { cursor: "cell", hint: "Click where the structure is. Alt-click: where it is not." },
  outside: { cursor: "cell", hint: "Click where the structure is not. Alt-click: where it is." },
  box: { cursor: "crosshair", plane: true, hint: "Drag a box round the structure on one slice." },
  scribble: { cursor: "crosshair", plane: true, hint: "Draw a line through the structure. With Alt: through what is not." },
  lasso: { cursor: "crosshair", plane: true, hint: "Draw round the structure on one slice. With Alt: round what is not." },
  brush: { cursor: "none", brush: true, hint: "Paint what the model missed. [ and ] change the size." },
  eraser: { cursor: "none", brush: true, hint: "Rub out what is too much. [ and ] change the size." },
};

const FEWEST_PIXELS = 4; // a shorter drag is a slip of the hand
const STEP_PIXELS = 3; // between two places of a line

export class Hand {
  #drag = null;

  /**
   * @param {Viewer} viewer
   * @param {Markers} markers - whose canvas the pointer moves over
   * @param {object} asked - what the page does: prompt(kind, positive, places, plane), paint(pick, erase),
   *   stroke(places, plane, erase), moved(pick or null), hint(text), modelPlane(), colour()
   */
  constructor(viewer, markers, asked) {
    Object.assign(this, { viewer, markers, asked, tool: "move", brushMm: 8 });
    const { canvas } = markers;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", () => this.drop());
    canvas.addEventListener("pointerleave", () => this.#leave());
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  choose(tool) {
    this.drop();
    this.tool = tool;
    this.markers.canvas.style.cursor = TOOLS[tool].cursor;
    this.markers.brush = null;
    this.markers.draw();
  }

  /** Forget what is being drawn. */
  drop() {
    this.#drag = null;
    this.markers.draft = null;
    this.markers.draw();
  }

  /** Use the tool at the crosshair, for those who use no mouse. */
  useAtCrosshair() {
    if (this.tool === "inside" || this.tool === "outside") {
      this.asked.prompt("point", this.tool === "inside", [this.viewer.place], this.asked.modelPlane());
    } else {
      this.asked.hint("Enter puts a point at the crosshair: choose one of the point tools first.");
    }
  }

  #down(event) {
    const { offsetX: x, offsetY: y } = event;
    const tile = this.viewer.tileAt(x, y);
    if (!tile) return;
    this.markers.canvas.focus({ preventScroll: true });
    this.markers.canvas.setPointerCapture(event.pointerId);
    const drag = { tile, x, y, begun: [x, y], kind: this.#kindOf(event, tile), alt: event.altKey };
    if (drag.kind === "refused") return this.#refuse();
    if (tile.plane !== SPACE) drag.picks = [this.viewer.pick(x, y, tile)];
    if (drag.kind === "window") drag.window = this.viewer.window;
    this.#drag = drag;
    if (["move", "brush", "eraser"].includes(drag.kind)) this.#continue(drag, drag.picks[0]);
  }

  #kindOf(event, tile) {
    if (tile.plane === SPACE) return "turn";
    if (event.button === 2) return "window";
    if (event.button === 1 || event.shiftKey) return "pan";
    if (TOOLS[this.tool].plane && tile.plane.name !== this.asked.modelPlane()) return "refused";
    return this.tool;
  }

  #refuse() {
    this.asked.hint(`Draw this on the ${this.asked.modelPlane()} picture: the model sees the scan slice by slice there.`);
  }

  #move(event) {
    const { offsetX: x, offsetY: y } = event;
    const drag = this.#drag;
    const tile = drag?.tile ?? this.viewer.tileAt(x, y);
    const pick = tile && tile.plane !== SPACE ? this.viewer.pick(x, y, tile) : null;
    this.asked.moved(pick?.inside ? pick : null);
    if (TOOLS[this.tool].brush) this.#showBrush(x, y, tile);
    if (!drag) return;
    if (drag.kind === "turn") this.viewer.turn(drag.x - x, y - drag.y);
    else if (drag.kind === "window") this.#turnWindow(drag, x, y);
    else if (drag.kind === "pan") this.viewer.pan(this.viewer.pick(drag.x, drag.y, tile), pick);
    else if (Math.hypot(x - drag.x, y - drag.y) >= STEP_PIXELS) this.#continue(drag, pick, [x, y]);
    else return;
    [drag.x, drag.y] = [x, y];
  }

  #continue(drag, pick, pixel = drag.begun) {
    if (drag.kind === "move") return this.viewer.moveTo(pick.voxel);
    if (drag.kind === "inside" || drag.kind === "outside") return;
    if (drag.picks.at(-1) !== pick) drag.picks.push(pick);
    if (drag.kind === "brush" || drag.kind === "eraser") return this.asked.paint(pick, drag.kind === "eraser");
    (drag.pixels ??= [drag.begun]).push(pixel);
    const pixels = drag.kind === "box" ? [drag.begun, pixel] : drag.pixels;
    this.markers.draft = { kind: drag.kind, tile: drag.tile, pixels, colour: this.asked.colour(), positive: !drag.alt };
    this.markers.draw();
  }

  #up(event) {
    const drag = this.#drag;
    this.drop();
    if (!drag?.picks) return;
    const { offsetX: x, offsetY: y } = event;
    const plane = drag.tile.plane.name;
    const far = Math.hypot(x - drag.begun[0], y - drag.begun[1]);
    const places = drag.picks.map(({ place }) => place);
    const pick = this.viewer.pick(x, y, drag.tile);
    if (drag.kind === "inside" || drag.kind === "outside") {
      if (!drag.picks[0].inside) return this.asked.hint("That is outside of the scan.");
      this.asked.prompt("point", (drag.kind === "inside") !== drag.alt, [places[0]], plane);
    } else if (drag.kind === "box") {
      if (far < FEWEST_PIXELS) return this.asked.hint("Drag from one corner of the box to the other.");
      this.asked.prompt("box", true, [places[0], pick.place].map((place) => this.#kept(place)), plane);
    } else if (drag.kind === "scribble") {
      this.asked.prompt("scribble", !drag.alt, this.#insideOf(drag.picks), plane);
    } else if (drag.kind === "lasso") {
      if (places.length < 4) return this.asked.hint("Draw once round the structure.");
      this.asked.prompt("lasso", !drag.alt, places.map((place) => this.#kept(place)), plane);
    } else if (drag.kind === "brush" || drag.kind === "eraser") {
      this.asked.stroke(this.#insideOf(drag.picks), plane, drag.kind === "eraser");
    }
  }

  #insideOf(picks) {
    return picks.filter(({ inside }) => inside).map(({ place }) => place);
  }

  /** The nearest place inside the scan. */
  #kept(place) {
    const { shape } = this.viewer;
    const voxel = this.viewer.voxelOf(place).map((one, axis) => Math.min(shape[axis] - 0.501, Math.max(-0.499, one)));
    return this.viewer.placeOf(voxel);
  }

  #turnWindow(drag, x, y) {
    const [low, high] = drag.window;
    const width = Math.max(1, (high - low) * Math.exp((x - drag.begun[0]) / 200));
    const level = (low + high) / 2 + ((y - drag.begun[1]) * (high - low)) / 300;
    this.asked.window(level - width / 2, level + width / 2);
  }

  #showBrush(x, y, tile) {
    const shown = tile && tile.plane !== SPACE;
    this.markers.brush = shown ? { x, y, tile, mm: this.brushMm, colour: this.asked.colour() } : null;
    this.markers.draw();
  }

  #leave() {
    this.asked.moved(null);
    this.markers.brush = null;
    this.markers.draw();
  }

  #wheel(event) {
    event.preventDefault();
    const { offsetX: x, offsetY: y } = event;
    const tile = this.viewer.tileAt(x, y);
    if (!tile) return;
    const factor = Math.exp(-event.deltaY / 500);
    if (tile.plane === SPACE) return this.viewer.zoom3D(factor);
    if (event.ctrlKey || event.metaKey) return this.viewer.zoom(factor, this.viewer.pick(x, y, tile));
    const voxel = [...this.viewer.voxel];
    voxel[tile.plane.fixed] += event.deltaY < 0 ? 1 : -1;
    this.viewer.moveTo(voxel);
  }
}
