"""`segfocal doctor`: what is wrong with a data set, and copies of it without what can be mended."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import run
from segfocal.cli.data_options import tell_passed_over
from segfocal.errors import UserError
from segfocal.plain_text import visible
from segfocal.typed_words import line, option

if TYPE_CHECKING:
    from segfocal.data.case import Case
    from segfocal.doctor.case_report import CaseReport
    from segfocal.doctor.diagnosis import Diagnosis, Examination


def main() -> int:
    """Run the command; return its exit code: 1 where there are errors, with strict=true warnings too."""
    if len(sys.argv) > 1 and "=" not in sys.argv[1] and not sys.argv[1].startswith("-"):
        quoted = sys.argv[1].replace("'", "\\'")
        sys.argv[1] = f"data.root='{quoted}'"  # doctor FOLDER
    sick = False

    def job(config: DictConfig) -> None:
        nonlocal sick
        sick = doctor(config) or sick

    return run("doctor", job) or int(sick)


def doctor(config: DictConfig) -> bool:
    """Examine a data set by a config and print a table; return whether what was found counts as a failure."""
    from segfocal.doctor.diagnose import diagnose

    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    examination = _examination(plain)
    diagnosis = diagnose(examination, showing=_with_progress)
    _print(diagnosis, examination)
    return diagnosis.count("error") > 0 or (plain["strict"] and diagnosis.count("warning") > 0)


def _examination(plain: dict[str, Any]) -> Examination:
    from segfocal.cluster.cluster_settings import ClusterSettings
    from segfocal.doctor.diagnosis import Examination

    if plain["pictures"] < 0:
        raise UserError(expected="pictures ≥ 0", found=f"pictures={plain['pictures']}", do="give a whole number")
    root = Path(plain["data"]["root"])
    beside = root.resolve().with_name(
        f"{root.resolve().name.removesuffix(root.suffix if root.is_file() else '')}_doctor"
    )
    return Examination(
        root=root,
        label_names=plain["data"].get("label_names"),
        ignore=plain["data"].get("ignore"),
        output=Path(plain["output"]) if plain["output"] else beside,
        cluster=ClusterSettings.of(plain["cluster"]),
        **{name: plain[name] for name in ("modality", "fix", "same_shape", "workers", "pictures", "overwrite")},
    )


def _with_progress(cases: Sequence[Case], done: Iterable[CaseReport]) -> Iterator[CaseReport]:
    from segfocal.engine.progress import StepProgress

    with StepProgress(total=len(cases), done=0, noun="case") as progress:
        for number, case in enumerate(done, start=1):
            yield case
            progress.step(number, "examined")


def _print(diagnosis: Diagnosis, examination: Examination) -> None:
    from segfocal.cli.evaluate import print_table
    from segfocal.doctor.checks import SEVERITIES
    from segfocal.doctor.diagnose import table_rows

    if diagnosis.findings:
        print_table(table_rows(diagnosis.findings))
    tell_passed_over(diagnosis.passed_over, examination.root)
    found = [(diagnosis.count(severity), severity) for severity in SEVERITIES]
    counts = ", ".join(f"{count} {severity}{'s' * (count != 1)}" for count, severity in found)
    print(f"{diagnosis.cases} case{'s' * (diagnosis.cases != 1)}: {counts}")
    output = examination.output
    if examination.fix:
        copies = len({repair.to for repair in diagnosis.repairs})
        print(visible(f"{copies} mended copies, {len(diagnosis.left_out)} cases left out: {output / 'fixes.jsonl'}"))
        words = ["data=csv", option("data.root", output / "cases.csv")]
        words += [option("data.label_names", names) for names in [output / "label_names.json"] if names.is_file()]
        words += [] if diagnosis.ignored is None else [option("data.ignore", diagnosis.ignored)]
        print(visible(f"to train: {line(words)}"))
    for name in ("doctor.json", "doctor.html"):
        print(visible(str(output / name)))
