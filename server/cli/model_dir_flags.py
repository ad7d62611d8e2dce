"""Flags for the models that are served, and for how many stay in memory and how long."""

from server.cli.flag import Flag
from server.cli.values.files import cache_folder, folder, model_settings, path
from server.cli.values.lists import device_budgets, words
from server.cli.values.numbers import integer, seconds, seconds_or_never

MODEL_DIR_FLAGS = (
    Flag(
        names=("-m", "--model"),
        target="model_file",
        env="LLAMA_ARG_MODEL",
        parse=path,
        metavar="FILE",
        help="serve this GGUF file only; requests then need no model name",
    ),
    Flag(
        names=("-a", "--alias"),
        target="aliases",
        env="LLAMA_ARG_ALIAS",
        parse=words,
        metavar="NAME,...",
        help="other names of --model's file; /v1 and Ollama list it under the first name",
    ),
    Flag(
        names=("--tags",),
        target="tags",
        env="LLAMA_ARG_TAGS",
        parse=words,
        metavar="TAG,...",
        help="tags that /v1/models lists for the model of --model; they have no other effect",
    ),
    Flag(
        names=("--models-dir",),
        target="models_dir",
        env="LLAMA_ARG_MODELS_DIR",
        parse=folder,
        metavar="DIR",
        help="folder of GGUF files, including sub-folders; it need not exist",
    ),
    Flag(
        names=("--bundled-model",),
        target="bundled_model",
        help="list the small model that comes with the package",
    ),
    Flag(
        names=("--models-max",),
        target="models_max",
        env="LLAMA_ARG_MODELS_MAX",
        parse=integer(0, 1024),
        metavar="N",
        help="maximum number of models in memory at once; 0 is as many as fit",
    ),
    Flag(
        names=("--memory-budget-mb",),
        target="memory_budget_mb",
        parse=integer(0, 1 << 30),
        metavar="MB",
        help="maximum host memory for all models together; 0 is all free memory",
    ),
    Flag(
        names=("--device-budget-mb",),
        target="device_budgets",
        parse=device_budgets,
        metavar="NAME=MB,...",
        help="maximum memory of each device for all models together, such as CUDA0=20000",
    ),
    Flag(
        names=("--config",),
        target="model_settings",
        parse=model_settings,
        metavar="FILE",
        help="TOML file of load settings and aliases for each model (docs/models.md)",
    ),
    Flag(
        names=("--models-preset",),
        target="presets",
        env="LLAMA_ARG_MODELS_PRESET",
        parse=path,
        metavar="FILE",
        help="INI file of models and their settings in llama-server's form: a section for each "
        "model, with names of flags as keys",
    ),
    Flag(
        names=("--follow-links",),
        target="follow_links",
        help="follow symbolic links that point outside the models directory",
    ),
    Flag(
        names=("--models-autoload",),
        target="models_autoload",
        env="LLAMA_ARG_MODELS_AUTOLOAD",
        help="load a model when a request names it",
    ),
    Flag(
        names=("--ttl", "--sleep-idle-seconds"),
        target="ttl_seconds",
        parse=seconds_or_never,
        metavar="SECONDS",
        help="unload a model that has been idle for this long; -1 is never",
    ),
    Flag(
        names=("--load-timeout",),
        target="load_timeout",
        parse=seconds,
        metavar="SECONDS",
        help="time limit for loading a model",
    ),
    Flag(
        names=("--cache-dir",),
        target="cache_dir",
        parse=cache_folder,
        metavar="FOLDER",
        help="keep computed prompts in files in this folder, so that a restarted server reads them "
        "instead of computing them again; the files are readable by the server's user only, "
        "and not encrypted",
    ),
    Flag(
        names=("--cache-disk",),
        target="cache_disk_mib",
        parse=integer(1, 1 << 24),
        metavar="MIB",
        help="maximum total size of the files in --cache-dir, for all models together, in MiB",
    ),
)
