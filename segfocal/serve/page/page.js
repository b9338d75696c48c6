// The page as a whole: which scan is open, and what each button and key does with it.

import { fetchNifti } from "./api.js";
import { Compare, DIFFERENCES } from "./compare.js";
import { Labels } from "./labels.js";
import { LAYOUTS, PLANES } from "./layout.js";
import { Markers } from "./markers.js";
import { follow } from "./notices.js";
import { Scans } from "./scans.js";
import { Session } from "./session.js";
import { Strip } from "./strip.js";
import { Structures } from "./structures.js";
import { sizeTold, tellPlace, tellProblem, tellState, tellTitle } from "./telling.js";
import { Hand, TOOLS } from "./tools.js";
import { Viewer } from "./viewer.js";
import { Windows } from "./windows.js";

const find = (selector) => document.querySelector(selector);

export class Page {
  session = null;
  labels = null;
  hidden = false;
  opacity = 0.3;
  #opening = 0;

  constructor(about, notices) {
    Object.assign(this, { about, notices });
    this.viewer = new Viewer(find("#view"), () => this.#drawn());
    this.markers = new Markers(find("#marks"), this.viewer);
    this.structures = new Structures(find("#structures"), (chosen) => {
      this.#recolour();
      if (chosen) this.#lookForProblems();
      else if (this.compare?.shown === "difference") this.#showCompared();
    });
    this.compare = about.viewing ? new Compare(() => this.#showCompared()) : null;
    this.scans = new Scans(find("#scans"), (scan) => this.open(scan), notices);
    this.strip = new Strip(find("#strip"), (slice) => this.goToSlice(slice));
    this.windows = new Windows(this.viewer, about.presets);
    this.markers.modelPlane = () => this.modelPlane.name;
    this.markers.colourOf = (name) => this.structures.colourOf(name);
    this.hand = new Hand(this.viewer, this.markers, {
      prompt: (...prompt) => this.prompt(...prompt),
      paint: (pick, erase) => this.paint(pick, erase),
      stroke: (...stroke) => this.stroke(...stroke),
      moved: (pick) => tellPlace(this, pick),
      window: (low, high) => this.windows.set(low, high),
      hint: (text) => notices.say(text),
      modelPlane: () => this.modelPlane.name,
      colour: () => this.structures.current?.colour ?? "#ffffff",
    });
  }

  async start() {
    await this.viewer.start();
    new ResizeObserver(() => this.resize()).observe(find("#stage"));
    this.resize();
    this.structures.set(this.about.structures);
    for (const kind of ["point", "box", "scribble", "lasso"]) {
      const tools = kind === "point" ? ["inside", "outside"] : [kind];
      for (const tool of tools) find(`[data-tool=${tool}]`).disabled = !this.about.prompts[kind];
    }
    this.chooseTool("move");
    this.setOpacity(this.opacity);
    tellState(this);
    await this.scans.read();
    const wanted = new URLSearchParams(location.hash.slice(1)).get("scan");
    const scan = this.scans.all.find(({ id }) => id === wanted);
    if (scan) await this.open(scan);
  }

  resize() {
    this.viewer.resize();
    this.markers.resize();
    this.strip.draw();
  }

  /** The picture that shows the slices of the model. */
  get modelPlane() {
    return PLANES.find(({ fixed }) => fixed === (this.labels?.sliceAxis ?? 2));
  }

  get slice() {
    return this.viewer.voxel[this.modelPlane.fixed];
  }

  async open(scan) {
    const turn = ++this.#opening;
    this.leave();
    this.scans.mark(scan.id);
    tellTitle(scan.name, "opening …");
    this.notices.show({ text: `Opening ${scan.name}` });
    try {
      const session = await Session.open(scan.id);
      const bytes = await fetchNifti(session.facts.image);
      if (turn !== this.#opening) return;
      await this.#show(session, bytes, scan);
      history.replaceState(null, "", `#scan=${encodeURIComponent(scan.id)}`);
    } catch (error) {
      if (turn !== this.#opening) return;
      this.leave();
      this.scans.mark(null);
      this.notices.fail(error);
    } finally {
      if (turn === this.#opening) this.notices.show(null);
    }
  }

  async #show(session, bytes, scan) {
    const { facts } = session;
    facts.dice = scan.dice;
    await this.viewer.show(bytes, facts.affine, () => this.windows.first());
    const sliceAxis = this.viewer.order.findIndex((axis) => Math.abs(axis) - 1 === facts.slice_axis);
    this.labels = new Labels(facts.shape, this.viewer.order, sliceAxis, this.about.structures);
    this.viewer.setLabels(this.labels);
    this.session = session;
    session.addEventListener("labels", ({ detail }) => this.#applyLabels(detail));
    session.addEventListener("problems", () => (this.problem = null));
    session.addEventListener("facts", () => this.scans.tell(session.facts));
    for (const name of ["facts", "prompts", "problems", "busy"]) session.addEventListener(name, () => tellState(this));
    follow(session, this.notices);
    find("#empty").hidden = true;
    find("#no-image").hidden = facts.has_image !== false;
    tellTitle(facts.name, sizeTold(session));
    this.#recolour();
    this.notices.show({ text: "Reading the mask" }); // the server brings the scan to the model meanwhile
    await session.follow();
    if (this.compare) await this.#readReference(session);
    await this.#lookForProblems();
    if (this.compare && this.session?.problems.length) this.stepProblem(1);
  }

  async #readReference(session) {
    await this.compare.read(session.facts.session, this.labels);
    if (session === this.session) this.#showCompared();
  }

  /** Lay the mask over the scan that is chosen among prediction, reference and difference. */
  #showCompared() {
    const labels = this.session && this.compare.labels(this.structures.all);
    if (!labels) return;
    this.viewer.showLabels(labels);
    this.#recolour();
  }

  leave() {
    this.compare?.forget();
    if (this.session) {
      this.session.closed = true;
      this.notices.show(null);
    }
    this.session = this.labels = null;
    this.viewer.close();
    find("#empty").hidden = false;
    tellTitle("", "");
    tellState(this);
  }

  // What the hand draws

  prompt(kind, positive, places, plane) {
    const kept = thinned(places, this.about.limits.places_of_a_prompt[kind]);
    this.#ask((session) => session.prompt(this.structures.current.name, kind, positive, kept, plane));
  }

  paint(pick, erase) {
    if (!this.labels) return;
    const number = this.structures.chosen + 1;
    const radius = this.viewer.spacing.map((mm) => this.hand.brushMm / mm);
    const become = erase ? (old) => (old === number ? 0 : old) : () => number;
    this.viewer.refreshLabels(this.labels.paint(pick.voxel, pick.tile.plane.fixed, radius, become));
  }

  stroke(places, plane, erase) {
    const { name } = this.structures.current;
    const kept = thinned(places, this.about.limits.places_of_a_prompt.scribble);
    if (kept.length) this.#ask((session) => session.stroke(name, kept, this.hand.brushMm, plane, erase));
    else this.#applyLabels(null);
  }

  // What buttons and keys do

  chooseTool(tool) {
    if (find(`[data-tool=${tool}]`).disabled) return this.notices.say("This model takes no prompts: use brush and eraser.");
    this.hand.choose(tool);
    document.querySelectorAll("[data-tool]").forEach((one) => one.setAttribute("aria-pressed", one.dataset.tool === tool));
    const how = this.about.prompts[tool]; // a scribble may reach the model as points
    this.notices.say(TOOLS[tool].hint + (typeof how === "string" ? ` The model sees it ${how}.` : ""));
  }

  chooseStructure(index) {
    this.structures.choose(index);
  }

  resizeBrush(factor) {
    this.setBrush(Math.min(60, Math.max(1, Math.round(this.hand.brushMm * factor * 2) / 2)));
  }

  setBrush(mm) {
    this.hand.brushMm = mm;
    find("#brush-size").value = mm;
    find("#brush-size + output").value = `${mm} mm`;
    if (this.markers.brush) this.markers.brush.mm = mm;
    this.markers.draw();
  }

  setOpacity(opacity) {
    this.opacity = Math.min(1, Math.max(0, opacity));
    this.hidden = false;
    find("#opacity").value = this.opacity;
    find("#opacity + output").value = `${Math.round(100 * this.opacity)} %`;
    this.viewer.setOpacity(this.opacity);
  }

  fade(by) {
    this.setOpacity(Math.round((this.opacity + by) * 20) / 20);
  }

  toggleMask() {
    this.hidden = !this.hidden;
    this.viewer.setOpacity(this.hidden ? 0 : this.opacity);
  }

  useAtCrosshair() {
    if (this.session) this.hand.useAtCrosshair();
  }

  drop() {
    this.hand.drop();
    if (this.labels) this.#applyLabels(null);
  }

  undo() {
    if (this.session?.facts.can_undo) this.#ask((session) => session.undo());
  }

  redo() {
    if (this.session?.facts.can_redo) this.#ask((session) => session.redo());
  }

  reset() {
    this.#ask((session) => session.reset(this.structures.current.name));
  }

  absent() {
    this.#ask((session) => session.absent(this.structures.current.name, this.viewer.place));
  }

  carry() {
    this.#ask((session) => session.carry()).then(() => this.#lookForProblems());
  }

  predict() {
    if (!this.about.without_prompt) return this.notices.say("This model answers prompts only: give it a box or a point first.");
    return this.#ask((session) => session.predict()).then(() => this.#lookForProblems());
  }

  async save() {
    const answer = await this.#ask((session) => session.save());
    if (!answer) return;
    this.notices.say(`Saved ${answer.mask}`);
    await this.scans.read().catch((error) => this.notices.fail(error));
    this.onSaved?.(answer, this.session);
  }

  nextScan() {
    const scan = this.scans.next();
    if (scan) this.open(scan);
    else this.notices.say("There is no other scan.");
  }

  step(by) {
    if (this.session) this.goToSlice(this.slice + by);
  }

  goToSlice(slice) {
    if (!this.session) return;
    const voxel = [...this.viewer.voxel];
    voxel[this.modelPlane.fixed] = slice;
    this.viewer.moveTo(voxel);
  }

  /** Go to the next slice to look at, in the order of the server: the worst first. */
  async stepProblem(by) {
    if (!this.session) return;
    await this.#lookForProblems();
    const { problems } = this.session;
    if (!problems.length) return this.notices.say(this.compare ? "No slice differs in this structure." : "No slice disagrees, none is empty between marked ones.");
    this.problem = ((this.problem ?? (by > 0 ? -1 : 0)) + by + problems.length) % problems.length;
    this.viewer.moveToPlace(problems[this.problem].world_mm);
    tellProblem(this);
  }

  nextWindow() {
    if (this.session) this.windows.next();
  }

  nextLayout() {
    this.setLayout(LAYOUTS[(LAYOUTS.indexOf(this.viewer.layout) + 1) % LAYOUTS.length]);
  }

  setLayout(layout) {
    find("#layout").value = layout;
    this.viewer.setLayout(layout);
  }

  fit() {
    this.viewer.fit();
  }

  help() {
    find("#help-dialog").showModal();
  }

  // What follows from an answer

  /** Send something to the session; what goes wrong is told, and null is returned. */
  async #ask(send) {
    const { session } = this;
    if (!session) return void this.notices.say("Open a scan first.");
    this.notices.clear();
    try {
      return await send(session);
    } catch (error) {
      if (session === this.session) {
        this.#applyLabels(null);
        this.notices.fail(error);
      }
      return null;
    }
  }

  #applyLabels(labels) {
    if (!this.labels) return;
    const preview = this.labels.unpaint();
    if (labels) this.viewer.refreshLabels(this.labels.put(labels));
    if (preview) this.viewer.refreshLabels(preview);
  }

  async #lookForProblems() {
    try {
      await this.session?.readProblems(this.structures.current.name);
    } catch (error) {
      this.notices.fail(error);
    }
  }

