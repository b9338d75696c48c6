// The mask as the page holds it: one byte a voxel, in NiiVue's own order, whose axes run to right, anterior and superior.

/** Size of a half-open box. */
export const sizeOf = ({ lower, upper }) => upper.map((end, axis) => end - lower[axis]);

/** The smallest box that holds both; either may be null. */
export function joined(one, other) {
  if (!one || !other) return one ?? other;
  return {
    lower: one.lower.map((start, axis) => Math.min(start, other.lower[axis])),
    upper: one.upper.map((end, axis) => Math.max(end, other.upper[axis])),
  };
}

export class Labels {
  /**
   * @param {number[]} shape - of the scan as its file stores it
   * @param {number[]} order - for each axis of the page the file's, counted from 1; negative where it is reversed
   * @param {number} sliceAxis - the page's axis along which the model's slices run
   * @param {{value: number}[]} structures - voxels of the n-th are n + 1 here, whatever their value in the file
   */
  constructor(shape, order, sliceAxis, structures) {
    this.order = order;
    this.shape = order.map((axis) => shape[Math.abs(axis) - 1]);
    this.fileShape = shape;
    this.sliceAxis = sliceAxis;
    this.structures = structures;
    this.data = new Uint8Array(shape[0] * shape[1] * shape[2]);
    this.numberOf = new Uint8Array(65536);
    structures.forEach(({ value }, index) => (this.numberOf[value] = index + 1));
    /** Voxels of each structure on each slice. */
    this.counts = structures.map(() => new Uint32Array(this.shape[sliceAxis]));
    this.previews = [];
  }

  get strides() {
    return [1, this.shape[0], this.shape[0] * this.shape[1]];
  }

  /** Bring a half-open box of the file's voxels to the page's. */
  boxOf({ lower, upper }) {
    const box = { lower: [], upper: [] };
    this.order.forEach((signed, axis) => {
      const from = Math.abs(signed) - 1;
      const length = this.fileShape[from];
      box.lower[axis] = signed > 0 ? lower[from] : length - upper[from];
      box.upper[axis] = signed > 0 ? upper[from] : length - lower[from];
    });
    return box;
  }

  /** Put the values of a box of the file in place; return the box on the page. */
  put({ lower, upper, values }) {
    const [ni, nj, nk] = sizeOf({ lower, upper });
    const box = this.boxOf({ lower, upper });
    this.#count(box, -1);
    const step = [0, 0, 0]; // along the file's axes, in this.data
    let start = 0;
    this.order.forEach((signed, axis) => {
      const from = Math.abs(signed) - 1;
      const stride = this.strides[axis];
      step[from] = signed > 0 ? stride : -stride;
      start += (signed > 0 ? lower[from] : this.fileShape[from] - 1 - lower[from]) * stride;
    });
    const { data, numberOf } = this;
    let read = 0;
    for (let k = 0; k < nk; k++) {
      for (let j = 0; j < nj; j++) {
        let write = start + j * step[1] + k * step[2];
        for (let i = 0; i < ni; i++, write += step[0]) data[write] = numberOf[values[read++]];
      }
    }
    this.#count(box, 1);
    return box;
  }

  /** Voxels of a box as bytes of their own, the first axis fastest. */
  cut({ lower, upper }) {
    const [nx, ny, nz] = sizeOf({ lower, upper });
    const [, row, plane] = this.strides;
    const bytes = new Uint8Array(nx * ny * nz);
    for (let z = 0, at = 0; z < nz; z++) {
      for (let y = 0; y < ny; y++, at += nx) {
        const from = lower[0] + (lower[1] + y) * row + (lower[2] + z) * plane;
        bytes.set(this.data.subarray(from, from + nx), at);
      }
    }
    return bytes;
  }

  /** The structure at a voxel; null outside of all. */
  at([x, y, z]) {
    const [, row, plane] = this.strides;
    return this.structures[this.data[x + y * row + z * plane] - 1] ?? null;
  }

  /**
   * Paint a disc round one place of a stroke: a preview until the server has answered.
   *
   * @param {number[]} place - a voxel, fractions allowed
   * @param {number} fixed - the axis that the plane is seen along
   * @param {number[]} radius - in voxels, along each axis
   * @param {(old: number) => number} become
   * @returns the box that may have changed
   */
  paint(place, fixed, radius, become) {
    const reach = radius.map((length, axis) => (axis === fixed ? 0 : length));
    const centre = place.map((one, axis) => (axis === fixed ? Math.round(one) : one));
    const box = {
      lower: centre.map((one, axis) => Math.max(0, Math.ceil(one - reach[axis]))),
      upper: centre.map((one, axis) => Math.min(this.shape[axis], Math.floor(one + reach[axis]) + 1)),
    };
    if (sizeOf(box).some((length) => length <= 0)) return box;
    this.previews.push({ box, bytes: this.cut(box) });
    const [, row, plane] = this.strides;
    for (let z = box.lower[2]; z < box.upper[2]; z++) {
      for (let y = box.lower[1]; y < box.upper[1]; y++) {
        for (let x = box.lower[0]; x < box.upper[0]; x++) {
          const away = [x, y, z].map((one, axis) => (reach[axis] ? (one - centre[axis]) / reach[axis] : 0));
          const index = x + y * row + z * plane;
          if (Math.hypot(...away) <= 1) this.data[index] = become(this.data[index]);
        }
      }
    }
    return box;
  }

  /** Take all previews back; return the box that they lie in, or null. */
  unpaint() {
    let all = null;
    for (const { box, bytes } of this.previews.reverse()) {
      this.#paste(box, bytes);
      all = joined(all, box);
    }
    this.previews = [];
    return all;
  }

  #paste({ lower, upper }, bytes) {
    const [nx, ny, nz] = sizeOf({ lower, upper });
    const [, row, plane] = this.strides;
    for (let z = 0, at = 0; z < nz; z++) {
      for (let y = 0; y < ny; y++, at += nx) {
        this.data.set(bytes.subarray(at, at + nx), lower[0] + (lower[1] + y) * row + (lower[2] + z) * plane);
      }
    }
  }

  #count({ lower, upper }, sign) {
    const [nx, ny, nz] = sizeOf({ lower, upper });
    const [, row, plane] = this.strides;
    for (let z = lower[2]; z < lower[2] + nz; z++) {
      for (let y = lower[1]; y < lower[1] + ny; y++) {
        const from = y * row + z * plane;
        for (let x = lower[0]; x < lower[0] + nx; x++) {
          const number = this.data[from + x];
          if (number) this.counts[number - 1][this.sliceAxis === 2 ? z : this.sliceAxis === 1 ? y : x] += sign;
        }
      }
    }
  }
}
