"""llama-server's flags that this server does not have: what to say to somebody who uses one."""

from collections.abc import Mapping

# Accepted, so that a command line can stay as it is: what they ask for is so anyway, or decides
# nothing here. Those in the second group take a value.
NO_EFFECT_SWITCHES: Mapping[str, str] = {
    name: why
    for names, why in (
        (("--jinja",), "chat templates are always Jinja"),
        (("-cb", "--cont-batching"), "batching is always continuous"),
        (("--cache-prompt",), "prompts are always reused"),
        (("--warmup",), "a loaded model is always warmed up"),
        (("--mmap",), "weights are always mapped"),
        (("--perf", "--no-perf"), "there are metrics instead"),
        (("--offline",), "this server never downloads anything"),
        (("--no-ui", "--no-webui"), "there is no web interface"),
        (("--no-context-shift",), "no prompt or answer is ever shortened"),
        (("--no-mmproj",), "a projector is used only where a load names it"),
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
    )
    for name in names
}

_DOWNLOAD = "this server never downloads models: put the file into --models-dir, or name it with -m"
_SAMPLING = "sampling is chosen by each request, in its fields of the same name"
_PER_LOAD = "choose it in the body of POST /api/v2/models/{model_id}/load, see docs/loading.md"
_NO_UI = "there is no web interface"
_NO_TOOLS = "this server runs no tools: it hands tool calls to the client"
_ALWAYS = "this server always does that"
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
        ("-j --json-schema -jf --json-schema-file -n --predict --n-predict", _SAMPLING),
        ("--reasoning-budget -rea --reasoning", _SAMPLING),
        ("--spec-type", _PER_LOAD),
        ("--lora-init-without-apply", _LORA),
        ("--no-mmap", "weights are mapped or, with --load-mode mlock, held in memory"),
        ("--ui --webui --path --ui-config --webui-config --ui-config-file", _NO_UI),
        ("--tools --tools-runtime --agent -ag --mcp-servers-config --mcp-servers-json", _NO_TOOLS),
        ("--no-jinja -nocb --no-cont-batching --no-cache-prompt --no-warmup", _ALWAYS),
        ("--context-shift", "no prompt or answer is ever shortened: an overflow is an error"),
        ("--models-preset", "settings of single models are in the file of --config"),
        ("--rerank --reranking --tags", _NOT_OURS),
        ("--numa -C --cpu-mask -Cr --cpu-range --cpu-strict --prio --poll --rpc", _NOT_OURS),
        ("-dev --device -ot --override-tensor -cmoe --cpu-moe -ncmoe --n-cpu-moe", _NOT_OURS),
        ("-kvo --kv-offload -nkvo --no-kv-offload --keep --no-host", _NOT_OURS),
        ("-lzm --lazy-mode --override-kv --control-vector --check-tensors", _NOT_OURS),
        ("-fit --fit -fitt --fit-target -fitc --fit-ctx --log-disable", _NOT_OURS),
        ("--reuse-port --media-path --log-prompts-dir --chat-template-kwargs", _NOT_OURS),
    )
    for name in names.split()
}
