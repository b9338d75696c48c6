// Colours of voxels, made here where no graphics card is: NiiVue's pass over all voxels is a shader, and what draws
// in software takes six times as long for it. Every new window is such a pass.

const STEPS = 4096; // of floating-point intensities, from black to white

/** Whether pictures are drawn by the processor. */
export function drawsInSoftware(gl) {
  const known = gl.getExtension("WEBGL_debug_renderer_info");
  const name = gl.getParameter(known ? known.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}

/** Take the place of NiiVue's pass for scans of one number a voxel, as long as `wanted()`. */
export function colourHere(nv, wanted) {
  const pass = nv.refreshLayers.bind(nv);
  nv.refreshLayers = (volume, layer) => {
    if (!wanted() || layer !== 0 || !(volume.img.constructor.name in RANGES)) return pass(volume, layer);
    withoutDrawing(nv.gl, () => pass(volume, layer));
    upload(nv, volume);
  };
}

const RANGES = { Uint8Array: [0, 256], Int16Array: [-32768, 65536], Uint16Array: [0, 65536], Float32Array: null, Float64Array: null };

/** Let NiiVue set up all but the voxels. */
function withoutDrawing(gl, run) {
  const { texStorage3D } = gl;
  gl.drawArrays = gl.texSubImage3D = () => {};
  gl.texStorage3D = (target, levels, format, ...size) => format === gl.RGBA8 && texStorage3D.call(gl, target, levels, format, ...size);
  try {
    run();
  } finally {
    for (const name of ["drawArrays", "texSubImage3D", "texStorage3D"]) delete gl[name];
  }
}

/** Write the colours of all voxels into the texture of the scan, slice by slice. */
function upload(nv, volume) {
  const { gl } = nv;
  const [width, height, depth] = volume.dimsRAS.slice(1, 4);
  const { start, steps } = walkOf(volume);
  const colours = new Uint32Array(width * height);
  const bytes = new Uint8Array(colours.buffer);
  const colour = colouring(nv, volume);
  gl.activeTexture(gl.TEXTURE0);
  gl.bindTexture(gl.TEXTURE_3D, nv.volumeTexture);
  gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  for (let z = 0; z < depth; z++) {
    for (let y = 0; y < height; y++) colour(colours, y * width, width, start + y * steps[1] + z * steps[2], steps[0]);
    gl.texSubImage3D(gl.TEXTURE_3D, 0, 0, 0, z, width, height, 1, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
  }
}

/** Where the first voxel of the page's order lies in the file's, and how far its axes step there. */
function walkOf({ permRAS, hdr }) {
  const dims = hdr.dims.slice(1, 4);
  const strides = [1, dims[0], dims[0] * dims[1]];
  let start = 0;
  const steps = Array.from(permRAS, (signed) => {
    const axis = Math.abs(signed) - 1;
    if (signed < 0) start += (dims[axis] - 1) * strides[axis];
    return signed < 0 ? -strides[axis] : strides[axis];
  });
  return { start, steps };
}

/** A function that writes the colours of a row: (colours, at, count, from, step). */
function colouring(nv, volume) {
  const { img } = volume;
  const { scl_slope: slope, scl_inter: inter } = volume.hdr;
  const range = RANGES[img.constructor.name];
  if (range) {
    const [first, count] = range;
    const table = tableOf(nv, volume, count, (index) => slope * (first + index) + inter);
    return (colours, at, length, from, step) => {
      for (let n = 0, read = from; n < length; n++, read += step) colours[at + n] = table[img[read] - first];
    };
  }
  const [low, high] = [volume.cal_min, volume.cal_max];
  const table = tableOf(nv, volume, STEPS, (index) => low + ((high - low) * index) / (STEPS - 1));
  const scale = ((STEPS - 1) * slope) / (high - low);
  const shift = ((STEPS - 1) * (inter - low)) / (high - low);
  return (colours, at, length, from, step) => {
    for (let n = 0, read = from; n < length; n++, read += step) {
      const index = img[read] * scale + shift;
      colours[at + n] = table[index > 0 ? Math.min(STEPS - 1, Math.ceil(index)) : 0]; // not a number: the lowest
    }
  };
}

/** Colours of intensities, as NiiVue's shader finds them: between two of its 256, and never the lowest above the window. */
function tableOf(nv, volume, count, intensityOf) {
  const palette = nv.colormap(volume.colormap, volume.colormapInvert);
  const { cal_min: low, cal_max: high } = volume;
  const bytes = new Uint8ClampedArray(4 * count);
  for (let index = 0; index < count; index++) {
    const intensity = intensityOf(index);
    const share = (intensity - low) / Math.max(0.00001, high - low);
    const place = Math.min(255, Math.max(0, (intensity > low ? Math.max(share, 2 / 256) : 0) * 256 - 0.5));
    const [one, part] = [Math.floor(place), place % 1];
    for (let channel = 0; channel < 4; channel++) {
      const [a, b] = [palette[4 * one + channel], palette[4 * Math.min(255, one + 1) + channel]];
      bytes[4 * index + channel] = a + (b - a) * part;
    }
  }
  return new Uint32Array(bytes.buffer);
}
