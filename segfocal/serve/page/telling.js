// What the page says of the open scan: which buttons can be used, volumes, slices to look at, the place under the pointer.

const find = (selector) => document.querySelector(selector);

export function tellState(page) {
  const facts = page.session?.facts;
  const busy = page.session?.busy ?? false;
  const enable = (id, can) => (find(id).disabled = !can);
  enable("#undo", facts?.can_undo);
  enable("#redo", facts?.can_redo);
  enable("#save", facts);
  const carries = Object.values(page.about.prompts).some(Boolean); // else the model answers whole scans only
  enable("#carry", facts && carries && facts.prompts > 0);
  enable("#predict", facts && page.about.without_prompt);
  enable("#absent", facts);
  enable("#reset", facts && facts.prompts > 0);
  enable("#next-scan", page.scans.all.length > 1);
  enable("#problem-on", facts);
  enable("#problem-back", facts);
  document.body.classList.toggle("busy", busy);
  const alone = carries && facts?.prompts > 0 && facts.reach_mm === 0;
  find("#carry").classList.toggle("primary", Boolean(alone || facts?.pending));
  find("#model-hint").textContent = alone
    ? "Only the slices with prompts are answered."
    : facts?.pending ? "Other slices are from before your last prompt." : "";
  page.markers.prompts = (page.session?.prompts ?? []).filter(({ world_mm: places }) => places?.length);
  tellVolumes(page);
  tellProblem(page);
  page.markers.draw();
  page.drawStrip();
}

function tellVolumes(page) {
  if (!page.labels) return page.structures.tell(page.structures.all.map(() => 0));
  const { session } = page;
  const dice = page.about.viewing ? page.structures.all.map(({ name }) => session.diceOf(name)) : null;
  const ml = page.viewer.spacing.reduce((one, other) => one * other, 1) / 1000;
  page.structures.tell(page.labels.counts.map((slices) => slices.reduce((one, other) => one + other, 0) * ml), dice);
}

export function tellProblem(page) {
  const problems = page.session?.problems ?? [];
  const place = find("#problem-text");
  const shown = problems[page.problem];
  if (!problems.length) place.textContent = page.session ? "Nothing." : "Nothing yet.";
  else if (!shown) place.textContent = `${problems.length} slice${problems.length > 1 ? "s" : ""}. Press . for the first.`;
  else place.textContent = `${page.problem + 1} of ${problems.length}: ${reasonOf(shown)}.`;
}

export function tellPlace(page, pick) {
  const place = find("#place");
  if (!pick || !page.session) return void (place.textContent = "");
  const voxel = pick.voxel.map(Math.round);
  const [x, y, z] = pick.place.map((mm) => mm.toFixed(1).replace("-", "−"));
  const value = page.viewer.intensityAt(voxel);
  const found = page.about.viewing ? bothOf(page.compare, voxel) : page.labels.at(voxel)?.name;
  const parts = [`x ${x}  y ${y}  z ${z} mm`, `${Math.round(value)}`.replace("-", "−"), found];
  place.textContent = parts.filter(Boolean).join("   ·   ");
}

/** What both masks say of a voxel; nothing where both say background. */
function bothOf({ prediction, reference }, voxel) {
  const [predicted, wanted] = [prediction, reference].map((labels) => labels?.at(voxel)?.name);
  if (predicted === wanted) return predicted;
  return `predicted ${predicted ?? "nothing"}, reference ${wanted ?? "nothing"}`;
}

export function tellTitle(name, text) {
  find("#scan-title strong").textContent = name;
  find("#scan-title span").textContent = text;
  document.title = name ? `${name} · segfocal` : "segfocal";
}

export function sizeTold({ facts }) {
  const { shape, spacing_mm: spacing } = facts;
  const mm = spacing.map((one) => Number(one.toFixed(2)));
  return `${shape.join(" × ")} · ${mm.join(" × ")} mm`;
}

function reasonOf({ kind, dice, mm2 }) {
  if (kind === "empty") return "empty between marked slices";
  return `${mm2 < 1000 ? `${Math.round(mm2)} mm²` : `${(mm2 / 100).toFixed(0)} cm²`} differ, Dice ${dice.toFixed(2)}`;
}