  #recolour() {
    const others = DIFFERENCES.map(({ colour: [red, green, blue] }) => ({ red, green, blue, visible: true }));
    this.viewer.setColours(this.compare ? [...this.structures.colours, ...others] : this.structures.colours);
    tellState(this);
    this.markers.draw();
  }

  #drawn() {
    this.markers.draw();
    this.drawStrip();
  }

  /** Show the slices of the model with what is on them. */
  drawStrip() {
    if (!this.labels) return this.strip.show({ length: 1, slice: 0, counts: [], colour: null, prompted: new Set(), problems: [] });
    const axis = this.labels.sliceAxis;
    const sliceOf = (place) => Math.round(this.viewer.voxelOf(place)[axis]);
    this.strip.show({
      length: this.labels.shape[axis],
      slice: this.slice,
      counts: (this.compare?.shown === "reference" ? this.compare.reference ?? this.labels : this.labels).counts[this.structures.chosen],
      colour: this.structures.current.colour,
      prompted: new Set(this.session.prompts.filter(({ world_mm: places }) => places?.length).map(({ world_mm: [place] }) => sliceOf(place))),
      problems: this.session.problems.map(({ world_mm: place }) => sliceOf(place)),
    });
  }
}

/** At most so many of the places, evenly chosen. */
function thinned(places, most = Infinity) {
  const every = Math.ceil(places.length / most) || 1;
  return places.filter((_, index) => index % every === 0);
}
