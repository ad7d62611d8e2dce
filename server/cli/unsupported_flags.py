"""llama-server's flags that have no effect here or are refused, each with its reason."""

from collections.abc import Mapping

_CHECKPOINTS = "the server decides when to save checkpoints, within --cache-ram"
_DRAFT = "the draft model uses the main model's threads and samplers"

# Accepted with a note, so that llama-server's command lines work unchanged: they request what this
# server always does, or choose something that it does not have. NO_EFFECT_OPTIONS take a value.
NO_EFFECT_SWITCHES: Mapping[str, str] = {
    name: why
    for names, why in (
        (("--jinja",), "chat templates are always Jinja"),
        (("-cb", "--cont-batching"), "batching is always continuous"),
        (("--cache-prompt",), "prefixes of prompts are always reused"),
        (("--warmup",), "a loaded model is always warmed up"),
        (("--mmap",), "weights are mapped by default; --load-mode changes it"),
        (("--perf", "--no-perf"), "timings are always measured; see /metrics"),
        (("--offline",), "this server never downloads anything"),
        (("--no-ui", "--no-webui"), "this server has no web interface"),
        (("--no-context-shift",), "prompts and answers are never shortened"),
        (("-e", "--escape", "--no-escape"), "prompts come in requests, not on the command line"),
        (("--cache-idle-slots",), "retained prefixes are always kept while memory allows"),
        (("-bs", "--backend-sampling"), "tokens are always sampled on the CPU"),
        (("--spec-draft-backend-sampling", "--no-spec-draft-backend-sampling"), _DRAFT),
        (("--repack", "--op-offload", "--mmproj-offload"), "this server always does that"),
        (("--reasoning-preserve",), "the template gets all reasoning in the request and decides"),
        (("--no-skip-chat-parsing",), "reasoning and tool calls are always parsed"),
        (("--no-prefill-assistant",), "answers continue only with continue_final_message"),
        (("-no-ag", "--no-agent"), "this server runs no tools"),
        (("--no-ui-mcp-proxy", "--no-webui-mcp-proxy"), "this server has no web interface"),
        (("--log-prefix", "--no-log-prefix"), "the log's format is fixed"),
        (("--log-timestamps", "--no-log-timestamps"), "the log's format is fixed"),
    )
    for name in names
}
NO_EFFECT_OPTIONS: Mapping[str, str] = {
    name: why
    for names, why in (
        (("--threads-http",), "requests are handled without threads"),
        (("-sps", "--slot-prompt-similarity"), "the longest common prefix is always reused"),
        (("--cache-reuse",), "the longest common prefix is always reused"),
        (("--log-colors",), "the log has no colours"),
        (("-dt", "--defrag-thold"), "the KV cache needs no defragmentation"),
        (("-ctxcp", "--ctx-checkpoints", "--swa-checkpoints"), _CHECKPOINTS),
        (("-cms", "--checkpoint-min-step"), _CHECKPOINTS),
        (("-td", "--threads-draft", "--spec-draft-threads"), _DRAFT),
        (("-tbd", "--threads-batch-draft", "--spec-draft-threads-batch"), _DRAFT),
    )
    for name in names
}

_DOWNLOAD = "this server never downloads models; put the file into --models-dir or give it with -m"
_SAMPLING = "each request sets it in its own field (logit_bias, grammar or json_schema)"
_NO_UI = "this server has no web interface"
_NO_TOOLS = "this server runs no tools; it returns tool calls to the client"
_ALWAYS = "this server always does what the flag switches off"
_NO_VIDEO = "this server does not accept videos"
_NGRAMS = "use --spec-type ngram with --spec-ngram-simple-size-n"
_REMOVED = "llama-server has removed this flag, too; use --spec-draft-n-max and --spec-draft-n-min"
_LORA = "use --lora-scaled FILE:0, then apply the adapter with POST /lora-adapters"
_UNAVAILABLE = "this server has no equivalent"

