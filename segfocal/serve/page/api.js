// The server's HTTP interface: JSON out, JSON or bytes in; what goes wrong is one line for a person.

export class ServerError extends Error {
  /**
   * @param {string} message - one line
   * @param {number} status - of HTTP; 0 where no answer came
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function lineOf(response) {
  try {
    const { error } = await response.json();
    if (typeof error === "string" && error) return error;
  } catch {
    // no JSON: a proxy's page, or nothing
  }
  if (response.status === 401) return "The token is missing or wrong. Open the address that `segfocal serve` printed.";
  return `The server answered ${response.status} ${response.statusText}`.trim();
}

/** Send a request; return the response, or throw a ServerError. */
export async function request(path, { method = "GET", body, headers = {} } = {}) {
  let response;
  try {
    response = await fetch(path, { method, body, cache: "no-store", headers: { "X-Segfocal": "1", ...headers } });
  } catch {
    throw new ServerError("The server does not answer. Start `segfocal serve` again and reload: no click is lost.", 0);
  }
  if (!response.ok) throw new ServerError(await lineOf(response), response.status);
  return response;
}

export async function getJson(path) {
  return (await request(path)).json();
}

/** Send an object as JSON; return the answer's. */
export async function sendJson(path, value = {}, method = "POST") {
  const headers = { "Content-Type": "application/json" };
  return (await request(path, { method, body: JSON.stringify(value), headers })).json();
}

/** Upload a file as it is; return its scan's id and name. */
export async function upload(file) {
  const path = `/api/scans?name=${encodeURIComponent(file.name)}`;
  return (await request(path, { method: "POST", body: file })).json();
}

/** Fetch a NIfTI file and unpack it while it arrives; return its bytes. */
export async function fetchNifti(path) {
  const response = await request(path);
  const packed = path.endsWith(".gz") && !response.headers.get("Content-Encoding");
  const stream = packed ? response.body.pipeThrough(new DecompressionStream("gzip")) : response.body;
  return new Response(stream).arrayBuffer();
}

const three = (text) => text.split(",").map(Number);

/**
 * Fetch the label values of the box that changed after a revision.
 *
 * @returns {{lower: number[], upper: number[], values: Uint8Array|Uint16Array}|null} half-open, in the file's voxels, the
 *   first axis fastest; null where nothing changed
 */
export async function fetchLabels(session, since, which = "mask") {
  const response = await request(`/api/sessions/${session}/${which}.bin?since=${since}`);
  if (response.status === 204) return null;
  const bytes = await response.arrayBuffer();
  const values = response.headers.get("X-Dtype") === "uint16" ? new Uint16Array(bytes) : new Uint8Array(bytes);
  const [lower, upper] = [three(response.headers.get("X-Lower")), three(response.headers.get("X-Upper"))];
  return { lower, upper, values, revision: Number(response.headers.get("X-Revision")) };
}
