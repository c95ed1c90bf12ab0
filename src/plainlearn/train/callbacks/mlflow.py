"""MLflow: a run in its store, which is a server, a database, or a folder."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

from plainlearn.train.callbacks.tracker import Tracker

_METRICS_A_CALL: Final = 1000  # MLflow takes no more at once


class MLflowCallback(Tracker):
    """Tells MLflow of steps and epochs. Needs `plainlearn[tracking]`.

    `tracking_uri` is the store (`sqlite:///runs.db` is a file; None is what MLflow itself is set to). The
    run belongs to the experiment of that name, which is made if it is not there. MLflow's own settings, and a run
    that is active in it, are left as they are.

        learn.fit(1, cbs=MLflowCallback("sqlite:///runs.db", experiment="pets"))
    """

    library: ClassVar[str] = "mlflow"

    def __init__(
        self, tracking_uri: str | None = None, experiment: str = "plainlearn", run_name: str | None = None
    ) -> None:
        super().__init__()
        self.tracking_uri, self.experiment, self.run_name = tracking_uri, experiment, run_name
        self._client: Any = None

    def open(self, run: str | None, facts: Mapping[str, Any]) -> str:
        client: Any = self.part("tracking").MlflowClient(tracking_uri=self.tracking_uri)
        self._client = client
        if run is not None:
            client.set_terminated(run, status="RUNNING")
            return run
        known: Any = client.get_experiment_by_name(self.experiment)
        experiment_id = client.create_experiment(self.experiment) if known is None else known.experiment_id
        made: Any = client.create_run(experiment_id, run_name=self.run_name)
        param = self.part("entities").Param
        parameters: list[Any] = [param(name, str(value)) for name, value in facts.items()]
        client.log_batch(made.info.run_id, params=parameters)
        return str(made.info.run_id)

    def tell(self, steps: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        metric = self.part("entities").Metric
        now = int(time.time() * 1000)
        metrics: list[Any] = [
            metric(name, number, now, step) for step, numbers in steps for name, number in numbers.items()
        ]
        for begin in range(0, len(metrics), _METRICS_A_CALL):
            self._client.log_batch(self._run, metrics=metrics[begin : begin + _METRICS_A_CALL])

    def close(self, *, finished: bool) -> None:
        self._client.set_terminated(self._run, status="FINISHED" if finished else "FAILED")
        self._client = None
