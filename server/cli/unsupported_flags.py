"""llama-server's flags that have no effect here or are refused, each with its reason."""

from collections.abc import Mapping

_CHECKPOINTS = "checkpoints are made when worthwhile, within --cache-ram"
_DRAFT = "the draft model uses the threads and the sampling of the main model"
_NO_UI_SETTINGS = "the web page keeps its settings in the browser; its files cannot be replaced"
_NO_PROXY = "the web page calls no MCP servers"
_NO_VIDEO = "this server does not accept videos; send their frames as images"
_PRIORITY = "threads have the priority of the process; start it with nice or chrt to change that"
_POLLING = "threads always wait by polling for a short time"
_SAME_CPUS = "prompts, answers and drafts are computed on the CPUs of --cpu-mask"
_CPUS = "the system distributes the threads over the CPUs of --cpu-mask"
_DRAFT_CACHE = "the draft model's cache has the types of --cache-type-k and --cache-type-v"

# Accepted with a note, so that llama-server's command lines work unchanged. They request what this
# server does anyway, belong to features that it lacks, or affect only the speed. NO_EFFECT_OPTIONS
# take a value.
NO_EFFECT_SWITCHES: Mapping[str, str] = {
    name: why
    for names, why in (
        ("--jinja --no-jinja", "chat templates are always Jinja"),
        ("-cb --cont-batching -nocb --no-cont-batching", "batching is always continuous"),
        (
            "--cache-prompt --no-cache-prompt",
            "prompts are reused unless the request says cache_prompt: false",
        ),
        ("--warmup --no-warmup", "a loaded model is always warmed up"),
        ("--mmap", "weights are mapped unless --load-mode says otherwise"),
        ("--perf --no-perf", "timings are always measured; see /metrics"),
        ("--ui-mcp-proxy --webui-mcp-proxy --no-ui-mcp-proxy --no-webui-mcp-proxy", _NO_PROXY),
        ("-e --escape --no-escape", "prompts come in requests, not on the command line"),
        (
            "--cache-idle-slots --no-cache-idle-slots",
            "idle prompts are kept while memory allows; --cache-ram 0 saves none in host memory",
        ),
        ("-bs --backend-sampling", "tokens are always sampled on the CPU"),
        ("--spec-draft-backend-sampling --no-spec-draft-backend-sampling", _DRAFT),
        (
            "--reasoning-preserve --no-reasoning-preserve",
            "the template decides; it gets all reasoning in the request",
        ),
        ("--no-skip-chat-parsing", "reasoning and tool calls are always parsed"),
        (
            "--prefill-assistant --no-prefill-assistant",
            "a request continues its last message with continue_final_message",
        ),
        ("-no-ag --no-agent", "this server runs no tools"),
        ("--log-prefix --no-log-prefix --log-timestamps", "the log's format is fixed"),
        ("--no-log-timestamps", "the log's format is fixed"),
    )
    for name in names.split()
}
NO_EFFECT_OPTIONS: Mapping[str, str] = {
    name: why
    for names, why in (
        ("--threads-http", "requests are handled without threads"),
        ("-sps --slot-prompt-similarity --cache-reuse", "the longest common prefix is reused"),
        ("--log-colors", "the log has no colours"),
        ("-dt --defrag-thold", "the KV cache needs no defragmentation"),
        ("-ctxcp --ctx-checkpoints --swa-checkpoints -cms --checkpoint-min-step", _CHECKPOINTS),
        ("-td --threads-draft --spec-draft-threads", _DRAFT),
        ("-tbd --threads-batch-draft --spec-draft-threads-batch", _DRAFT),
        ("--prio --prio-batch --spec-draft-prio --prio-draft", _PRIORITY),
        ("--spec-draft-prio-batch --prio-batch-draft", _PRIORITY),
        ("--poll --poll-batch --spec-draft-poll --poll-draft", _POLLING),
        ("--spec-draft-poll-batch --poll-batch-draft", _POLLING),
        ("--cpu-strict --cpu-strict-batch --spec-draft-cpu-strict --cpu-strict-draft", _CPUS),
        ("--spec-draft-cpu-strict-batch --cpu-strict-batch-draft", _CPUS),
        ("-Cb --cpu-mask-batch -Crb --cpu-range-batch", _SAME_CPUS),
        ("--spec-draft-cpu-mask -Cd --cpu-mask-draft", _SAME_CPUS),
        ("--spec-draft-cpu-range -Crd --cpu-range-draft", _SAME_CPUS),
        ("--spec-draft-cpu-mask-batch -Cbd --cpu-mask-batch-draft", _SAME_CPUS),
        ("--numa", "start the server with numactl to place its memory"),
        ("-lzm --lazy-mode", "llama.cpp chooses which weights are read on demand"),
        ("--mtmd-batch-max-tokens", "each image is computed in batches of llama.cpp's own size"),
        ("--spec-draft-p-split --draft-p-split", "drafts are never split"),
        ("--spec-draft-type-k -ctkd --cache-type-k-draft", _DRAFT_CACHE),
        ("--spec-draft-type-v -ctvd --cache-type-v-draft", _DRAFT_CACHE),
        ("--spec-ngram-simple-min-hits --spec-ngram-map-k-min-hits", "one occurrence is enough"),
        ("--spec-ngram-map-k4v-min-hits", "one occurrence is enough"),
        ("--path --ui-config --webui-config --ui-config-file --webui-config-file", _NO_UI_SETTINGS),
        ("--video-fps --video-timestamp-interval --video-ffmpeg-dir", _NO_VIDEO),
    )
    for name in names.split()
}

