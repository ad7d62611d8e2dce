"""SamplingDefaults: how a model samples where a request leaves it open."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from llamabind.errors import InvalidParameterError
from llamabind.sampling.params import RANDOM_SEED, SamplingParams, sampler_names
from server.protocol.job import Job
from server.protocol.sampling_fields import CommonSampling

# Fields that are not SamplingParams': they have the same names in a Job, except n_predict.
_OF_JOB = ("n_predict", "stop")


class SamplingDefaults(
    CommonSampling, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Defaults of sampling by llama-server's names; null or absent is llama.cpp's own default.

    `n_predict` is the maximum number of tokens of an answer, -1 is no limit; `stop` are strings
    that end it.
    """

    # The OpenAPI description shows the docstring. Making the object raises InvalidParameterError,
    # with names as in "sampling.top_p".

    temperature: float | None = None
    dry_sequence_breakers: tuple[str, ...] | None = None
    samplers: tuple[str, ...] | None = None
    n_predict: int | None = None
    stop: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if (self.n_predict or 0) < -1:
            raise InvalidParameterError("sampling.n_predict", f"{self.n_predict} is below -1")
        try:
            self.params()
        except InvalidParameterError as error:
            raise InvalidParameterError(f"sampling.{error.field}", error.message) from None

    def over(self, base: "SamplingDefaults") -> "SamplingDefaults":
        """These defaults, completed by those of `base`."""
        values = msgspec.structs.asdict(self)
        missing = {name: getattr(base, name) for name, value in values.items() if value is None}
        try:
            return replace(self, **missing)
        except InvalidParameterError:
            # Values that are fine alone but not together: those of `base` give way.
            return self

    def given(self) -> Mapping[str, Any]:
        """The fields of SamplingParams that are set here."""
        values: dict[str, Any] = {
            name: value
            for name, value in msgspec.structs.asdict(self).items()
            if value is not None and name not in _OF_JOB
        }
        if self.samplers is not None:
            values["samplers"] = sampler_names(self.samplers)
        if self.seed == -1:
            values["seed"] = RANDOM_SEED
        return values

    def params(self) -> SamplingParams:
        """The sampling of a request that sets nothing."""
        return SamplingParams(**self.given())

    @property
    def max_tokens(self) -> int | None:
        """The most tokens of an answer; None is no limit."""
        return None if self.n_predict == -1 else self.n_predict


def with_sampling(job: Job, defaults: SamplingDefaults | None) -> Job:
    """The job with a model's defaults for what its request leaves open; a second call does nothing.

    Raises InvalidParameterError if the request contradicts them.
    """
    if defaults is None or job.given_sampling is None:
        return job
    own = {
        name: value for name, value in defaults.given().items() if name not in job.given_sampling
    }
    return replace(
        job,
        sampling=dataclasses.replace(job.sampling, **own),
        max_tokens=defaults.max_tokens if job.max_tokens is None else job.max_tokens,
        stop=job.stop or defaults.stop or (),
        given_sampling=None,
    )
