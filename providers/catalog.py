"""The models, as this process last read them: at most a second ago, so that a hundred replies a second ask once.

What is saved or deleted in this process is forgotten here at once; what another process changed counts within a second.
"""

import time
from typing import Any
from uuid import UUID

from providers import queries
from providers.errors import ModelUnavailable
from providers.models import ChatModel

FRESH_S = 1.0

_models: dict[UUID, tuple[float, ChatModel]] = {}


def get_model(model_id: UUID) -> ChatModel:
    """A usable model with its provider; not to be changed, since all threads share it. Raises ModelUnavailable."""
    model = find_model(model_id)
    if model is None or not queries.is_usable(model):
        raise ModelUnavailable(detail=str(model_id))
    return model


def find_model(model_id: UUID) -> ChatModel | None:
    """The same, also of a model that is switched off."""
    read_at, model = _models.get(model_id, (0.0, None))
    if model is None or time.monotonic() - read_at > FRESH_S:
        read_at, model = time.monotonic(), queries.find_model(model_id=model_id)
        _models.pop(model_id, None)
        if model is not None:
            _models[model_id] = (read_at, model)
    return model


def forget(**_: Any) -> None:
    """A receiver of the signals that a provider or a model has changed."""
    _models.clear()
