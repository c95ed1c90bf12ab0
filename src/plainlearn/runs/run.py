"""One run: look at the data, plan, fit the head, train all depths, judge, and write the model file and the report.

    plainlearn train FOLDER --minutes 10

Whatever is known is kept in the run's folder at once, so that a run that is stopped, or killed, goes on from there.
"""

from __future__ import annotations

import math
import platform
import shlex
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

import torch

from plainlearn._version import __version__
from plainlearn.audit.findings import MARKS
from plainlearn.core.device import default_device
from plainlearn.core.errors import ArgumentError
from plainlearn.core.paths import Path
from plainlearn.core.seed import set_seed
from plainlearn.core.tensorfile import TENSORFILE
from plainlearn.core.wholefile import check_replaceable
from plainlearn.data.block_loaders import BlockLoaders
from plainlearn.images.html import PAGE
from plainlearn.inference import onnx_graph
from plainlearn.inference.evaluation import of_classes, of_labels
from plainlearn.inference.modelfile import write_model_file
from plainlearn.metrics.functions import accuracy, accuracy_multi
from plainlearn.models.archs import check_name
from plainlearn.runs.baselines import simple_baselines
from plainlearn.runs.config import RunConfig
from plainlearn.runs.plan import BASE_LR, Plan, fixed_plan, timed_plan, with_graph
from plainlearn.runs.record import PROBE, Record, check_folder, held, read_record, remove_weights
from plainlearn.runs.report import HEAD_ALONE, ReportData, write_report
from plainlearn.runs.training_data import Pictures, pictures_of
from plainlearn.train.callbacks.deadline import Deadline
from plainlearn.train.probe import can_fit_head_on_features, fit_head
from plainlearn.train.ranks import launch
from plainlearn.train.ranks import ranks as ranks_of
from plainlearn.train.state import bare
from plainlearn.vision.export import content_of, some_items
from plainlearn.vision.learner import VisionLearner, vision_learner

