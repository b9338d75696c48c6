"""A validation while a run trains: Dice of the held-out scans for the record, and the best bundle so far."""

from __future__ import annotations

from safetensors import SafetensorError

from segfocal.engine.across_processes import told_by_main
from segfocal.engine.monitor import Monitor
from segfocal.engine.run import Run
from segfocal.engine.validate import mean_dice, validate
from segfocal.errors import UserError, warn
from segfocal.inference import bundle as bundles


def validate_run(run: Run, monitor: Monitor) -> dict[str, float]:
    """Validate in the main process while the others wait; return Dice by structure and their mean, for the record.

    A mean above all before is the best: its bundle is kept. Without one the run's count of stale validations grows.
    """
    state, held = run.state, run.plan.cases.of("val")
    row: dict[str, float] = {}
    if run.accelerator.is_main_process and held:
        scores = validate(run.bundle(), held, device=run.accelerator.device, fully=False)
        row = {f"val_dice_{s.name}": mean_dice(scores, structure=s.name) for s in run.plan.preparation.structures}
        row["val_dice"] = mean_dice(scores)
        monitor.bar.note(
            f"step {state.step}: Dice on {len(held)} held-out scan{'s' * (len(held) > 1)} {row['val_dice']:.3f}"
        )
        monitor.health.validated(scores)
        if state.note_dice(row["val_dice"]):
            _keep_best(run)
    state.load_state_dict(told_by_main(state.verdict()))  # the others wait here
    state.plateaus += state.stale > 0 and state.stale % run.plan.settings.plateau == 0
    return row


def _keep_best(run: Run) -> None:
    """Save the bundle of a run as its best; a full disk costs it a warning."""
    try:
        bundles.save(run.bundle(), run.folder / "checkpoints" / "best")
    except (OSError, UserError, SafetensorError) as error:
        warn(f"the best bundle was not saved: {error}; the run goes on", stacklevel=2)
