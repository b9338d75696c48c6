// Stands in for zarrita, the reader of Zarr: it brings WebAssembly and 0.5 MB that a page of NIfTI files never runs.
const none = () => {
  throw new Error("Zarr is not read here");
};
export { none as FetchStore, none as get, none as open, none as root, none as slice };
