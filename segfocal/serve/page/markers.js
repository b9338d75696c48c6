// What lies over the pictures: names of the planes, crosshair, prompts, and what the hand is drawing.

import { SPACE } from "./layout.js";

const PLANE_COLOURS = { axial: "#ff8b85", coronal: "#7fd88f", sagittal: "#82b4ff", "3-D": "#c3c9d4" };
const [YES, NO] = ["#42d77d", "#ff6b6b"];
const FONT = "12px system-ui, sans-serif";
const GAP = 14; // pixels that the crosshair leaves free in its middle

export class Markers {
  /**
   * @param {HTMLCanvasElement} canvas - over the viewer's, of the same size
   * @param {Viewer} viewer
   */
  constructor(canvas, viewer) {
    this.canvas = canvas;
    this.viewer = viewer;
    this.prompts = [];
    this.colourOf = () => "#ffffff";
    this.modelPlane = () => "axial";
    this.draft = null; // {kind, tile, pixels, colour}: what is being drawn
    this.brush = null; // {x, y, tile, mm}: the circle under the pointer
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
  }

  draw() {
    const pen = this.canvas.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    for (const tile of this.viewer.tiles) {
      pen.save();
      pen.beginPath();
      pen.rect(...tile.rect);
      pen.clip();
      if (tile.plane === SPACE) this.#drawSolid(pen, tile);
      else this.#drawPlane(pen, tile);
      this.#drawFrame(pen, tile);
      pen.restore();
    }
  }

  #drawSolid(pen, { rect }) {
    if (this.viewer.hurried && this.viewer.solid.width) pen.drawImage(this.viewer.solid, ...rect);
  }

  #drawPlane(pen, tile) {
    this.#drawCrosshair(pen, tile);
    for (const prompt of this.prompts) if (this.#isSeen(prompt, tile)) this.#drawPrompt(pen, prompt, tile);
    if (this.draft?.tile.index === tile.index) drawDraft(pen, this.draft);
    if (this.brush?.tile.index === tile.index) this.#drawBrush(pen, tile);
    this.#drawEnds(pen, tile);
  }

  #drawCrosshair(pen, tile) {
    const [left, top, width, height] = tile.rect;
    const [x, y] = this.viewer.project(this.viewer.place, tile).map((one) => Math.round(one) + 0.5);
    const { across, up } = tile.plane;
    const colour = (axis) => PLANE_COLOURS[["sagittal", "coronal", "axial"][axis]];
    pen.globalAlpha = 0.65;
    pen.lineWidth = 1;
    line(pen, colour(across), [[x, top], [x, y - GAP], null, [x, y + GAP], [x, top + height]]);
    line(pen, colour(up), [[left, y], [x - GAP, y], null, [x + GAP, y], [left + width, y]]);
    pen.globalAlpha = 1;
  }

  #drawFrame(pen, tile) {
    const [left, top, width, height] = tile.rect;
    const { plane } = tile;
    pen.strokeStyle = "#2a303b";
    pen.lineWidth = 1;
    pen.strokeRect(left - 0.5, top - 0.5, width, height);
    const { fixed } = plane;
    const name = plane.name[0].toUpperCase() + plane.name.slice(1);
    text(pen, name, left + 10, top + 18, PLANE_COLOURS[plane.name], "600 " + FONT);
    if (fixed === null) return;
    const { viewer } = this;
    const number = `${viewer.voxel[fixed] + 1} / ${viewer.shape[fixed]}`;
    pen.textAlign = "right";
    text(pen, number, left + width - 10, top + 18, "#c3c9d4");
    pen.textAlign = "left";
  }

  #drawEnds(pen, { plane, rect: [left, top, width, height] }) {
    const [first, last, upper, lower] = plane.ends;
    pen.textAlign = "center";
    const [x, y] = [left + width / 2, top + height / 2];
    [[first, left + 10, y], [last, left + width - 10, y], [upper, x, top + 18], [lower, x, top + height - 8]].forEach(
      ([letter, at, down]) => text(pen, letter, at, down + (at === x ? 0 : 4), "#98a1b0", "600 " + FONT),
    );
    pen.textAlign = "left";
  }

  /** A prompt is drawn on the slice it was given on: all of it lies within half a slice. */
  #isSeen({ kind, world_mm: places }, { plane: { fixed, name } }) {
    if (kind === "absent" && name !== this.modelPlane()) return false;
    const slice = this.viewer.voxel[fixed];
    const depths = places.map((place) => this.viewer.voxelOf(place)[fixed]);
    if (places.length === 2) return Math.min(...depths) <= slice + 0.5 && Math.max(...depths) >= slice - 0.5;
    return depths.every((depth) => Math.abs(depth - slice) <= 0.5);
  }

  #drawPrompt(pen, prompt, tile) {
    const pixels = prompt.world_mm.map((place) => this.viewer.project(place, tile));
    const colour = this.colourOf(prompt.structure);
    if (prompt.kind === "point") drawPoint(pen, pixels[0], prompt.positive, colour);
    else if (prompt.kind === "absent") text(pen, `no ${prompt.structure} here`, tile.rect[0] + 10, tile.rect[1] + 38, colour);
    else drawDraft(pen, { kind: prompt.kind, pixels, colour, positive: prompt.positive, done: true });
  }

  #drawBrush(pen, tile) {
    const { x, y, mm } = this.brush;
    const place = this.viewer.pick(x, y, tile).place;
    const [there] = this.viewer.project(place, tile);
    const { across } = tile.plane;
    const step = this.viewer.voxelOf(place);
    step[across] += mm / this.viewer.spacing[across];
    const radius = Math.abs(this.viewer.project(this.viewer.placeOf(step), tile)[0] - there);
    pen.beginPath();
    pen.arc(x, y, Math.max(2, radius), 0, 2 * Math.PI);
    outlined(pen, this.brush.colour, 1.5);
  }
}

