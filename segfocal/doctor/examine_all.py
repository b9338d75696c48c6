"""The examination of all cases in several processes; one that dies takes a single case with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial

from segfocal.cluster.cluster_settings import HERE, ClusterSettings
from segfocal.cluster.in_order import results_in_order
from segfocal.data.case import Case
from segfocal.doctor.case_report import CaseReport, examine
from segfocal.doctor.checks import Check, Finding
from segfocal.errors import UserError
from segfocal.io.nifti.header import read_raw_header
from segfocal.parallel import affordable, pool

_SMALL_BYTES = 32 << 20  # of voxels in all; of so few, starting processes would take longer than examining
_TIMES = 8  # bytes of memory that examining takes, at most, for each byte of voxels
_KILLED = "the process that read it was killed, perhaps for want of memory"


def examine_all(
    cases: Sequence[Case],
    *,
    names: Mapping[str, int],
    workers: int | None,
    cluster: ClusterSettings = HERE,
) -> Iterator[CaseReport]:
    """Yield the reports of all cases, in order.

    Args:
        cases: the cases to examine.
        names: label values by structure name, as of `examine`.
        workers: processes, a case each; None for as many as there are cores and memory for, and one for small cases.
        cluster: whose workers examine in place of processes of this machine.
    """
    work = partial(examine, names=names)
    if cluster.kind != "none":
        folders = sorted({case.image.parent for case in cases})[:1]
        yield from results_in_order(cluster, work, cases, failed=_unread, folders=folders)
        return
    sizes = [_bytes(case) for case in cases]
    if workers is None and sum(sizes) < _SMALL_BYTES:
        yield from map(work, cases)
        return
    count = max(1, min(workers or affordable(max(sizes, default=0) * _TIMES), len(cases)))
    done = 0
    try:
        with pool(count) as processes:
            for one in processes.map(work, cases):
                yield one
                done += 1
    except BrokenProcessPool:
        for case in cases[done:]:
            yield _alone(case, names)


def _alone(case: Case, names: Mapping[str, int]) -> CaseReport:
    """Examine a case in a process of its own."""
    try:
        with pool(1) as process:
            return process.submit(examine, case, names=names).result()
    except BrokenProcessPool:
        return _unread(case, _KILLED)


def _unread(case: Case, why: str) -> CaseReport:
    found = Finding(check=Check.UNREADABLE, found=why, case=case.name, file=case.image)
    return CaseReport(case=case, findings=[found])


def _bytes(case: Case) -> int:
    """Return the bytes that the voxels of a case take by their headers; 0 where no header can be read."""
    total = 0
    for path in (*case.images, *case.label_files):
        try:
            header = read_raw_header(path)
            total += max(0, min(header.promised, header.size * 1032))
        except (UserError, OSError, ValueError, OverflowError):  # examining the case finds it
            continue
    return total
