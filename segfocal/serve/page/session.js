// One open scan: what the server says of it, and the requests that change it, one after another.

import { fetchLabels, getJson, sendJson, ServerError } from "./api.js";

export class Session extends EventTarget {
  #last = Promise.resolve();
  #masked = 0; // the revision that the mask on the page shows
  #waiting = 0;
  #asked = null; // of which structure and revision the problems are
  #answer = null; // a promise of them

  /** @param {object} facts - as the server answers them, see docs/serve.md */
  constructor(facts) {
    super();
    this.facts = facts;
    this.prompts = [];
    this.problems = [];
    this.closed = false;
  }

  static async open(scan) {
    return new Session(await sendJson("/api/sessions", { scan }));
  }

  get path() {
    return `/api/sessions/${this.facts.session}`;
  }

  get busy() {
    return this.#waiting > 0;
  }

  /** Fetch what changed of the mask; null where nothing did. */
  async changedLabels() {
    const labels = await fetchLabels(this.facts.session, this.#masked);
    if (labels) this.#masked = labels.revision;
    return labels;
  }

  async readPrompts() {
    this.prompts = (await getJson(`${this.path}/prompts`)).prompts;
    this.#tell("prompts");
  }

  /** Ask which slices of a structure to look at, unless that is known. */
  async readProblems(structure) {
    const about = `${structure} ${this.facts.revision}`;
    if (about !== this.#asked) {
      this.#asked = about;
      this.#answer = this.#askProblems(structure, about);
    }
    return this.#answer;
  }

  async #askProblems(structure, about) {
    try {
      const { slices } = await getJson(`${this.path}/disagreement?structure=${encodeURIComponent(structure)}`);
      if (about !== this.#asked) return; // another structure was chosen meanwhile
      this.problems = slices;
      this.#tell("problems");
    } catch (error) {
      this.#asked = null;
      throw error;
    }
  }

  /** The Dice of a structure with the reference, where an evaluation is looked at. */
  diceOf(structure) {
    return this.facts.dice?.[structure] ?? null;
  }

  progress() {
    return getJson(`${this.path}/progress`);
  }

  cancel() {
    return sendJson(`${this.path}/cancel`);
  }

  prompt(structure, kind, positive, places, plane) {
    return this.#change("prompts", { structure, kind, positive, world_mm: places, plane });
  }

  absent(structure, place) {
    return this.#change("absent", { structure, world_mm: [place] });
  }

  stroke(structure, places, radius, plane, erase) {
    const edit = { structure, world_mm: places, radius_mm: radius, plane, erase };
    return this.#change("edits", edit, "PUT");
  }

  undo() {
    return this.#change("undo");
  }

  redo() {
    return this.#change("redo");
  }

  reset(structure) {
    return this.#change("reset", { structure });
  }

  carry() {
    return this.#change("carry", { reach_mm: null });
  }

  predict() {
    return this.#change("predict");
  }

  save() {
    return this.#change("save");
  }

  /** Send a change when those before it are answered; answers in order, so that a revision always fits. */
  #change(name, body = {}, method = "POST") {
    this.#waiting += 1;
    this.#tell("busy");
    const answer = this.#last.then(() => this.#send(name, body, method));
    this.#last = answer.catch(() => null);
    return answer;
  }

  async #send(name, body, method) {
    try {
      if (this.closed) return null;
      const revision = this.facts.revision;
      const answer = await sendJson(`${this.path}/${name}`, { ...body, revision }, method);
      this.facts = { ...this.facts, ...answer };
      await this.follow();
      return answer;
    } catch (error) {
      if (error instanceof ServerError && error.status === 409) await this.#catchUp();
      throw error;
    } finally {
      this.#waiting -= 1;
      this.#tell("busy");
    }
  }

  /** Show what another tab, or a stopped job, left behind. */
  async #catchUp() {
    this.facts = { ...this.facts, ...(await getJson(this.path)) };
    await this.follow();
  }

  /** Bring mask and prompts up to date. */
  async follow() {
    const labels = await this.changedLabels();
    this.dispatchEvent(new CustomEvent("labels", { detail: labels }));
    await this.readPrompts();
    this.#tell("facts");
  }

  #tell(name) {
    this.dispatchEvent(new Event(name));
  }
}
