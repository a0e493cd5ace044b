"""train.credit.returns=own_reward: every solve has its own reward, an update that of the next task."""

from __future__ import annotations

from codctl.cod.credit import Returns, Rewards
from codctl.config.schema import CreditConfig


def own_reward(rewards: Rewards, settings: CreditConfig) -> Returns:
    return Returns(rewards.solve_GS, rewards.update_GU + rewards.solve_GS[:, 1:])
