"""llama-server's flags that this server does not have: what to say to somebody who uses one."""

from collections.abc import Mapping

_PROJECTOR = "a projector is used only where a load names it"
_CHECKPOINTS = "checkpoints are made where they are worth it, as --cache-ram has room"
_DRAFT = "the draft model computes and samples as its model does"

# Accepted, so that a command line can stay as it is: what they ask for is so anyway, or decides
# nothing here. Those in the second group take a value.
NO_EFFECT_SWITCHES: Mapping[str, str] = {
    name: why
    for names, why in (
        (("--jinja",), "chat templates are always Jinja"),
        (("-cb", "--cont-batching"), "batching is always continuous"),
        (("--cache-prompt",), "prompts are always reused"),
        (("--warmup",), "a loaded model is always warmed up"),
        (("--mmap",), "weights are mapped where nothing else is asked for"),
        (("--perf", "--no-perf"), "there are metrics instead"),
        (("--offline",), "this server never downloads anything"),
        (("--no-ui", "--no-webui"), "there is no web interface"),
        (("--no-context-shift",), "no prompt or answer is ever shortened"),
        (("--mmproj-auto", "--no-mmproj", "--no-mmproj-auto"), _PROJECTOR),
        (("-e", "--escape", "--no-escape"), "no prompt is given on the command line"),
        (("--cache-idle-slots",), "what is idle is kept where there is room"),
        (("-bs", "--backend-sampling"), "tokens are chosen on the CPU"),
        (("--spec-draft-backend-sampling", "--no-spec-draft-backend-sampling"), _DRAFT),
        (("--repack", "--op-offload", "--mmproj-offload"), "it is so anyway"),
        (("--reasoning-preserve",), "the template decides, with all that a request brings"),
        (("--no-skip-chat-parsing",), "thoughts and calls of tools are always taken out"),
        (("--no-prefill-assistant",), "an answer is continued only where a request says so"),
        (("-no-ag", "--no-agent"), "this server runs no tools"),
        (("--no-ui-mcp-proxy", "--no-webui-mcp-proxy"), "there is no web interface"),
        (("--log-prefix", "--no-log-prefix"), "the log's form is fixed"),
        (("--log-timestamps", "--no-log-timestamps"), "the log's form is fixed"),
    )
    for name in names
}
NO_EFFECT_OPTIONS: Mapping[str, str] = {
    name: why
    for names, why in (
        (("--threads-http",), "requests need no threads here"),
        (("-sps", "--slot-prompt-similarity"), "the longest common prefix is always reused"),
        (("--cache-reuse",), "the longest common prefix is always reused"),
        (("--log-colors",), "the log has no colours"),
        (("-dt", "--defrag-thold"), "there is nothing to defragment"),
        (("-ctxcp", "--ctx-checkpoints", "--swa-checkpoints"), _CHECKPOINTS),
        (("-cms", "--checkpoint-min-step"), _CHECKPOINTS),
        (("-td", "--threads-draft", "--spec-draft-threads"), _DRAFT),
        (("-tbd", "--threads-batch-draft", "--spec-draft-threads-batch"), _DRAFT),
    )
    for name in names
}

_DOWNLOAD = "this server never downloads models: put the file into --models-dir, or name it with -m"
_SAMPLING = "sampling is chosen by each request, in its fields of the same name"
_NO_UI = "there is no web interface"
_NO_TOOLS = "this server runs no tools: it hands tool calls to the client"
_ALWAYS = "this server always does that"
_NO_VIDEO = "videos are not taken"
_NGRAMS = "n-grams are looked up one way here: --spec-type ngram, --spec-ngram-simple-size-n"
_REMOVED = "llama-server has removed it: --spec-draft-n-max, --spec-draft-n-min"
_LORA = "--lora-scaled FILE:0 loads an adapter without applying it, see POST /lora-adapters"
_NOT_OURS = "this server does not have it"

