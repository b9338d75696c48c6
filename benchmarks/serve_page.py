"""Seconds from the click on a scan to its picture, in a headless Chromium.

    python benchmarks/serve_page.py bundle=runs/x/bundle [--scan ct.nii.gz] [--times 5]

Without --scan it is a made-up CT of 512×512×300 voxels. Told are, from the click: when the voxels have arrived and are
unpacked, when the three planes are on the screen (a pixel was read back, so the graphics card or what stands for it is
done), and when 3-D is. Each time is of a page that was just loaded; the first is left out. `--shader` lets NiiVue
colour the voxels in its shader where the browser draws in software, as it did before.
"""

import sys

import nibabel as nib
import numpy as np
from serving import ROOT, machine, options_of, percentiles, served, told

sys.path.insert(0, str(ROOT))  # for the tests' browser

from tests.serve.browser import Visitor, chromium

SHAPE, SPACING_MM = (512, 512, 300), (0.8, 0.8, 1.5)
RENDERER = """(gl => gl.getParameter(gl.getExtension("WEBGL_debug_renderer_info").UNMASKED_RENDERER_WEBGL))(
  segfocal.viewer.nv.gl)"""
WATCH = """shader => {
  const { viewer } = segfocal;
  if (shader) viewer.inSoftware = false;
  const seen = (globalThis.seen = {});
  const tell = name => (seen[name] ??= performance.now());
  const { gl } = viewer.nv;
  const show = viewer.show.bind(viewer);
  viewer.show = async (...given) => { tell("unpacked"); await show(...given); };
  const draw = viewer.nv.drawScene.bind(viewer.nv);
  viewer.nv.drawScene = () => {
    draw();
    if (!viewer.open) return;
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
    tell("planes");
    if (!viewer.hurried) tell("3-D");
  };
  document.querySelector(".scan").addEventListener("click", () => tell("click"), { capture: true });
}"""


def main():
    parser = options_of(__doc__)
    parser.set_defaults(scan=None)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--shader", action="store_true")
    options = parser.parse_args()
    with served(options, lambda folder: fill(folder, options.scan)) as (_, address, _), chromium() as browser:
        rows = [opened(browser, address, options.shader) for _ in range(options.times + 1)][1:]
        renderer = rows[0].pop("renderer")
    report = {**machine(), "renderer": renderer, "seconds": {}}
    for name in ("unpacked", "planes", "3-D"):
        report["seconds"][name] = percentiles([(row[name] - row["click"]) / 1000 for row in rows])
    told(report, options)


def fill(folder, scan):
    if scan is not None:
        (folder / scan.name).symlink_to(scan.resolve())
        return
    i, j, k = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    inside = ((i - 256) / 200) ** 2 + ((j - 256) / 150) ** 2 < 1
    noise = np.random.default_rng(0).normal(0, 12, SHAPE).astype(np.float32)
    voxels = np.where(inside, 40 + 30 * np.sin(i / 30) * np.cos(j / 25) * np.sin(k / 20), -1000) + noise
    nib.save(nib.Nifti1Image(voxels.astype(np.int16), np.diag([*SPACING_MM, 1.0])), folder / "ct.nii.gz")


def opened(browser, address, shader):
    """Open the scan once; return when what was seen, in milliseconds of the page."""
    person = Visitor(browser, address)
    person.page.evaluate(WATCH, shader)
    person.page.click(".scan")
    person.page.wait_for_selector("#empty", state="hidden", timeout=120_000)
    person.rest()
    seen = person.page.evaluate("seen")
    seen["renderer"] = person.page.evaluate(RENDERER)
    person.page.close()
    return seen


if __name__ == "__main__":
    main()
