"""Which machines do the work, and what a worker may take: one frozen record, checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from segfocal.errors import UserError

Kind = Literal["none", "ray"]


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """Which machines do the work, and what a worker may take.

    Args:
        kind: "none" for this process, "ray" for workers.
        address: of a Ray that runs, "auto", "HOST:6379" or "ray://HOST:10001"; None starts one on this machine.
        actors: workers at least and at most; None: as many as there is room for.
        cpus: cores of a worker, and its threads.
        gpus: of a worker; 0.5: two share one.
        memory_gib: kept free for a worker, which without a GPU may take no more; None: no limit.
        retries: of a piece of work whose worker died or that ran out of time, each on another node where there is one.
        case_minutes: of one piece of work; None: no limit.
        dashboard: whether a Ray that is started here has its web page.
        imports: modules that each worker imports first, as option imports.

    Raises:
        UserError: a value out of range.
    """

    kind: Kind = "none"
    address: str | None = None
    actors: tuple[int, int | None] = (1, None)
    cpus: float = 1
    gpus: float = 0
    memory_gib: float | None = None
    retries: int = 2
    case_minutes: float | None = None
    dashboard: bool = False
    imports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        least, most = self.actors
        positive = {"cpus": self.cpus, "memory_gib": self.memory_gib, "case_minutes": self.case_minutes}
        wrong = {
            "actors: at least one, and at most no fewer": least < 1 or (most is not None and most < least),
            "gpus: a number ≥ 0, a whole one above 1": self.gpus < 0 or (self.gpus > 1 and self.gpus % 1 != 0),
            "retries: a whole number ≥ 0": self.retries < 0,
        } | {f"{name}: a number above 0": value is not None and value <= 0 for name, value in positive.items()}
        for expected in (text for text, is_so in wrong.items() if is_so):
            name = expected.partition(":")[0]
            found = f"cluster.{name}={getattr(self, name)}"
            raise UserError(expected=f"cluster.{expected}", found=found, do="change that option")

    @classmethod
    def of(cls, options: Mapping[str, Any], *, imports: str | Sequence[str] = ()) -> ClusterSettings:
        """Return the settings of the options `cluster` and `imports` of a command."""
        given = dict(options)
        if (actors := given.get("actors")) is not None:
            least, *most = [actors] if isinstance(actors, int) else actors
            if len(most) > 1:
                found = f"cluster.actors={actors}"
                raise UserError(expected="cluster.actors=[LEAST,MOST]", found=found, do="give two numbers")
            given["actors"] = (least, most[0] if most else least)
        return cls(**given, imports=(imports,) if isinstance(imports, str) else tuple(imports))

    @property
    def most(self) -> int:
        """The largest number of workers; without a limit, more than any cluster has room for."""
        return self.actors[1] or 10**6

    @property
    def resources(self) -> dict[str, float]:
        """What a worker takes, in Ray's words."""
        memory = {"memory": int(self.memory_gib * 2**30)} if self.memory_gib else {}
        return {"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {}), **memory}


HERE = ClusterSettings()  # the machine that a command is given on