NOT_SUPPORTED: Mapping[str, str] = {
    name: why
    for names, why in (
        ("-mu --model-url -dr --docker-repo -hf -hfr --hf-repo -hff --hf-file", _DOWNLOAD),
        ("-hft --hf-token -mmu --mmproj-url -hfd --hf-repo-draft -cl --cache-list", _DOWNLOAD),
        ("-l --logit-bias --grammar --grammar-file", _SAMPLING),
        ("-j --json-schema -jf --json-schema-file", _SAMPLING),
        ("--lora-init-without-apply", _LORA),
        ("--ui --webui --path --ui-config --webui-config --ui-config-file", _NO_UI),
        ("--webui-config-file --ui-mcp-proxy --webui-mcp-proxy", _NO_UI),
        ("--tools --tools-runtime --agent -ag --mcp-servers-config --mcp-servers-json", _NO_TOOLS),
        ("--no-jinja -nocb --no-cont-batching --no-cache-prompt --no-warmup", _ALWAYS),
        ("--context-shift", "prompts and answers are never shortened; an overflow is an error"),
        ("--models-preset", "use --config FILE for the settings of single models"),
        ("--rerank --reranking --tags", _UNAVAILABLE),
        ("--numa -C --cpu-mask -Cr --cpu-range --cpu-strict --prio --poll --rpc", _UNAVAILABLE),
        ("-dev --device -ot --override-tensor -cmoe --cpu-moe -ncmoe --n-cpu-moe", _UNAVAILABLE),
        ("-kvo --kv-offload -nkvo --no-kv-offload --keep --no-host", _UNAVAILABLE),
        ("-lzm --lazy-mode --override-kv --control-vector --check-tensors", _UNAVAILABLE),
        ("-fitt --fit-target -fitc --fit-ctx --log-disable --completion-bash", _UNAVAILABLE),
        ("--reuse-port --media-path --log-prompts-dir --kv-unified-per-slot", _UNAVAILABLE),
        ("-Cb --cpu-mask-batch -Crb --cpu-range-batch --cpu-strict-batch", _UNAVAILABLE),
        ("--prio-batch --poll-batch -lcs --lookup-cache-static", _UNAVAILABLE),
        ("-lcd --lookup-cache-dynamic --no-cache-idle-slots -sp --special", _UNAVAILABLE),
        ("--spm-infill -nr --no-repack --no-op-offload --no-mmproj-offload", _UNAVAILABLE),
        ("--image-min-tokens --image-max-tokens --mtmd-batch-max-tokens", _UNAVAILABLE),
        ("-ncffn --n-cpu-ffn --control-vector-scaled --control-vector-layer-range", _UNAVAILABLE),
        ("--no-reasoning-preserve --skip-chat-parsing", _UNAVAILABLE),
        ("--spec-draft-cpu-mask -Cd --cpu-mask-draft --spec-draft-cpu-range -Crd", _UNAVAILABLE),
        ("--cpu-range-draft --spec-draft-cpu-strict --cpu-strict-draft", _UNAVAILABLE),
        ("--spec-draft-prio --prio-draft --spec-draft-poll --poll-draft", _UNAVAILABLE),
        ("--spec-draft-cpu-mask-batch -Cbd --cpu-mask-batch-draft", _UNAVAILABLE),
        ("--spec-draft-cpu-strict-batch --cpu-strict-batch-draft", _UNAVAILABLE),
        ("--spec-draft-prio-batch --prio-batch-draft --spec-draft-poll-batch", _UNAVAILABLE),
        ("--poll-batch-draft --spec-draft-type-k -ctkd --cache-type-k-draft", _UNAVAILABLE),
        ("--spec-draft-type-v -ctvd --cache-type-v-draft", _UNAVAILABLE),
        ("--spec-draft-override-tensor -otd --override-tensor-draft", _UNAVAILABLE),
        ("--spec-draft-cpu-moe -cmoed --cpu-moe-draft --spec-draft-n-cpu-moe", _UNAVAILABLE),
        ("--spec-draft-ncmoe -ncmoed --n-cpu-moe-draft --spec-synth-len", _UNAVAILABLE),
        ("--spec-synth-rates --spec-draft-p-split --draft-p-split", _UNAVAILABLE),
        ("--spec-draft-device -devd --device-draft --spec-default", _UNAVAILABLE),
        ("--prefill-assistant", "use continue_final_message in the request"),
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

# Flags of which some values describe what this server always does: those values, the note for
# them, and the reason why others are refused.
ONE_CHOICE: Mapping[str, tuple[frozenset[str], str, str]] = {
    name: (frozenset(words.split()), why_so, why_not)
    for names, words, why_so, why_not in (
        (
            "-fit --fit",
            "on true 1 enabled",
            "a load always puts as many layers on the GPU as fit",
            "use --n-gpu-layers and --ctx-size to set sizes",
        ),
        (
            "--embd-normalize",
            "2",
            "embeddings always have length 1",
            "use the field embd_normalize of /embedding, which accepts -1",
        ),
    )
    for name in names.split()
}
