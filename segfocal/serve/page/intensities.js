// What a scan's intensities are, from a sample of its voxels.

import { NVImage } from "./vendor/niivue.js";

/** The share-th intensities of an image, from every n-th voxel. */
export function percentilesOf({ img, hdr }, shares) {
  const step = Math.max(1, Math.floor(img.length / 50021)) | 1;
  const values = [];
  for (let index = 0; index < img.length; index += step) if (Number.isFinite(img[index])) values.push(img[index]);
  values.sort((one, other) => one - other);
  const slope = hdr.scl_slope || 1;
  return shares.map((share) => (values[Math.round(share * (values.length - 1))] ?? 0) * slope + (hdr.scl_inter || 0));
}

// NiiVue's own goes over every voxel three times, which takes seconds; the page chooses its window itself.
NVImage.prototype.calMinMax = function calMinMax() {
  [this.global_min, this.cal_min, this.cal_max, this.global_max] = percentilesOf(this, [0, 0.02, 0.98, 1]);
  [this.robust_min, this.robust_max] = [this.cal_min, this.cal_max];
  return [this.cal_min, this.cal_max, this.global_min, this.global_max];
};
