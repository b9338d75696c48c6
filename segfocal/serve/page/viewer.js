// Three planes and 3-D of one scan and its mask, drawn by NiiVue; places go in and out in the scan's own world, in mm.
//
// NiiVue turns every scan into its own order of voxels (to right, anterior, superior). That order stays inside this file
// and labels.js: everybody else speaks of world mm, or of a slice by its number along an axis of the page.

import { Niivue, NVImage, SLICE_TYPE } from "./vendor/niivue.js";
import { colourHere, drawsInSoftware } from "./colouring.js";
import { percentilesOf } from "./intensities.js";
import { sizeOf } from "./labels.js";
import { Layout, PLANES, SPACE } from "./layout.js";

const OPTIONS = {
  backColor: [0.039, 0.047, 0.063, 1],
  crosshairWidth: 0, // ours is thinner, and lies in the overlay
  dragAndDropEnabled: false,
  gradientOrder: 0, // no lighting in 3-D, see scripts/niivue/build.mjs
  interactive: false,
  isOrientationTextVisible: false,
  isRadiologicalConvention: true,
  isResizeCanvas: false,
  loadingText: "",
  logLevel: "error",
  show3Dcrosshair: false,
};
const SLOW_MS = 60; // a picture that takes longer leaves 3-D for when the hand rests
const REST_MS = 180;
const VEIL = 0.35; // opacity of the body over structures in 3-D
const DRAWING_UNIT = 7; // the texture unit in which NiiVue keeps the mask

export class Viewer {
  #volume = null;
  #labels = null;
  #frame = 0;
  #rest = 0;
  #slow = false;
  #layout = null;

  /**
   * @param {HTMLCanvasElement} canvas - drawn by NiiVue
   * @param {() => void} drawn - called after each picture
   */
  constructor(canvas, drawn) {
    this.canvas = canvas;
    this.drawn = drawn;
    this.voxel = [0, 0, 0]; // of the crosshair
    this.layout = "four";
    this.solid = document.createElement("canvas"); // the last picture in 3-D
    this.nv = new Niivue(OPTIONS);
  }

  async start() {
    await this.nv.attachToCanvas(this.canvas, true);
    this.inSoftware = drawsInSoftware(this.nv.gl);
    colourHere(this.nv, () => this.inSoftware);
    this.#layout = new Layout(this.nv);
    this.#rest3D();
    this.nv.drawRimOpacity = 1;
  }

  get open() {
    return this.#volume !== null;
  }

  get shape() {
    return this.#volume.dimsRAS.slice(1, 4);
  }

  get spacing() {
    return this.#volume.pixDimsRAS.slice(1, 4);
  }

  /** For each axis of the page the file's, counted from 1; negative where it is reversed. */
  get order() {
    return this.#volume.permRAS;
  }

  /**
   * Show a scan.
   *
   * @param {ArrayBuffer} bytes - a NIfTI file, unpacked
   * @param {number[][]} affine - the server's, 4×4: what it says of the world holds, whatever NiiVue reads in the header
   * @param {() => [number, number]} windowOf - asked when the voxels are there, before they are drawn
   */
  async show(bytes, affine, windowOf) {
    this.close();
    const volume = await NVImage.new(bytes, "scan.nii", "gray", 1);
    for (let row = 0; row < 4; row++) volume.hdr.affine[row] = affine[row].slice();
    for (let axis = 0; axis < 3; axis++) {
      volume.hdr.pixDims[axis + 1] = Math.hypot(affine[0][axis], affine[1][axis], affine[2][axis]);
    }
    volume.calculateRAS();
    this.#volume = volume;
    this.voxel = volume.dimsRAS.slice(1, 4).map((length) => Math.floor(length / 2));
    this.#setCrosshair();
    [volume.cal_min, volume.cal_max] = windowOf();
    this.hurried = true;
    this.#slow = this.inSoftware; // the planes first
    this.nv.addVolume(volume);
    this.fit();
  }

