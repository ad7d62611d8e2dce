"""The flags of how positions are encoded."""

from server.flag import SETTINGS, Flag
from server.flag_values import inverse, number, whole

ROPE_FLAGS = (
    Flag(
        names=("--rope-scaling",),
        target=f"{SETTINGS}rope_scaling",
        env="LLAMA_ARG_ROPE_SCALING_TYPE",
        parse=str,
        metavar="TYPE",
        help="none, linear, yarn or longrope",
    ),
    Flag(
        names=("--rope-scale",),
        target=f"{SETTINGS}rope_freq_scale",
        env="LLAMA_ARG_ROPE_SCALE",
        parse=inverse,
        metavar="N",
        help="the context is to be so many times longer",
    ),
    Flag(
        names=("--rope-freq-base",),
        target=f"{SETTINGS}rope_freq_base",
        env="LLAMA_ARG_ROPE_FREQ_BASE",
        parse=number,
        metavar="N",
        help="base frequency instead of the model's own",
    ),
    Flag(
        names=("--rope-freq-scale",),
        target=f"{SETTINGS}rope_freq_scale",
        env="LLAMA_ARG_ROPE_FREQ_SCALE",
        parse=number,
        metavar="N",
        help="1 divided by what --rope-scale takes",
    ),
    Flag(
        names=("--yarn-orig-ctx",),
        target=f"{SETTINGS}yarn_orig_ctx",
        env="LLAMA_ARG_YARN_ORIG_CTX",
        parse=whole,
        metavar="N",
        help="context that the model was trained with",
    ),
    Flag(
        names=("--yarn-ext-factor",),
        target=f"{SETTINGS}yarn_ext_factor",
        env="LLAMA_ARG_YARN_EXT_FACTOR",
        parse=number,
        metavar="N",
        help="extrapolation mix factor; 0 is full interpolation",
    ),
    Flag(
        names=("--yarn-attn-factor",),
        target=f"{SETTINGS}yarn_attn_factor",
        env="LLAMA_ARG_YARN_ATTN_FACTOR",
        parse=number,
        metavar="N",
        help="scale of attention",
    ),
    Flag(
        names=("--yarn-beta-slow",),
        target=f"{SETTINGS}yarn_beta_slow",
        env="LLAMA_ARG_YARN_BETA_SLOW",
        parse=number,
        metavar="N",
        help="high correction dimension",
    ),
    Flag(
        names=("--yarn-beta-fast",),
        target=f"{SETTINGS}yarn_beta_fast",
        env="LLAMA_ARG_YARN_BETA_FAST",
        parse=number,
        metavar="N",
        help="low correction dimension",
    ),
)
