"""An answer depends neither on the kernels that multiply the weights nor on the rest of the batch.

Repacked weights have kernels of their own, chosen by weight type, CPU and build (repack, AMX,
KleidiAI), and others again for batches than for single tokens. The reference reads the weights as
the file has them, one sequence at a time, with ggml's attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import load_engine
from llamabind.native.kernels import PRODUCTS_VARIABLE
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from tests.support.engine_runs import ENDLESS, Reference, make_request, run
from tests.support.random_architectures import ARCHITECTURES, write_random_architecture
from tests.support.weight_types import WEIGHT_TYPES

pytestmark = pytest.mark.native

N_TOKENS = 6
# Quantised weights are multiplied with activations of 8 bits, in blocks of 32 or 256 with a scale.
# Kernels that add in another order change an activation in its last bits, and the next product may
# round it to the neighbouring step. That moves log-probabilities by up to 0.07 (q4_k, with plain
# kernels, between batches and single sequences); wrong weights move them by whole units.
QUANTISED_ROUNDING = 0.2
# Tiles of AMX are 32 rows and 16 columns: prompts shorter, longer, and ending within a tile.
PROMPT_LENGTHS = (37, 3, 20, 1)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module", params=WEIGHT_TYPES)
def path(
    request: pytest.FixtureRequest,
    architecture: str,
    tmp_path_factory: pytest.TempPathFactory,
    vocab_dir: Path,
) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("weights") / f"{architecture}-{request.param}.gguf"
    vocab_file = vocab_dir / "ggml-vocab-llama-spm.gguf"
    write_random_architecture(path, vocab_file, architecture, weight_type=request.param)
    yield path
    path.unlink()


@pytest.fixture(scope="module", autouse=True)
def ggmls_products() -> Iterator[None]:
    """These tests are of ggml's kernels. Ours, which test_products.py tests, round activations in
    other blocks.
    """
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(PRODUCTS_VARIABLE, "ggml")
        yield


@pytest.fixture(scope="module")
def reference(path: Path) -> Iterator[Reference]:
    with Model(path, ModelParams(use_extra_bufts=False)) as model:
        if "-q" in path.stem:
            yield Reference(model, QUANTISED_ROUNDING, QUANTISED_ROUNDING)
        else:
            yield Reference(model)


@pytest.mark.parametrize("kv_unified", [True, False], ids=["unified", "split"])
def test_every_answer_equals_the_references_alone_and_batched(path, reference, kv_unified):
    random = np.random.default_rng(3)
    prompts = [random.integers(300, 30_000, n).tolist() for n in PROMPT_LENGTHS]
    requests = [
        make_request(str(i), prompt, N_TOKENS, sampling=ENDLESS, logprobs=3)
        for i, prompt in enumerate(prompts)
    ]
    config = EngineConfig(
        n_parallel=len(prompts), n_ctx=1024, n_batch=256, n_threads=1, kv_unified=kv_unified
    )
    with load_engine(path, config=config) as engine:
        alone = run(engine, requests[0])
        reference.check(prompts[0], alone["0"])
        together = run(engine, *requests)
        for i, prompt in enumerate(prompts):
            reference.check(prompt, together[str(i)])
