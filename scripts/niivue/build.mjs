// Bundles NiiVue for the page, writes its licences beside it, and the sums that a test compares.
//
//     cd scripts/niivue && npm ci --ignore-scripts && npm run build
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const vendor = path.join(here, "../../segfocal/serve/page/vendor");

// The one change to NiiVue: order 0 makes no texture of gradients. It makes one of every scan, 2 × 4 bytes a voxel and most
// of the time that a scan takes to open where there is no graphics card; only lighting in 3-D reads it, which is off.
const withoutGradients = {
  name: "without-gradients",
  setup: ({ onLoad }) =>
    onLoad({ filter: /@niivue\/niivue\/build\/niivue\/index\.js$/ }, async ({ path: file }) => {
      const text = await readFile(file, "utf8");
      const head = "function gradientGL(params) {";
      if (text.split(head).length !== 2) throw new Error(`expected one "${head}" in ${file}`);
      return { contents: text.replace(head, `${head} if (params.gradientOrder === 0) return params.gradientTexture;`) };
    }),
};

const result = await build({
  absWorkingDir: here,
  entryPoints: ["niivue.js"],
  outfile: path.join(vendor, "niivue.js"),
  alias: { zarrita: path.join(here, "without_zarr.js") },
  bundle: true,
  format: "esm",
  legalComments: "none",
  metafile: true,
  minify: true,
  plugins: [withoutGradients],
  target: "es2022",
});

const packages = new Set();
for (const input of Object.keys(result.metafile.inputs)) {
  const found = input.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//);
  if (found) packages.add(found[1]);
}
const licences = [];
for (const name of [...packages].sort()) {
  const folder = path.join(here, "node_modules", name);
  const { version, license } = JSON.parse(await readFile(path.join(folder, "package.json"), "utf8"));
  // The package of NiiVue carries no licence file: ours is the one of its repository.
  const file = ["LICENSE", "LICENSE.md", "LICENSE.txt", "license"].map((one) => path.join(folder, one)).find(existsSync);
  const kept = path.join(here, "licences", name.replace("/", "__") + ".txt");
  const text = await readFile(file ?? kept, "utf8");
  licences.push(`${name} ${version} (${license})\n${"=".repeat(72)}\n\n${text.trim()}\n`);
}
await writeFile(path.join(vendor, "LICENCES.txt"), licences.join("\n\n"));

const sums = [];
for (const name of ["niivue.js", "LICENCES.txt"]) {
  const sum = createHash("sha256").update(await readFile(path.join(vendor, name))).digest("hex");
  sums.push(`${sum}  ${name}\n`);
}
await writeFile(path.join(vendor, "SHA256SUMS"), sums.join(""));
console.log(`${[...packages].sort().join(", ")}\n${sums.join("")}`);
