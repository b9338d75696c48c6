// Starts the page: asks what the server knows, and ties buttons and keys to what they do.

import { getJson } from "./api.js";
import { LAYOUTS } from "./layout.js";
import { Notices } from "./notices.js";
import { Page } from "./page.js";
import { listen, shortcutsOf, writeHelp } from "./shortcuts.js";
import { nextTheme } from "./theme.js";
import { Training } from "./training.js";

const find = (selector) => document.querySelector(selector);
const LAYOUT_NAMES = { four: "Planes and 3-D", axial: "Axial", coronal: "Coronal", sagittal: "Sagittal", "3-D": "3-D" };

function tieButtons(page) {
  const on = (id, run) => find(id).addEventListener("click", run);
  on("#undo", () => page.undo());
  on("#redo", () => page.redo());
  on("#save", () => page.save());
  on("#next-scan", () => page.nextScan());
  on("#carry", () => page.carry());
  on("#predict", () => page.predict());
  on("#absent", () => page.absent());
  on("#reset", () => page.reset());
  on("#problem-on", () => page.stepProblem(1));
  on("#problem-back", () => page.stepProblem(-1));
  on("#help", () => page.help());
  on("#theme", () => {
    page.notices.say(`Colours: ${nextTheme()}`);
    page.strip.draw();
  });
  document.querySelectorAll("[data-tool]").forEach((one) => one.addEventListener("click", () => page.chooseTool(one.dataset.tool)));
  find("#opacity").addEventListener("input", ({ target }) => page.setOpacity(Number(target.value)));
  find("#brush-size").addEventListener("input", ({ target }) => page.setBrush(Number(target.value)));
  for (const name of LAYOUTS) find("#layout").add(new Option(LAYOUT_NAMES[name], name));
  find("#layout").addEventListener("change", ({ target }) => page.setLayout(target.value));
}

function tellSaved(answer, session) {
  const list = find("#saved-dialog .paths");
  const rows = [["Mask", answer.mask], ["Prompts", answer.prompts_file]].filter(([, path]) => path);
  list.replaceChildren(
    ...rows.flatMap(([name, path]) => {
      const [term, value] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      value.textContent = path;
      return [term, value];
    }),
  );
  find("#get-mask").href = `${session.path}/mask.nii.gz`;
  find("#get-prompts").href = `${session.path}/prompts.json`;
  find("#train").hidden = !answer.train_command;
  find("#train code").textContent = answer.train_command ?? "";
  find("#saved-dialog").showModal();
}

/** An evaluation is looked at: there is nothing to edit. */
function beginViewing() {
  document.body.classList.add("viewing");
  find("#scans h2").textContent = "Cases, the worst first";
  find("#scans").setAttribute("aria-label", "Cases");
  find("#next-scan span").textContent = "Next case";
  find("#next-scan").title = "Next case (M)";
}

async function start() {
  const notices = new Notices(find("#line"), find("#alert"), find("#job"));
  try {
    const about = await getJson("/api/about");
    if (about.viewing) beginViewing();
    const page = new Page(about, notices);
    page.onSaved = tellSaved;
    tieButtons(page);
    const table = shortcutsOf(page);
    listen(table);
    writeHelp(table, find("#help-keys"));
    find("#about").textContent = `segfocal ${about.segfocal} · ${about.bundle} · pictures by NiiVue (BSD 2-Clause)`;
    find("#train button").addEventListener("click", () => navigator.clipboard?.writeText(find("#train code").textContent));
    if (about.trains) new Training(notices);
    globalThis.segfocal = page; // for the console, and for tests that ask where a place is seen
    await page.start();
    document.body.dataset.ready = "true";
  } catch (error) {
    notices.fail(error);
  }
}

start();
