"""Flags for files loaded beside the model (projector, adapters, draft model) and for embeddings."""

from server.cli.flag import SETTINGS, Flag
from server.cli.values.choices import gpu_layers, speculation
from server.cli.values.files import companion, companions, scaled_companions
from server.cli.values.numbers import embedding_norm, number, whole

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
        help="projector for images and audio: a path, or the name of a file in the models "
        "directory",
    ),
    Flag(
        names=("--mmproj-auto",),
        target="mmproj_auto",
        env="LLAMA_ARG_MMPROJ_AUTO",
        off_names=("--no-mmproj",),
        help="use the projector in a model's folder",
    ),
    Flag(
        names=("--lora",),
        target=f"{SETTINGS}lora",
        parse=companions,
        metavar="FILE,...",
        adds=True,
        help="LoRA adapters to apply, such as one.gguf,two.gguf",
    ),
    Flag(
        names=("--lora-scaled",),
        target=f"{SETTINGS}lora",
        parse=scaled_companions,
        metavar="FILE:SCALE,...",
        adds=True,
        help="LoRA adapters to apply, each with its scale, such as one.gguf:0.5",
    ),
    Flag(
        names=("--lora-init-without-apply",),
        target="lora_init_without_apply",
        means=True,
        help="load the adapters of --lora with scale 0; a request's lora field or POST "
        "/lora-adapters applies them",
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
        help="model that proposes draft tokens: a small one with the same vocabulary, or draft "
        "heads in a file of their own",
    ),
    Flag(
        names=("--spec-type",),
        target=f"{SETTINGS}speculative",
        env="LLAMA_ARG_SPEC_TYPE",
        parse=speculation,
        metavar="TYPE",
        help="source of draft tokens: auto, off, ngram, draft (a draft model) or mtp (the model's "
        "own draft heads), or llama-server's name of a source",
    ),
    Flag(
        names=("--spec-default",),
        target=f"{SETTINGS}speculative",
        means="ngram",
        help="take draft tokens from n-grams, like --spec-type ngram",
    ),
    Flag(
        names=(
            "--spec-ngram-mod-n-match",
            "--spec-ngram-map-k-size-n",
            "--spec-ngram-map-k4v-size-n",
            "--spec-ngram-simple-size-n",
        ),
        target=f"{SETTINGS}ngram_size",
        parse=whole,
        metavar="N",
        help="length of the n-gram: if the last N tokens occurred before, the tokens that followed "
        "them are drafted",
    ),
    Flag(
        names=(
            "--spec-ngram-mod-n-max",
            "--spec-ngram-map-k-size-m",
            "--spec-ngram-map-k4v-size-m",
            "--spec-ngram-simple-size-m",
            "--spec-draft-n-max",
        ),
        target=f"{SETTINGS}draft_max",
        env="LLAMA_ARG_SPEC_DRAFT_N_MAX",
        parse=whole,
        metavar="N",
        help="maximum number of draft tokens verified at once",
    ),
    Flag(
        names=("--spec-ngram-mod-n-min", "--spec-draft-n-min"),
        target=f"{SETTINGS}draft_min",
        env="LLAMA_ARG_SPEC_DRAFT_N_MIN",
        parse=whole,
        metavar="N",
        help="minimum number of draft tokens; shorter drafts are discarded",
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
        help="minimum probability of a draft token",
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
        help="layers of the draft model on the GPU: a number, all, or auto",
    ),
    Flag(
        names=(
            "--embedding",
            "--embeddings",
        ),
        target=f"{SETTINGS}embedding",
        env="LLAMA_ARG_EMBEDDINGS",
        help="load models for embeddings or rerank scores instead of text generation",
    ),
    Flag(
        names=("--embd-normalize",),
        target="embd_normalize",
        parse=embedding_norm,
        metavar="N",
        help="norm of embeddings: 2 is Euclidean, 1 taxicab, above 2 the p-norm; 0 scales the "
        "largest value to 32760, -1 does not scale",
    ),
    Flag(
        names=("--pooling",),
        target=f"{SETTINGS}pooling",
        env="LLAMA_ARG_POOLING",
        parse=str,
        metavar="TYPE",
        help="pooling of embeddings: none, mean, cls, last or rank",
    ),
    Flag(
        names=("--rerank", "--reranking"),
        target=f"{SETTINGS}pooling",
        env="LLAMA_ARG_RERANKING",
        means="rank",
        help="load models to compute rerank scores, like --embedding --pooling rank",
    ),
    Flag(
        names=("--swa-full",),
        target=f"{SETTINGS}swa_full",
        env="LLAMA_ARG_SWA_FULL",
        help="allocate a KV cache of full size for layers with sliding-window attention too",
    ),
)
