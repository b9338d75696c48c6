// Training on corrected masks: begins or stops it, and says how far it is. The server must have been told that it may.

import { getJson, sendJson } from "./api.js";

const BETWEEN_LOOKS = 2000; // ms

const find = (selector) => document.querySelector(selector);

function lineOf({ state, step, steps, minutes, loss, val_dice: dice, serve_command: serve, why }) {
  if (state === "none") return "";
  if (state === "done") return `Done. ${serve}`;
  if (state === "failed") return why;
  if (step === undefined) return "Preparing the scans.";
  const parts = [minutes === undefined ? `Step ${step} of ${steps}` : `Step ${step}, ${minutes} minutes in all`];
  if (loss !== undefined) parts.push(`loss ${loss.toFixed(3)}`);
  if (dice !== undefined) parts.push(`Dice ${dice.toFixed(3)}`);
  return `${parts.join(", ")}.`;
}

export class Training {
  /** @param {Notices} notices - take errors */
  constructor(notices) {
    this.notices = notices;
    this.running = false;
    this.timer = 0;
    find("#training").hidden = false;
    find("#training button").addEventListener("click", () => this.press());
    this.look();
  }

  /** Begin to train, or stop. */
  async press() {
    try {
      this.tell(await sendJson("/api/training", {}, this.running ? "DELETE" : "POST"));
    } catch (error) {
      this.notices.fail(error);
    }
  }

  async look() {
    try {
      this.tell(await getJson("/api/training"));
    } catch (error) {
      this.notices.fail(error);
    }
  }

  tell(answer) {
    this.running = answer.state === "running";
    find("#training button").textContent = this.running ? "Stop" : "Train";
    find("#training span").textContent = lineOf(answer);
    clearTimeout(this.timer);
    if (this.running) this.timer = setTimeout(() => this.look(), BETWEEN_LOOKS);
  }
}
