"""One run: look at the data, plan, fit the head, train all depths, judge, and write the model file and the report.

    plainlearn train FOLDER --minutes 10

Whatever is known is kept in the run's folder at once, so that a run that is stopped, or killed, goes on from there.
"""

from __future__ import annotations

import platform
import shlex
import time
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime

import torch

from plainlearn._version import __version__
from plainlearn.audit.findings import MARKS, Audit
from plainlearn.core.device import default_device
from plainlearn.core.errors import ArgumentError
from plainlearn.core.paths import Path
from plainlearn.core.seed import set_seed
from plainlearn.core.tensorfile import TENSORFILE
from plainlearn.core.wholefile import check_replaceable
from plainlearn.data.block_loaders import BlockLoaders
from plainlearn.images.html import PAGE
from plainlearn.inference import onnx_graph
from plainlearn.inference.modelfile import write_model_file
from plainlearn.inference.output_spec import probabilities as output_probabilities
from plainlearn.metrics.evaluation import of_classes, of_labels
from plainlearn.metrics.functions import accuracy, accuracy_multi
from plainlearn.models.archs import check_name
from plainlearn.runs.baselines import simple_baselines
from plainlearn.runs.config import RunConfig
from plainlearn.runs.plan import BASE_LR, Plan, fixed_plan, timed_plan, with_graph
from plainlearn.runs.record import (
    PROBE,
    Outcome,
    Record,
    check_folder,
    locked_folder,
    read_record,
    remove_weights,
)
from plainlearn.runs.report import HEAD_ALONE, ReportData, write_report
from plainlearn.runs.training_data import Pictures, pictures_of
from plainlearn.train.callbacks.deadline import Deadline
from plainlearn.train.distributed import launch
from plainlearn.train.distributed import ranks as ranks_of
from plainlearn.train.probe import can_fit_head_on_features, fit_head
from plainlearn.train.state import bare
from plainlearn.vision.export import content_of, some_items, validated
from plainlearn.vision.learner import VisionLearner, vision_learner

__all__ = ["learner_of", "train"]

Say = Callable[[str], None]


def train(
    config: RunConfig, *, resume: bool = False, say: Say = print, started_at: float | None = None
) -> Outcome:
    """Run it, to the model file `config.out` and the page `config.report`.

    `started_at` is the time (`perf_counter`) from which the minutes count.
    `resume` goes on with a run that was stopped. Raises `ArgumentError` where a file is in the way, and `StorageError` for
    a folder of the run's name that is the user's own; both before anything is made.
    """
    started_at = time.perf_counter() if started_at is None else started_at
    record = _new_or_stopped(config, resume)
    check_folder(record.config)
    if config.arch is not None:
        check_name(config.arch)
    pictures = pictures_of(record.config)
    with locked_folder(record.config):
        if record.config.devices == 1:
            _Run(record, pictures, resume, say, started_at).go()
        else:
            launch(lambda: _Run(record, pictures, resume, say, started_at).go(), record.config.devices)
            record = read_record(record.config.run_folder)
    assert record.outcome is not None
    return record.outcome


def _new_or_stopped(config: RunConfig, resume: bool) -> Record:
    if resume:
        record = read_record(config.run_folder)
        for each in fields(RunConfig):
            now, then = getattr(config, each.name), getattr(record.config, each.name)
            if each.name == "folder":
                now, then = Path(now).resolve(), Path(then).resolve()
            if now != then:
                raise ArgumentError(
                    f"the run that was stopped had {then} as {each.name}, and this is {now}; a run goes on as it was",
                    try_="--resume alone, or a new run with another --out",
                )
        if record.done:
            raise ArgumentError(
                f"the run of {config.out} has ended: the file is there", try_=f"plainlearn info {config.out}"
            )
        check_replaceable(config.out, TENSORFILE, force=None, other="moving that file away")
        check_replaceable(config.report, PAGE, force=None, other="moving that file away")
        return record
    for there in (Path(config.out), config.report, config.run_folder / "run.json"):
        if there.exists():
            raise ArgumentError(
                f"{there} is there already, from an earlier run",
                try_="another --out, or --resume if it was stopped",
            )
    return Record(config)


