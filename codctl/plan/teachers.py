"""What the teachers of a distillation take: memory, and time to score a step. Assumed to be as large as the student."""

from __future__ import annotations

from codctl.config.schema import Config
from codctl.engines.provider import Part
from codctl.plan.engines import model_size
from codctl.plan.lengths import Lengths
from codctl.plan.placement import teacher_engine, teachers_config
from codctl.plan.sizes import Model
from codctl.quantities import counted

SCORE = "score"  # the phase in which they work
_LOGITS_NUMBER = 4  # bytes of a log-prob


def resident(config: Config, model: Model) -> list[Part]:
    """Their weights, where they lie beside the learner: all of them, or one at a time."""
    if not config.distill.teachers or not teacher_engine(config).in_process:
        return []
    count = 1 if config.distill.take_turns else len(config.distill.teachers)
    size = model.number * model.shape.parameters
    formula = (
        f"{counted(count, 'model')} × {model.shape.parameters:,} × {model.number} B; adapters on one base share it"
    )
    return [Part("teachers", count * size, formula)]


def lessons(config: Config, model: Model, lengths: Lengths) -> list[Part]:
    """What they have said of a step's sampled tokens, in main memory."""
    distill = config.distill
    if not distill.teachers or distill.estimator == "sampled":
        return []
    each = model.shape.vocab if distill.estimator == "full" else 2 * distill.top_k
    formula = f"{lengths.reply:,.0f} sampled tokens × {each:,} numbers × {_LOGITS_NUMBER} B"
    return [Part("lessons", round(lengths.reply * each * _LOGITS_NUMBER), formula)]


def apart(config: Config, model: Model, gpu: int) -> list[Part]:
    """What an engine of theirs holds on a GPU; nothing where they are in the learner's process."""
    if not config.distill.teachers or teacher_engine(config).in_process:
        return []
    parts, _ = teacher_engine(config).memory(teachers_config(config), model_size(config, model), gpu)
    return parts


def flops(model: Model, lengths: Lengths) -> float:
    """Of one forward pass over all rows of a step."""
    attention = 2 * 2 * model.shape.layers * model.shape.heads * model.shape.head_dim * lengths.row / 2
    return lengths.tokens * (2 * model.matrices + attention) + lengths.reply * model.head * 2
