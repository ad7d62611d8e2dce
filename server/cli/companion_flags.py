"""The flags of files beside the model's own, and of what a model is loaded for."""

from server.cli.flag import SETTINGS, Flag
from server.cli.values import (
    companion,
    companions,
    gpu_layers,
    number,
    scaled_companions,
    speculation,
    whole,
)

COMPANION_FLAGS = (
    Flag(
        names=(
            "-mm",
            "--mmproj",
        ),
        target=f"{SETTINGS}mmproj",
        env="LLAMA_ARG_MMPROJ",
        parse=companion,
        metavar="FILE",
        help="projector for images and sound: a file, or its name in the models directory",
    ),
    Flag(
        names=("--lora",),
        target=f"{SETTINGS}lora",
        parse=companions,
        metavar="FILE,...",
        adds=True,
        help="adapters that are applied, such as one.gguf,two.gguf",
    ),
    Flag(
        names=("--lora-scaled",),
        target=f"{SETTINGS}lora",
        parse=scaled_companions,
        metavar="FILE:SCALE,...",
        adds=True,
        help="the same, each with its strength",
    ),
    Flag(
        names=(
            "-md",
            "--model-draft",
            "--spec-draft-model",
        ),
        target=f"{SETTINGS}draft_model",
        env="LLAMA_ARG_SPEC_DRAFT_MODEL",
        parse=companion,
        metavar="FILE",
        help="small model of the same vocabulary that guesses tokens ahead",
    ),
    Flag(
        names=("--spec-type",),
        target=f"{SETTINGS}speculative",
        env="LLAMA_ARG_SPEC_TYPE",
        parse=speculation,
        metavar="TYPE",
        help="how tokens are guessed: auto, off (none), ngram (ngram-simple), draft (draft-simple)",
    ),
    Flag(
        names=("--spec-ngram-simple-size-n",),
        target=f"{SETTINGS}ngram_size",
        parse=whole,
        metavar="N",
        help="tokens that must have occurred before",
    ),
    Flag(
        names=("--spec-draft-n-max",),
        target=f"{SETTINGS}draft_max",
        env="LLAMA_ARG_SPEC_DRAFT_N_MAX",
        parse=whole,
        metavar="N",
        help="most tokens that are guessed at once",
    ),
    Flag(
        names=("--spec-draft-n-min",),
        target=f"{SETTINGS}draft_min",
        env="LLAMA_ARG_SPEC_DRAFT_N_MIN",
        parse=whole,
        metavar="N",
        help="fewest tokens that a guess is worth to be checked",
    ),
    Flag(
        names=(
            "--draft-p-min",
            "--spec-draft-p-min",
        ),
        target=f"{SETTINGS}draft_p_min",
        env="LLAMA_ARG_SPEC_DRAFT_P_MIN",
        parse=number,
        metavar="P",
        help="least probability of a guessed token",
    ),
    Flag(
        names=(
            "-ngld",
            "--gpu-layers-draft",
            "--n-gpu-layers-draft",
            "--spec-draft-ngl",
        ),
        target=f"{SETTINGS}draft_gpu_layers",
        env="LLAMA_ARG_N_GPU_LAYERS_DRAFT",
        parse=gpu_layers,
        metavar="N",
        help="the draft model's layers on the GPU: a number, all, or auto",
    ),
    Flag(
        names=(
            "--embedding",
            "--embeddings",
        ),
        target=f"{SETTINGS}embedding",
        env="LLAMA_ARG_EMBEDDINGS",
        help="models compute vectors or scores, no text",
    ),
    Flag(
        names=("--pooling",),
        target=f"{SETTINGS}pooling",
        env="LLAMA_ARG_POOLING",
        parse=str,
        metavar="TYPE",
        help="how their vectors are made: none, mean, cls, last or rank",
    ),
    Flag(
        names=("--swa-full",),
        target=f"{SETTINGS}swa_full",
        env="LLAMA_ARG_SWA_FULL",
        help="a cache of full size also for sliding windows",
    ),
)