def learner_of(pictures: Pictures, plan: Plan) -> VisionLearner:
    """The learner of a plan, with a frozen body, as it is before anything is learned."""
    dls = pictures.loaders(plan.size, plan.bs)
    balance = "auto" if pictures.config.balance else None
    metric = accuracy_multi if pictures.multi_label else accuracy
    return vision_learner(dls, plan.arch, metrics=metric, path=pictures.config.run_folder, balance=balance)


class _Run:
    """A run on its way. Each stage leaves in the record what the next, or another process, needs."""

    def __init__(self, record: Record, pictures: Pictures, resume: bool, say: Say, started_at: float) -> None:
        self.record, self.config, self.resume, self.started_at = record, record.config, resume, started_at
        self.pictures = pictures
        self.ranks = ranks_of(default_device(None))
        self.say = say if self.ranks.is_main else _say_nothing

    def seconds_left(self) -> float:
        """Seconds until the run should be over."""
        assert self.config.minutes is not None
        return self.config.minutes * 60 - (time.perf_counter() - self.started_at)

    def go(self) -> None:
        """All stages, to the outcome in the record."""
        plan = self.plan()
        set_seed(self.config.seed)
        learn = learner_of(self.pictures, plan)
        self.say(_plan_text(plan, self.config.seed))
        fits_head = plan.features and can_fit_head_on_features(learn)
        if fits_head:
            self.fit_head(learn)
        if plan.epochs or not fits_head:
            self.tune(learn, plan, from_fitted=fits_head)
        if self.ranks.is_main:
            self.finish(learn, plan)

    def plan(self) -> Plan:
        """The plan as it was, or made, after what there is to say of the images."""
        pictures, plan = self.pictures, self.record.plan
        if plan is not None:
            self.say(f"Going on with {self.config.out}, planned before: {plan.arch} at {plan.size} px")
            return plan
        dls = pictures.loaders(self.config.size or 224, 8)
        items = len(dls.datasets.train), len(dls.datasets.valid)
        self.say(
            f"{items[0]} images to learn from, {items[1]} to validate on, {len(dls.vocab)} classes ({pictures.source})"
        )
        self.say(_audit_text(dls.check()))
        if not pictures.multi_label:
            self.record.baselines = simple_baselines(pictures)
            self.say(
                "Without learning: "
                + ", ".join(f"{name} {value:.3f}" for name, value in self.record.baselines.items())
            )
        if self.config.epochs is not None:
            plan = fixed_plan(pictures, items[0], self.config.epochs)
        else:
            plan = timed_plan(pictures, items, self.seconds_left, self.ranks)
        self.record.plan = plan
        self.write_record()
        return plan

    def write_record(self) -> None:
        if self.ranks.is_main:
            self.record.write()

    def fit_head(self, learn: VisionLearner) -> None:
        """The best linear head on features computed once; also the baseline that tuning has to beat."""
        learn.freeze()
        # A checkpoint knows what the random generators were after this; without one, it is done again.
        if self.record.head_accuracy is not None and self.has_checkpoint(learn):
            learn.load(PROBE, with_opt=False)
            return
        row = fit_head(learn)
        learn.save(PROBE, with_opt=False)
        self.record.head_accuracy = row.metrics[0]
        self.write_record()

    def has_checkpoint(self, learn: VisionLearner) -> bool:
        """Whether an earlier process has left a checkpoint."""
        return self.resume and any((self.config.run_folder / learn.model_dir).glob("checkpoint*"))

    def tune(self, learn: VisionLearner, plan: Plan, *, from_fitted: bool) -> None:
        """All depths, until the epochs or the seconds are over; a checkpoint is written as it goes."""
        # The head may have taken more, or less, than was thought.
        if plan.seconds is not None and not self.has_checkpoint(learn):
            plan = replace(plan, seconds=max(self.seconds_left() - plan.after, 1.0))
            self.record.plan = plan
            self.write_record()
        more = [] if plan.seconds is None else [Deadline(plan.seconds)]
        frozen = 0 if from_fitted or more else 1
        rate = plan.lr if from_fitted else BASE_LR
        learn.fine_tune(max(plan.epochs, 1), rate, frozen, cbs=more, checkpoint=True, resume=self.resume)

    def finish(self, learn: VisionLearner, plan: Plan) -> None:
        """The better of head alone and tuned, its file, its report."""
        of_head = self.record.head_accuracy
        kept = HEAD_ALONE if of_head is not None and not plan.epochs else "tuned"
        rows = learn.recorder.values
        if of_head is not None and rows and of_head > rows[-1][2]:
            learn.load(PROBE, with_opt=False)
            kept = HEAD_ALONE
            self.say(
                "Tuning all depths has not made it better on the validation images: the head alone is kept."
            )
        seen = validated(learn)
        assert seen is not None
        content = content_of(learn, about=f"Made by: {self.command()}", seen=seen)
        if with_graph(self.config):
            content = onnx_graph.with_graph(content, bare(learn.model), some_items(learn))
        write_model_file(self.config.out, content)
        probabilities, targets = output_probabilities(seen.outputs, content.output_spec), seen.targets
        dls = learn.dls
        assert isinstance(dls, BlockLoaders)
        vocab = [str(label) for label in dls.vocab]
        judge = of_labels if self.pictures.multi_label else of_classes
        evaluation = judge(probabilities, targets, vocab)
        baselines = dict(self.record.baselines)
        if of_head is not None:
            baselines["a linear layer on the network's features"] = of_head
        seconds = time.perf_counter() - self.started_at
        data = ReportData(
            name=Path(self.config.out).stem, model=self.config.out, evaluation=evaluation, baselines=baselines, own=kept,
            probabilities=probabilities, targets=targets, files=[str(pair.file) for pair in dls.datasets.valid.items],
            vocab=vocab, counts=dls.counts(), left_out=list(dls.left_out), audit=dls.check(),
            curves=([row[0] for row in rows], [row[1] for row in rows]), calibration=content.card["calibration"],
            facts=self.facts(learn, plan, seconds), command=self.command(),
            can_say_unknown=content.output_spec.ood_above is not None,
        )  # fmt: skip
        write_report(self.config.report, data)
        first = evaluation.metrics[0]
        self.record.outcome = Outcome(
            self.config.out, str(self.config.report), first.name, first.value, first.low or 0.0, first.high or 1.0, len(targets),
            len(rows), kept, baselines, time.perf_counter() - self.started_at,
        )  # fmt: skip
        self.record.done = True
        self.write_record()
        remove_weights(self.config)

    def command(self) -> str:
        """What to type for a run like this."""
        usual = {each.name: each.default for each in fields(RunConfig)}
        given = {name: value for name, value in asdict(self.config).items() if value != usual[name]}
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
            "network": f"{plan.arch}, {sum(p.numel() for p in learn.model.parameters()):,} parameters",
            "weights": "none"
            if expects is None
            else f"{expects.name}, {expects.licence or 'licence not told'}",
            "pictures": f"{plan.size} × {plan.size} pixels, {plan.bs} a batch",
            "trained": f"{len(learn.recorder.values)} epochs, rate {plan.lr:.2g}, seed {self.config.seed}",
            "time": f"{seconds:.0f} s on {learn.device}"
            + (f" ({cores} threads)" if learn.device.type == "cpu" else ""),
            "versions": f"plainlearn {__version__}, Python {platform.python_version()}, torch {torch.__version__}",
            "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        }


def _say_nothing(line: str) -> None:
    del line


def _plan_text(plan: Plan, seed: int) -> str:
    """The plan in a sentence."""
    what = f"{plan.arch} at {plan.size} px, {plan.bs} images a batch"
    if not plan.epochs:
        return f"Plan: {what}; the time is enough for its head alone"
    length = (
        f"{plan.epochs} epochs"
        if plan.seconds is None
        else f"about {plan.epochs} epochs in {plan.seconds:.0f} s"
    )
    return (
        f"Plan: {what}; {'the head, then ' if plan.features else ''}all depths for {length} (--seed {seed})"
    )


def _audit_text(audit: Audit) -> str:
    """The findings of an audit, a line each."""
    lines = [f"  {MARKS[found.severity]} {found.text}" for found in audit.findings]
    return "\n".join(
        [
            f"Looked at {audit.headline} in {audit.seconds:.1f} s",
            *(lines or ["  nothing speaks against training"]),
        ]
    )