__all__ = ["Outcome", "learner_of", "train"]

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What came of a run: `value` of the `metric` on the validation images, between `low` and `high`.

    `kept` is "tuned", or "head alone" where tuning all depths had not made it better.
    """

    model: str
    report: str
    metric: str
    value: float
    low: float
    high: float
    validated_on: int
    epochs: int
    kept: str
    baselines: dict[str, float]
    seconds: float


def train(asked: RunConfig, *, resume: bool = False, say: Say = print, began: float | None = None) -> Outcome:
    """Run it, to the model file `asked.out` and the page `asked.report`. `began` is the time (`perf_counter`) it counts from.

    `resume` goes on with a run that was stopped. Raises `ArgumentError` where a file is in the way, and `StorageError` for
    a folder of the run's name that is the user's own; both before anything is made.
    """
    began = time.perf_counter() if began is None else began
    record = _begun(asked, resume)
    check_folder(record.asked)
    if asked.arch is not None:
        check_name(asked.arch)
    pictures = pictures_of(record.asked)
    with held(record.asked):
        if record.asked.devices == 1:
            return _Run(record, pictures, resume, say, began).outcome()
        launch(lambda: _Run(record, pictures, resume, say, began).outcome(), record.asked.devices)
        return Outcome(**read_record(record.asked.beside).outcome)


def _begun(asked: RunConfig, resume: bool) -> Record:
    if resume:
        record = read_record(asked.beside)
        for each in fields(RunConfig):
            now, then = getattr(asked, each.name), getattr(record.asked, each.name)
            if each.name == "folder":
                now, then = Path(now).resolve(), Path(then).resolve()
            if now != then:
                raise ArgumentError(
                    f"the run that was stopped had {then} as {each.name}, and this is {now}; a run goes on as it was",
                    try_="--resume alone, or a new run with another --out",
                )
        if record.done:
            raise ArgumentError(
                f"the run of {asked.out} has ended: the file is there", try_=f"plainlearn info {asked.out}"
            )
        check_replaceable(asked.out, TENSORFILE, force=None, other="moving that file away")
        check_replaceable(asked.report, PAGE, force=None, other="moving that file away")
        return record
    for there in (Path(asked.out), asked.report, asked.beside / "run.json"):
        if there.exists():
            raise ArgumentError(
                f"{there} is there already, from an earlier run",
                try_="another --out, or --resume if it was stopped",
            )
    return Record(asked)


def learner_of(pictures: Pictures, plan: Plan) -> VisionLearner:
    """The learner of a plan, with a frozen body, as it is before anything is learned."""
    dls = pictures.loaders(plan.size, plan.bs)
    return learner_on(dls, pictures, plan)


def learner_on(dls: BlockLoaders, pictures: Pictures, plan: Plan) -> VisionLearner:
    """The same, on loaders that are there."""
    balance = "auto" if pictures.asked.balance else None
    metric = accuracy_multi if pictures.several else accuracy
    return vision_learner(dls, plan.arch, metrics=metric, path=pictures.asked.beside, balance=balance)


class _Run:
    """A run on its way. Each stage leaves in the record what the next, or another process, needs."""

    def __init__(self, record: Record, pictures: Pictures, resume: bool, say: Say, began: float) -> None:
        self.record, self.asked, self.resume, self.began = record, record.asked, resume, began
        self.pictures = pictures
        self.ranks = ranks_of(default_device(None))
        self.say = say if self.ranks.is_main else _nothing

    def left(self) -> float:
        """Seconds until the run should be over."""
        assert self.asked.minutes is not None
        return self.asked.minutes * 60 - (time.perf_counter() - self.began)

    def outcome(self) -> Outcome:
        pictures = self.pictures
        dls, plan = self.planned(pictures)
        set_seed(self.asked.seed)
        learn = learner_on(dls, pictures, plan)
        self.say(described(plan, pictures))
        serves = plan.features and can_fit_head_on_features(learn)
        if serves:
            self.fit_head(learn)
        if plan.epochs or not serves:
            self.tune(learn, plan, from_fitted=serves)
        if not self.ranks.is_main:
            return _of_another_process()
        return self.judged(learn, pictures, plan)

    def planned(self, pictures: Pictures) -> tuple[BlockLoaders, Plan]:
        """The loaders, the audit said, and the plan, made or as it was."""
        if self.record.plan:
            plan = Plan(**self.record.plan)
            self.say(f"Going on with {self.asked.out}, planned before: {plan.arch} at {plan.size} px")
            return pictures.loaders(plan.size, plan.bs), plan
        dls = pictures.loaders(self.asked.size or 224, 8)
        items = len(dls.datasets.train), len(dls.datasets.valid)
        self.say(
            f"{items[0]} images to learn from, {items[1]} to validate on, {len(dls.vocab)} classes ({pictures.source})"
        )
        self.say(_short(dls.check()))
        if not pictures.several:
            self.record.baselines = simple_baselines(pictures)
            self.say(
                "Without learning: "
                + ", ".join(f"{name} {value:.3f}" for name, value in self.record.baselines.items())
            )
        if self.asked.epochs is not None:
            plan = fixed_plan(pictures, items[0], self.asked.epochs)
        else:
            plan = timed_plan(pictures, items, self.left, self.ranks)
        self.record.plan = asdict(plan)
        self.keep()
        return pictures.loaders(plan.size, plan.bs), plan

    def keep(self) -> None:
        if self.ranks.is_main:
            self.record.write()

    def fit_head(self, learn: VisionLearner) -> None:
        """The best linear head on features computed once; also the baseline that tuning has to beat."""
        learn.freeze()
        # A checkpoint knows what the random generators were after this; without one, it is done again.
        if self.record.probe and self.begun(learn):
            learn.load(PROBE, with_opt=False)
            return
        row = fit_head(learn)
        learn.save(PROBE, with_opt=False)
        self.record.probe = {"accuracy": row.metrics[0]}
        self.keep()

    def begun(self, learn: VisionLearner) -> bool:
        """Whether an earlier process has left a checkpoint."""
        return self.resume and any((self.asked.beside / learn.model_dir).glob("checkpoint*"))

    def tune(self, learn: VisionLearner, plan: Plan, *, from_fitted: bool) -> None:
        """All depths, until the epochs or the seconds are over; a checkpoint is written as it goes."""
        # The head may have taken more, or less, than was thought.
        if plan.seconds is not None and not self.begun(learn):
            plan = replace(plan, seconds=max(self.left() - plan.after, 1.0))
            self.record.plan = asdict(plan)
            self.keep()
        more = [] if plan.seconds is None else [Deadline(plan.seconds)]
        frozen = 0 if from_fitted or more else 1
        rate = plan.lr if from_fitted else BASE_LR
        learn.fine_tune(max(plan.epochs, 1), rate, frozen, cbs=more, checkpoint=True, resume=self.resume)

    def judged(self, learn: VisionLearner, pictures: Pictures, plan: Plan) -> Outcome:
        """The better of head alone and tuned, its file, its report."""
        probe = self.record.probe
        kept = HEAD_ALONE if probe and not plan.epochs else "tuned"
        rows = learn.recorder.values
        if probe and rows and probe["accuracy"] > rows[-1][2]:
            learn.load(PROBE, with_opt=False)
            kept = HEAD_ALONE
            self.say(
                "Tuning all depths has not made it better on the validation images: the head alone is kept."
            )
        content = content_of(learn, about=f"Made by: {self.command()}")
        if with_graph(self.asked):
            content = onnx_graph.with_graph(content, bare(learn.model), some_items(learn))
        write_model_file(self.asked.out, content)
        probabilities, targets = learn.get_preds()
        dls = learn.dls
        assert isinstance(dls, BlockLoaders)
        vocab = [str(label) for label in dls.vocab]
        judge = of_labels if pictures.several else of_classes
        evaluation = judge(probabilities, targets, vocab)
        baselines = dict(self.record.baselines)
        if probe:
            baselines["a linear layer on the network's features"] = probe["accuracy"]
        seconds = time.perf_counter() - self.began
        told = ReportData(
            name=Path(self.asked.out).stem, model=self.asked.out, evaluation=evaluation, baselines=baselines, own=kept,
            probabilities=probabilities, targets=targets, files=[str(pair.file) for pair in dls.datasets.valid.items],
            vocab=vocab, counts=dls.counts(), left_out=list(dls.left_out), audit=dls.check(),
            curves=([row[0] for row in rows], [row[1] for row in rows]), calibration=content.card["calibration"],
            facts=self.facts(learn, plan, seconds), command=self.command(), unlike=content.meaning.unlike_above is not None,
        )  # fmt: skip
        write_report(self.asked.report, told)
        first = evaluation.metrics[0]
        outcome = Outcome(
            self.asked.out, str(self.asked.report), first.name, first.value, first.low or 0.0, first.high or 1.0, len(targets),
            len(rows), kept, baselines, time.perf_counter() - self.began,
        )  # fmt: skip
        self.record.done, self.record.outcome = True, asdict(outcome)
        self.keep()
        remove_weights(self.asked)
        return outcome

    def command(self) -> str:
        """What to type for a run like this."""
        usual = {each.name: each.default for each in fields(RunConfig)}
        given = {name: value for name, value in asdict(self.asked).items() if value != usual[name]}
        words = ["plainlearn", "train", str(given.pop("folder"))]
        for name, value in given.items():
            words += [f"--{name.replace('_', '-')}"] + (
                [] if value is True else [f"{value:g}" if isinstance(value, float) else str(value)]
            )
        return shlex.join(words)

    def facts(self, learn: VisionLearner, plan: Plan, seconds: float) -> dict[str, str]:
        """Of the making, for people."""
        expects = getattr(learn.model, "expects", None)
        cores = torch.get_num_threads()
        return {
            "network": f"{plan.arch}, {sum(p.numel() for p in learn.model.parameters()):,} numbers",
            "weights": "none"
            if expects is None
            else f"{expects.name}, {expects.licence or 'licence not told'}",
            "pictures": f"{plan.size} × {plan.size} pixels, {plan.bs} a batch",
            "trained": f"{len(learn.recorder.values)} epochs, rate {plan.lr:.2g}, seed {self.asked.seed}",
            "time": f"{seconds:.0f} s on {learn.device}"
            + (f" ({cores} threads)" if learn.device.type == "cpu" else ""),
            "versions": f"plainlearn {__version__}, Python {platform.python_version()}, torch {torch.__version__}",
            "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        }


def _nothing(line: str) -> None:
    del line


def _of_another_process() -> Outcome:
    return Outcome("", "", "", math.nan, math.nan, math.nan, 0, 0, "", {}, 0.0)


def described(plan: Plan, pictures: Pictures) -> str:
    """The plan in a sentence."""
    asked = pictures.asked
    what = f"{plan.arch} at {plan.size} px, {plan.bs} images a batch"
    if not plan.epochs:
        return f"Plan: {what}; the time is enough for its head alone"
    length = (
        f"{plan.epochs} epochs"
        if plan.seconds is None
        else f"about {plan.epochs} epochs in {plan.seconds:.0f} s"
    )
    return f"Plan: {what}; {'the head, then ' if plan.features else ''}all depths for {length} (--seed {asked.seed})"


def _short(audit: Any) -> str:
    """The findings of an audit, a line each."""
    lines = [f"  {MARKS[found.severity]} {found.text}" for found in audit.findings]
    return "\n".join(
        [
            f"Looked at {audit.headline} in {audit.seconds:.1f} s",
            *(lines or ["  nothing speaks against training"]),
        ]
    )
