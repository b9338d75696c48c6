// What the page takes of NiiVue; esbuild leaves out what nothing here reaches.
export { Niivue, NVImage, SLICE_TYPE } from "@niivue/niivue";
