// The planes, and where on the screen each of them and 3-D are seen.

import { SLICE_TYPE } from "./vendor/niivue.js";

export const PLANES = [
  // fixed: the axis that a plane is seen along; across, up: those of the screen
  { name: "axial", type: SLICE_TYPE.AXIAL, fixed: 2, across: 0, up: 1, ends: ["R", "L", "A", "P"] },
  { name: "coronal", type: SLICE_TYPE.CORONAL, fixed: 1, across: 0, up: 2, ends: ["R", "L", "S", "I"] },
  { name: "sagittal", type: SLICE_TYPE.SAGITTAL, fixed: 0, across: 1, up: 2, ends: ["P", "A", "S", "I"] },
];
export const SPACE = { name: "3-D", type: SLICE_TYPE.RENDER, fixed: null };
export const LAYOUTS = ["four", "axial", "coronal", "sagittal", "3-D"];

const LARGE = 0.655; // share of the large picture

/** Rectangles of the shown pictures, as [view, [left, top, width, height]] in shares of the screen. */
function placesOf(layout, wide) {
  const views = [...PLANES, SPACE];
  const single = views.find(({ name }) => name === layout);
  if (single) return [[single, [0, 0, 1, 1]]];
  const small = [0, 1, 2].map((n) => (wide ? [LARGE, n / 3, 1 - LARGE, 1 / 3] : [n / 3, LARGE, 1 / 3, 1 - LARGE]));
  const places = [wide ? [0, 0, LARGE, 1] : [0, 0, 1, LARGE], ...small];
  return views.map((view, n) => [view, places[n]]);
}

export class Layout {
  #sizes = new Map();

  /** @param {Niivue} nv - whose pictures then fill their rectangles: by itself it draws no more than the scan's own */
  constructor(nv) {
    this.nv = nv;
    const whole = nv.screenFieldOfViewExtendedVox.bind(nv);
    nv.screenFieldOfViewExtendedVox = (type) => this.#widened(whole(type), type);
    nv.calculateWidthHeight = (_type, _scale, width, height) => [width, height];
  }

  /** Place the pictures on a screen of so many pixels. */
  arrange(name, width, height) {
    const shown = placesOf(name, width > 1.2 * height);
    this.#sizes = new Map(shown.map(([{ type }, at]) => [type, [at[2] * width, at[3] * height]]));
    this.nv.setCustomLayout(shown.map(([{ type }, position]) => ({ sliceType: type, position })));
  }

  #widened(view, type) {
    const size = this.#sizes.get(type) ?? [1, 1];
    const mm = Math.max(view.fovMM[0] / size[0], view.fovMM[1] / size[1]); // a pixel
    size.forEach((pixels, axis) => {
      const [middle, half] = [(view.mnMM[axis] + view.mxMM[axis]) / 2, (pixels * mm) / 2];
      view.mnMM[axis] = middle - half;
      view.mxMM[axis] = middle + half;
      view.fovMM[axis] = 2 * half;
    });
    return view;
  }
}