  close() {
    if (!this.#volume) return;
    this.nv.drawBitmap = null;
    this.nv.removeVolume(this.#volume);
    this.#volume = this.#labels = null;
    this.solid.width = 0;
    this.draw();
  }

  /** Lay a mask over the scan; it may change later, see `refreshLabels`. */
  setLabels(labels) {
    this.#labels = labels;
    const { nv } = this;
    nv.drawTexture = nv.r8Tex(nv.drawTexture, nv.gl.TEXTURE0 + DRAWING_UNIT, this.#volume.dimsRAS, true);
    nv.drawBitmap = labels.data;
    this.draw();
  }

  /** Show another mask of the same scan in place of the one that is laid over it. */
  showLabels(labels) {
    this.#labels = labels;
    this.nv.drawBitmap = labels.data;
    this.refreshLabels({ lower: [0, 0, 0], upper: labels.shape });
  }

  /** Bring a box of the mask to the screen. */
  refreshLabels(box) {
    const [width, height, depth] = sizeOf(box);
    if (width <= 0 || height <= 0 || depth <= 0) return;
    const { gl, drawTexture } = this.nv;
    gl.activeTexture(gl.TEXTURE0 + DRAWING_UNIT);
    gl.bindTexture(gl.TEXTURE_3D, drawTexture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    const all = width * height * depth === this.#labels.data.length;
    const bytes = all ? this.#labels.data : this.#labels.cut(box);
    const [x, y, z] = box.lower;
    gl.texSubImage3D(gl.TEXTURE_3D, 0, x, y, z, width, height, depth, gl.RED, gl.UNSIGNED_BYTE, bytes);
    this.draw();
  }

  /**
   * @param {{red: number, green: number, blue: number, visible: boolean}[]} colours - of the structures, in order, and of
   *   what else a mask holds after them
   */
  setColours(colours) {
    const lut = new Uint8ClampedArray(256 * 4);
    colours.forEach(({ red, green, blue, visible }, index) => lut.set([red, green, blue, visible ? 255 : 0], 4 * index + 4));
    this.nv.drawLut = { lut, labels: [] };
    if (this.open) this.nv.refreshColormaps();
    this.draw();
  }

  setOpacity(opacity) {
    this.nv.drawOpacity = opacity;
    this.draw();
  }

  /** Intensities from low to high run from black to white. */
  setWindow(low, high) {
    if (!this.open) return;
    this.#volume.cal_min = low;
    this.#volume.cal_max = high;
    this.hurried = true;
    this.nv.updateGLVolume();
    this.draw();
  }

  get window() {
    return [this.#volume.cal_min, this.#volume.cal_max];
  }

  /** The share-th intensities of the scan, from every n-th voxel. */
  percentiles(shares) {
    return percentilesOf(this.#volume, shares);
  }

  setLayout(layout) {
    this.layout = layout;
    this.#arrange();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    this.nv.uiData.dpr = ratio;
    this.#arrange();
  }

  /** Draw with the next frame of the screen; 3-D follows when the hand rests, where it is slow. */
  draw() {
    this.canvas.dataset.whole = false;
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#drawNow(!this.#slow));
  }

  /** Show the whole scan again. */
  fit() {
    this.nv.scene.pan2Dxyzmm = [0, 0, 0, 1];
    this.nv.scene.volScaleMultiplier = 1.15;
    this.nv.setRenderAzimuthElevation(120, 12);
    this.draw();
  }

  pan(from, to) {
    const pan = this.nv.scene.pan2Dxyzmm;
    const [one, other] = [from, to].map(({ frac }) => this.nv.frac2mm(frac));
    for (let axis = 0; axis < 3; axis++) pan[axis] += (other[axis] - one[axis]) * pan[3];
    this.draw();
  }

  /** Zoom the planes about a place on the screen. */
  zoom(factor, { frac }) {
    const pan = this.nv.scene.pan2Dxyzmm;
    const zoom = Math.min(20, Math.max(1, pan[3] * factor));
    const place = this.nv.frac2mm(frac);
    for (let axis = 0; axis < 3; axis++) pan[axis] += place[axis] * (pan[3] - zoom);
    pan[3] = zoom;
    if (zoom === 1) pan.fill(0, 0, 3);
    this.draw();
  }

  turn(right, down) {
    const { scene } = this.nv;
    this.nv.setRenderAzimuthElevation(scene.renderAzimuth + right, scene.renderElevation + down);
    this.draw();
  }

  zoom3D(factor) {
    this.nv.scene.volScaleMultiplier = Math.min(5, Math.max(0.5, this.nv.scene.volScaleMultiplier * factor));
    this.draw();
  }

  /** Middle of a voxel, in world mm. */
  placeOf(voxel) {
    const { shape } = this;
    return this.#world(voxel.map((one, axis) => (one + 0.5) / shape[axis]));
  }

  get place() {
    return this.placeOf(this.voxel);
  }

  /** Voxel, fractions allowed, of a place in world mm. */
  voxelOf(place) {
    const frac = this.#volume.convertMM2Frac(place, true);
    return this.shape.map((length, axis) => frac[axis] * length - 0.5);
  }

  moveTo(voxel) {
    const { shape } = this;
    this.voxel = voxel.map((one, axis) => Math.min(shape[axis] - 1, Math.max(0, Math.round(one))));
    this.#setCrosshair();
    this.draw();
  }

  moveToPlace(place) {
    this.moveTo(this.voxelOf(place));
  }

  intensityAt([x, y, z]) {
    return this.#volume.getValue(x, y, z, 0);
  }

  /** Pictures on the screen: plane, and rectangle in pixels of the page. */
  get tiles() {
    const ratio = this.nv.uiData.dpr || 1;
    return (this.open ? this.nv.screenSlices : []).map((slice, index) => ({
      index,
      plane: PLANES.find(({ type }) => type === slice.axCorSag) ?? SPACE,
      rect: slice.leftTopWidthHeight.map((one) => one / ratio),
    }));
  }

  tileAt(x, y) {
    return this.tiles.find(({ rect: [left, top, width, height] }) => {
      return x >= left && y >= top && x < left + width && y < top + height;
    });
  }

  /** What lies under a pixel of a tile: {tile, frac, voxel, place, inside}. Places outside of the scan are allowed. */
  pick(x, y, tile) {
    const ratio = this.nv.uiData.dpr || 1;
    const found = this.nv.screenXY2TextureFrac(x * ratio, y * ratio, tile.index, false);
    const frac = Array.from(found);
    const { fixed } = tile.plane;
    frac[fixed] = (this.voxel[fixed] + 0.5) / this.shape[fixed];
    const voxel = frac.map((one, axis) => one * this.shape[axis] - 0.5);
    const inside = frac.every((one) => one >= 0 && one < 1);
    return { tile, frac, voxel, place: this.#world(frac), inside };
  }

  /** Pixel of a tile at which a place in world mm is seen. */
  project(place, tile) {
    const { leftTopMM, fovMM } = this.nv.screenSlices[tile.index];
    const straight = this.nv.frac2mm(this.#volume.convertMM2Frac(place, true));
    const [left, top, width, height] = tile.rect;
    const across = (straight[tile.plane.across] - leftTopMM[0]) / fovMM[0];
    const up = (straight[tile.plane.up] - leftTopMM[1]) / fovMM[1];
    return [left + across * width, top + (1 - up) * height];
  }

  #world(frac) {
    return Array.from(this.#volume.convertFrac2MM(frac, true)).slice(0, 3);
  }

  #arrange() {
    this.#layout.arrange(this.layout, this.canvas.width, this.canvas.height);
    this.draw();
  }

  #setCrosshair() {
    const { shape } = this;
    this.nv.scene.crosshairPos = this.voxel.map((one, axis) => (one + 0.5) / shape[axis]);
  }

  /** Leave 3-D out of a picture in a hurry; the overlay shows `solid` there. */
  #rest3D() {
    const { nv } = this;
    const draw3D = nv.draw3D.bind(nv);
    nv.draw3D = (rect, ...rest) => {
      if (this.hurried) {
        const tile = { leftTopWidthHeight: rect.slice(), axCorSag: SLICE_TYPE.RENDER, sliceFrac: 0 };
        nv.screenSlices.push({ ...tile, AxyzMxy: [], leftTopMM: [], fovMM: [0, 0] });
        return "";
      }
      return this.#seeThrough(() => draw3D(rect, ...rest));
    };
  }

  /** In 3-D structures are solid, and the body is a veil over them. */
  #seeThrough(draw) {
    const { nv } = this;
    const { drawOpacity } = nv;
    const marked = drawOpacity > 0 && this.#labels?.counts.some((slices) => slices.some((count) => count > 0));
    if (marked) nv.drawOpacity = 1;
    nv.renderShader.use(nv.gl);
    nv.gl.uniform1f(nv.renderShader.uniforms.backOpacity, marked ? VEIL : 1);
    try {
      return draw();
    } finally {
      nv.drawOpacity = drawOpacity;
    }
  }

  #drawNow(with3D) {
    this.#frame = 0;
    if (!this.canvas.width) return;
    const begun = performance.now();
    this.hurried = !with3D;
    this.nv.drawScene();
    if (with3D && this.tiles.some(({ plane }) => plane === SPACE)) {
      this.#keepSolid();
      this.#awaitPicture();
      this.#slow = performance.now() - begun > SLOW_MS;
    }
    this.drawn();
    this.canvas.dataset.whole = with3D;
    clearTimeout(this.#rest);
    if (!with3D) this.#rest = setTimeout(() => this.#drawNow(true), REST_MS);
  }

  /** Wait for the graphics card: reading a pixel is the one thing that does. */
  #awaitPicture() {
    const { gl } = this.nv;
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
  }

  #keepSolid() {
    const [left, top, width, height] = this.nv.screenSlices.at(-1).leftTopWidthHeight.map(Math.round);
    this.solid.width = width;
    this.solid.height = height;
    this.solid.getContext("2d").drawImage(this.canvas, left, top, width, height, 0, 0, width, height);
  }
}