NOT_SUPPORTED: Mapping[str, str] = {
    name: why
    for names, why in (
        ("-mu --model-url -dr --docker-repo -hf -hfr --hf-repo -hff --hf-file", _DOWNLOAD),
        ("-hft --hf-token -mmu --mmproj-url -hfd --hf-repo-draft -cl --cache-list", _DOWNLOAD),
        ("--samplers -s --seed --sampler-seq --sampling-seq --ignore-eos", _SAMPLING),
        ("--temp --temperature --top-k --top-p --min-p --top-nsigma --top-n-sigma", _SAMPLING),
        ("--xtc-probability --xtc-threshold --typical --typical-p", _SAMPLING),
        ("--repeat-last-n --repeat-penalty --presence-penalty --frequency-penalty", _SAMPLING),
        ("--dry-multiplier --dry-base --dry-allowed-length --dry-penalty-last-n", _SAMPLING),
        ("--dry-sequence-breaker --dynatemp-range --dynatemp-exp --mirostat", _SAMPLING),
        ("--mirostat-lr --mirostat-ent -l --logit-bias --grammar --grammar-file", _SAMPLING),
        ("--adaptive-target --adaptive-decay -r --reverse-prompt", _SAMPLING),
        ("-j --json-schema -jf --json-schema-file -n --predict --n-predict", _SAMPLING),
        ("--lora-init-without-apply", _LORA),
        ("--ui --webui --path --ui-config --webui-config --ui-config-file", _NO_UI),
        ("--webui-config-file --ui-mcp-proxy --webui-mcp-proxy", _NO_UI),
        ("--tools --tools-runtime --agent -ag --mcp-servers-config --mcp-servers-json", _NO_TOOLS),
        ("--no-jinja -nocb --no-cont-batching --no-cache-prompt --no-warmup", _ALWAYS),
        ("--context-shift", "no prompt or answer is ever shortened: an overflow is an error"),
        ("--models-preset", "settings of single models are in the file of --config"),
        ("--rerank --reranking --tags", _NOT_OURS),
        ("--numa -C --cpu-mask -Cr --cpu-range --cpu-strict --prio --poll --rpc", _NOT_OURS),
        ("-dev --device -ot --override-tensor -cmoe --cpu-moe -ncmoe --n-cpu-moe", _NOT_OURS),
        ("-kvo --kv-offload -nkvo --no-kv-offload --keep --no-host", _NOT_OURS),
        ("-lzm --lazy-mode --override-kv --control-vector --check-tensors", _NOT_OURS),
        ("-fitt --fit-target -fitc --fit-ctx --log-disable --completion-bash", _NOT_OURS),
        ("--reuse-port --media-path --log-prompts-dir --kv-unified-per-slot", _NOT_OURS),
        ("-Cb --cpu-mask-batch -Crb --cpu-range-batch --cpu-strict-batch", _NOT_OURS),
        ("--prio-batch --poll-batch -lcs --lookup-cache-static", _NOT_OURS),
        ("-lcd --lookup-cache-dynamic --no-cache-idle-slots -sp --special", _NOT_OURS),
        ("--spm-infill -nr --no-repack --no-op-offload --no-mmproj-offload", _NOT_OURS),
        ("--image-min-tokens --image-max-tokens --mtmd-batch-max-tokens", _NOT_OURS),
        ("-ncffn --n-cpu-ffn --control-vector-scaled --control-vector-layer-range", _NOT_OURS),
        ("--no-reasoning-preserve --skip-chat-parsing", _NOT_OURS),
        ("--spec-draft-cpu-mask -Cd --cpu-mask-draft --spec-draft-cpu-range -Crd", _NOT_OURS),
        ("--cpu-range-draft --spec-draft-cpu-strict --cpu-strict-draft", _NOT_OURS),
        ("--spec-draft-prio --prio-draft --spec-draft-poll --poll-draft", _NOT_OURS),
        ("--spec-draft-cpu-mask-batch -Cbd --cpu-mask-batch-draft", _NOT_OURS),
        ("--spec-draft-cpu-strict-batch --cpu-strict-batch-draft", _NOT_OURS),
        ("--spec-draft-prio-batch --prio-batch-draft --spec-draft-poll-batch", _NOT_OURS),
        ("--poll-batch-draft --spec-draft-type-k -ctkd --cache-type-k-draft", _NOT_OURS),
        ("--spec-draft-type-v -ctvd --cache-type-v-draft", _NOT_OURS),
        ("--spec-draft-override-tensor -otd --override-tensor-draft", _NOT_OURS),
        ("--spec-draft-cpu-moe -cmoed --cpu-moe-draft --spec-draft-n-cpu-moe", _NOT_OURS),
        ("--spec-draft-ncmoe -ncmoed --n-cpu-moe-draft --spec-synth-len", _NOT_OURS),
        ("--spec-synth-rates --spec-draft-p-split --draft-p-split", _NOT_OURS),
        ("--spec-draft-device -devd --device-draft --spec-default", _NOT_OURS),
        ("--prefill-assistant", "a request says continue_final_message"),
        ("--video-fps --video-timestamp-interval --video-ffmpeg-dir", _NO_VIDEO),
        ("--spec-ngram-mod-n-min --spec-ngram-mod-n-max --spec-ngram-mod-n-match", _NGRAMS),
        ("--spec-ngram-simple-size-m --spec-ngram-simple-min-hits", _NGRAMS),
        ("--spec-ngram-map-k-size-n --spec-ngram-map-k-size-m", _NGRAMS),
        ("--spec-ngram-map-k-min-hits --spec-ngram-map-k4v-size-n", _NGRAMS),
        ("--spec-ngram-map-k4v-size-m --spec-ngram-map-k4v-min-hits", _NGRAMS),
        ("--spec-ngram-size-n --spec-ngram-size-m --spec-ngram-min-hits", _NGRAMS),
        ("--draft --draft-n --draft-max --draft-min --draft-n-min", _REMOVED),
        ("--spec-draft-hf -hfrd --embd-gemma-default --fim-qwen-1.5b-default", _DOWNLOAD),
        ("--fim-qwen-3b-default --fim-qwen-7b-default --fim-qwen-7b-spec", _DOWNLOAD),
        ("--fim-qwen-14b-spec --fim-qwen-30b-default --gpt-oss-20b-default", _DOWNLOAD),
        ("--gpt-oss-120b-default --vision-gemma-4b-default", _DOWNLOAD),
        ("--vision-gemma-12b-default", _DOWNLOAD),
    )
    for name in names.split()
}

# Flags of which one answer is what happens anyway: that one, why, and why no other.
ONE_CHOICE: Mapping[str, tuple[frozenset[str], str, str]] = {
    name: (frozenset(words.split()), why_so, why_not)
    for names, words, why_so, why_not in (
        (
            "-fit --fit",
            "on true 1 enabled",
            "a load takes as many layers to the GPU as fit",
            "--n-gpu-layers and --ctx-size say what a load takes",
        ),
        (
            "--embd-normalize",
            "2",
            "vectors are of length 1",
            "a request of /embedding may say -1, in its field embd_normalize",
        ),
    )
    for name in names.split()
}