_BY_URL = "use --hf-repo with a repository, or put the file into --models-dir"
_OTHER_FILE = "use --model-draft with its file, after POST /api/v2/downloads"
_DEFAULT_MODEL = "use --hf-repo with its repository"
_SAMPLING = "use the request's own field (logit_bias, grammar or json_schema)"
_NO_TOOLS = "this server runs no tools; send them in requests, and run the calls in the client"
_NGRAMS = "use --spec-type ngram with --spec-ngram-simple-size-n and --spec-draft-n-max"
_REMOVED = "llama-server removed it too; use --spec-draft-n-max and --spec-draft-n-min"
_DRAFT_LAYERS = "use --spec-draft-ngl to place the draft model; 0 keeps it on the CPU"
_CONTROL = "use a LoRA adapter with --lora instead of a control vector"
_SYNTHETIC = "it is for benchmarks of llama.cpp only; use --spec-type"

# Every reason says what to use instead.
NOT_SUPPORTED: Mapping[str, str] = {
    name: why
    for names, why in (
        ("-mu --model-url -dr --docker-repo", _BY_URL),
        (
            "-mmu --mmproj-url",
            "the projector of --hf-repo is downloaded with it; else use --mmproj",
        ),
        ("-hfd --hf-repo-draft", _OTHER_FILE),
        ("-cl --cache-list", "use GET /v1/models, which also lists the models of the hub's cache"),
        ("-l --logit-bias --grammar --grammar-file", _SAMPLING),
        ("-j --json-schema -jf --json-schema-file", _SAMPLING),
        ("--tools --tools-runtime --agent -ag --mcp-servers-config --mcp-servers-json", _NO_TOOLS),
        ("--control-vector --control-vector-scaled --control-vector-layer-range", _CONTROL),
        ("-fitt --fit-target", "use --device-budget-mb NAME=MB to leave memory of a device free"),
        ("-fitc --fit-ctx", "use --ctx-size for the size of the context"),
        ("--completion-bash", "use --help for a list of all flags"),
        ("--log-prompts-dir", "prompts are never logged; use verbose: true in a request"),
        (
            "--kv-unified-per-slot",
            "use -no-kvu, with which each sequence has ctx-size / parallel tokens",
        ),
        ("-lcs --lookup-cache-static -lcd --lookup-cache-dynamic", _NGRAMS),
        ("-sp --special", "use return_tokens in the request, and POST /detokenize"),
        ("--spm-infill", "use POST /completion with the tokens in that order"),
        ("--skip-chat-parsing", "use --reasoning-format none, or POST /completion"),
        ("-mmdev --mmproj-device", "use --no-mmproj-offload to keep the projector on the CPU"),
        ("--spec-draft-override-tensor -otd --override-tensor-draft", _DRAFT_LAYERS),
        ("--spec-draft-cpu-moe -cmoed --cpu-moe-draft --spec-draft-n-cpu-moe", _DRAFT_LAYERS),
        ("--spec-draft-ncmoe -ncmoed --n-cpu-moe-draft", _DRAFT_LAYERS),
        ("--spec-draft-device -devd --device-draft", _DRAFT_LAYERS),
        ("--spec-synth-len --spec-synth-rates", _SYNTHETIC),
        ("--spec-ngram-size-n --spec-ngram-size-m --spec-ngram-min-hits", _NGRAMS),
        ("--draft --draft-n --draft-max --draft-min --draft-n-min", _REMOVED),
        ("--spec-draft-hf -hfrd", _OTHER_FILE),
        ("--embd-gemma-default --fim-qwen-1.5b-default", _DEFAULT_MODEL),
        ("--fim-qwen-3b-default --fim-qwen-7b-default --fim-qwen-7b-spec", _DEFAULT_MODEL),
        ("--fim-qwen-14b-spec --fim-qwen-30b-default --gpt-oss-20b-default", _DEFAULT_MODEL),
        ("--gpt-oss-120b-default --vision-gemma-4b-default", _DEFAULT_MODEL),
        ("--vision-gemma-12b-default", _DEFAULT_MODEL),
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
    )
    for name in names.split()
}
