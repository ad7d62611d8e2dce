"""Flags that place weights and computation on devices, and replace metadata of the file."""

from server.cli.flag import SETTINGS, Flag
from server.cli.values.cpus import cpu_mask, cpu_range
from server.cli.values.lists import metadata, rpc_servers, tensor_rules, words
from server.cli.values.numbers import whole

PLACEMENT_FLAGS = (
    Flag(
        names=("-C", "--cpu-mask"),
        target="cpus",
        parse=cpu_mask,
        metavar="MASK",
        adds=True,
        help="CPUs to run on, as a hexadecimal mask",
    ),
    Flag(
        names=("-Cr", "--cpu-range"),
        target="cpus",
        parse=cpu_range,
        metavar="FIRST-LAST",
        adds=True,
        help="CPUs to run on, added to those of --cpu-mask",
    ),
    Flag(
        names=("-dev", "--device"),
        target=f"{SETTINGS}devices",
        env="LLAMA_ARG_DEVICE",
        parse=words,
        metavar="NAME,...",
        help="devices to compute on, as --list-devices names them; none uses the CPU only",
    ),
    Flag(
        names=("--rpc",),
        target="rpc",
        env="LLAMA_ARG_RPC",
        parse=rpc_servers,
        metavar="HOST:PORT,...",
        help="use the devices of these RPC servers, each started by `llamabind rpc-server`; the "
        "protocol has no keys and no encryption (docs/scaling.md)",
    ),
    Flag(
        names=("-ot", "--override-tensor"),
        target=f"{SETTINGS}override_tensor",
        env="LLAMA_ARG_OVERRIDE_TENSOR",
        parse=tensor_rules,
        metavar="PATTERN=BUFFER,...",
        adds=True,
        help="put tensors whose name matches a regular expression into a buffer, such as "
        "ffn_.*_exps=CPU",
    ),
    Flag(
        names=("-cmoe", "--cpu-moe"),
        target=f"{SETTINGS}cpu_moe",
        env="LLAMA_ARG_CPU_MOE",
        help="keep the weights of all experts of a mixture of experts on the CPU",
    ),
    Flag(
        names=("-ncmoe", "--n-cpu-moe"),
        target=f"{SETTINGS}n_cpu_moe",
        env="LLAMA_ARG_N_CPU_MOE",
        parse=whole,
        metavar="N",
        help="keep the weights of the experts of the first N layers on the CPU",
    ),
    Flag(
        names=("-ncffn", "--n-cpu-ffn"),
        target=f"{SETTINGS}n_cpu_ffn",
        env="LLAMA_ARG_N_CPU_FFN",
        parse=whole,
        metavar="N",
        help="keep the feed-forward weights of the first N layers on the CPU",
    ),
    Flag(
        names=("-kvo", "--kv-offload"),
        target=f"{SETTINGS}kv_offload",
        env="LLAMA_ARG_KV_OFFLOAD",
        off_names=("-nkvo",),
        help="keep the KV cache on the GPU",
    ),
    Flag(
        names=("--op-offload",),
        target=f"{SETTINGS}op_offload",
        help="compute large batches on the GPU even where the weights are on the CPU",
    ),
    Flag(
        names=("--repack",),
        target=f"{SETTINGS}repack",
        env="LLAMA_ARG_REPACK",
        off_names=("-nr",),
        help="repack weights for the CPU while loading",
    ),
    Flag(
        names=("--no-host",),
        target=f"{SETTINGS}no_host",
        env="LLAMA_ARG_NO_HOST",
        means=True,
        help="bypass the host buffer, so that weights on the CPU can be repacked beside a GPU",
    ),
    Flag(
        names=("--check-tensors",),
        target=f"{SETTINGS}check_tensors",
        help="look for invalid values in the weights while loading",
    ),
    Flag(
        names=("--override-kv",),
        target=f"{SETTINGS}override_kv",
        parse=metadata,
        metavar="KEY=TYPE:VALUE,...",
        help="replace metadata of the file; the types are int, float, bool and str",
    ),
    Flag(
        names=("--mmproj-offload",),
        target=f"{SETTINGS}mmproj_offload",
        env="LLAMA_ARG_MMPROJ_OFFLOAD",
        help="compute the projector on the GPU",
    ),
    Flag(
        names=("--image-min-tokens",),
        target=f"{SETTINGS}image_min_tokens",
        env="LLAMA_ARG_IMAGE_MIN_TOKENS",
        parse=whole,
        metavar="N",
        help="minimum number of tokens of an image, for models that read images of any size",
    ),
    Flag(
        names=("--image-max-tokens",),
        target=f"{SETTINGS}image_max_tokens",
        env="LLAMA_ARG_IMAGE_MAX_TOKENS",
        parse=whole,
        metavar="N",
        help="maximum number of tokens of an image, for models that read images of any size",
    ),
)
