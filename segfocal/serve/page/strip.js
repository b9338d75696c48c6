// The bar under the pictures: every slice of the model with what is on it, to click or to walk along with the arrow keys.

export class Strip {
  /**
   * @param {HTMLCanvasElement} canvas - with role "slider"
   * @param {(slice: number) => void} go
   */
  constructor(canvas, go) {
    Object.assign(this, { canvas, go, length: 1, slice: 0, counts: [], colour: null, prompted: new Set(), problems: [] });
    const at = ({ offsetX }) => go(Math.min(this.length - 1, Math.max(0, Math.floor((offsetX / canvas.clientWidth) * this.length))));
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      at(event);
    });
    canvas.addEventListener("pointermove", (event) => event.buttons && at(event));
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
      const end = { Home: 0, End: this.length - 1 }[event.key];
      if (step === undefined && end === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      go(Math.min(this.length - 1, Math.max(0, end ?? this.slice + step)));
    });
  }

  /**
   * @param {object} state - length and slice; counts: voxels of the chosen structure on each slice, and its colour; prompted:
   *   slices with prompts; problems: slices to look at
   */
  show(state) {
    Object.assign(this, state);
    this.canvas.setAttribute("aria-valuemax", this.length);
    this.canvas.setAttribute("aria-valuenow", this.slice + 1);
    this.canvas.setAttribute("aria-valuetext", `slice ${this.slice + 1} of ${this.length}`);
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = Math.max(1, Math.round(width * ratio));
    canvas.height = Math.max(1, Math.round(height * ratio));
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const step = width / this.length;
    const style = getComputedStyle(canvas);
    const [track, mark, problem, here] = ["--track", "--mark", "--problem", "--here"].map((one) => style.getPropertyValue(one));
    pen.fillStyle = track;
    pen.fillRect(0, 8, width, height - 16);
    this.#drawCounts(pen, step, height);
    pen.fillStyle = problem;
    for (const slice of this.problems) pen.fillRect(slice * step, height - 6, Math.max(2, step - 1), 5);
    pen.fillStyle = mark;
    for (const slice of this.prompted) triangle(pen, (slice + 0.5) * step, 1, 5);
    if (this.length < 2) return;
    pen.strokeStyle = here;
    pen.lineWidth = 2;
    pen.strokeRect(this.slice * step - 1, 6, Math.max(4, step + 2), height - 12);
  }

  #drawCounts(pen, step, height) {
    if (!this.colour) return;
    const most = Math.sqrt(Math.max(1, ...this.counts));
    pen.fillStyle = this.colour;
    this.counts.forEach((count, slice) => {
      const high = count ? Math.max(3, (Math.sqrt(count) / most) * (height - 18)) : 0;
      pen.fillRect(slice * step, height - 9 - high, step + 0.5, high);
    });
  }
}

function triangle(pen, x, y, half) {
  pen.beginPath();
  pen.moveTo(x - half, y);
  pen.lineTo(x + half, y);
  pen.lineTo(x, y + 1.4 * half);
  pen.fill();
}