function drawPoint(pen, [x, y], positive, colour) {
  pen.beginPath();
  pen.arc(x, y, 7, 0, 2 * Math.PI);
  pen.fillStyle = positive ? YES : NO;
  pen.fill();
  pen.lineWidth = 2;
  pen.strokeStyle = colour;
  pen.stroke();
  pen.lineWidth = 2;
  const bars = [[x - 3.5, y], [x + 3.5, y]];
  if (positive) bars.push(null, [x, y - 3.5], [x, y + 3.5]);
  line(pen, "#0b0d10", bars);
}

function drawDraft(pen, { kind, pixels, colour, positive = true, done = false }) {
  pen.beginPath();
  pen.lineJoin = "round";
  if (kind === "box") {
    const [[x, y], [right, bottom]] = pixels;
    pen.rect(Math.min(x, right), Math.min(y, bottom), Math.abs(right - x), Math.abs(bottom - y));
  } else {
    pixels.forEach(([x, y], n) => (n ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    if (kind === "lasso") pen.closePath();
    else if (pixels.length === 1) pen.lineTo(pixels[0][0] + 0.1, pixels[0][1]);
  }
  if (kind === "lasso" || !done) pen.setLineDash([6, 4]);
  const shown = kind === "scribble" ? (positive ? YES : NO) : colour;
  pen.lineCap = "round";
  outlined(pen, shown, kind === "scribble" ? 3 : 2);
  pen.setLineDash([]);
}

/** Stroke a path so that it is seen on black and on white. */
function outlined(pen, colour, width) {
  pen.strokeStyle = "rgba(0, 0, 0, 0.6)";
  pen.lineWidth = width + 2;
  pen.stroke();
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.stroke();
}

function line(pen, colour, places) {
  pen.beginPath();
  let lifted = true;
  for (const place of places) {
    if (place) lifted ? pen.moveTo(...place) : pen.lineTo(...place);
    lifted = place === null;
  }
  pen.strokeStyle = colour;
  pen.stroke();
}

function text(pen, words, x, y, colour, font = FONT) {
  pen.font = font;
  pen.lineWidth = 3;
  pen.strokeStyle = "rgba(0, 0, 0, 0.75)";
  pen.strokeText(words, x, y);
  pen.fillStyle = colour;
  pen.fillText(words, x, y);
}
