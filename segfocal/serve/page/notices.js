// What the page says at its foot and top: one line of news or trouble, and how far a job is.

const HINT_MS = 6000;

export class Notices {
  #timer = 0;

  /**
   * @param {HTMLElement} line - with role "status"; trouble is told in `alert`
   * @param {HTMLElement} alert - with role "alert"
   * @param {HTMLElement} job - holds a text, a bar and a button to stop
   */
  constructor(line, alert, job) {
    Object.assign(this, { line, alert, job });
    alert.querySelector("button").addEventListener("click", () => this.clear());
  }

  /** Say something that passes. */
  say(text) {
    clearTimeout(this.#timer);
    this.line.textContent = text;
    this.#timer = setTimeout(() => (this.line.textContent = ""), HINT_MS);
  }

  /** Say what went wrong, until it is read. */
  fail(error) {
    this.alert.querySelector("span").textContent = error.message || String(error);
    this.alert.hidden = false;
  }

  clear() {
    this.alert.hidden = true;
  }

  /** @param {{text: string, stop?: () => void}|null} job - null when it has ended */
  show(job) {
    this.job.hidden = !job;
    if (!job) return;
    this.job.querySelector("span").textContent = job.text;
    const button = this.job.querySelector("button");
    button.hidden = !job.stop;
    button.onclick = job.stop ?? null;
  }
}

const DOING = {
  reading: "Reading the scan",
  prompts: "Asking the model",
  carry: "Carrying to the neighbours",
  predict: "Predicting the whole scan",
  save: "Saving",
};
const CAN_STOP = new Set(["carry", "predict"]);
const PATIENCE_MS = 700; // jobs that end sooner are not announced
const EVERY_MS = 400;

/** Tell of a session's jobs while it is busy. */
export function follow(session, notices) {
  let timer = 0;
  const look = async () => {
    if (session.closed || !session.busy) return;
    try {
      const { doing, slices } = await session.progress();
      if (!session.busy || session.closed) return;
      const stop = CAN_STOP.has(doing) ? () => session.cancel().catch((error) => notices.fail(error)) : null;
      const count = slices > 1 ? `: ${slices} slices` : "";
      notices.show({ text: (DOING[doing] ?? "Working") + count, stop });
    } catch {
      // the request that it is about will say so
    }
    timer = setTimeout(look, EVERY_MS);
  };
  session.addEventListener("busy", () => {
    if (!session.busy) {
      clearTimeout(timer);
      timer = 0;
      notices.show(null);
    } else if (!timer) {
      timer = setTimeout(look, PATIENCE_MS);
    }
  });
}
