"""Where metrics go, and what is stored of the rollouts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from codctl.config.credentials import has_credentials
from codctl.config.schema.fields import MOST_PACKS, MOST_STEPS, Section, cosmetic, resource


class TrackingConfig(Section):
    mlflow: bool = cosmetic(True, "Send copies of numbers, settings, evaluations and small files to MLflow.")
    mlflow_uri: str | None = cosmetic(
        None, "MLflow tracking URI; null is that of MLFLOW_TRACKING_URI, else a sqlite file in the runs folder."
    )
    experiment: str = cosmetic("codctl", "MLflow experiment.")
    sinks: Annotated[tuple[str, ...], Field(strict=False)] = cosmetic(
        (), "Trackers beside MLflow: wandb, tensorboard, or one of a plug-in."
    )
    options: dict[str, dict[str, str | int | float | bool]] = cosmetic(
        {}, "What a tracker takes, by its name: `wandb: {project: lake, mode: offline}`."
    )
    trajectories_every: int = resource(10, "Steps between stored rollouts, token for token.", ge=1, le=MOST_STEPS)
    trajectory_packs: int = resource(
        1000, "Packs of each evaluation and stored step whose texts are kept for `codctl view`.", ge=0, le=MOST_PACKS
    )

    @field_validator("mlflow_uri")
    @classmethod
    def _holds_no_secret(cls, uri: str | None) -> str | None:
        if uri and has_credentials(uri):
            raise ValueError(
                "it holds a user or password, and runs keep their settings in plain files; "
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
            )
        return uri
