"""The SDKs and frameworks, each with the script that checks it."""

from clients.client import Library


def _python(
    name: str, script: str, *arguments: str, packages: tuple[str, ...], environment: str = "sdks"
) -> Library:
    return Library(name, environment, script, arguments, packages)


def _node(name: str, script: str, *arguments: str, packages: tuple[str, ...]) -> Library:
    return Library(name, "node_sdks", script, arguments, packages)


_AI = {
    "compatible": "@ai-sdk/openai-compatible",
    "responses": "@ai-sdk/openai",
    "chat": "@ai-sdk/openai",
    "anthropic": "@ai-sdk/anthropic",
    "ollama": "ollama-ai-provider-v2",
}
_LANGCHAIN = {
    "openai": "langchain-openai",
    "responses": "langchain-openai",
    "anthropic": "langchain-anthropic",
    "ollama": "langchain-ollama",
}
_LLAMA_INDEX = {"openai": "llama-index-llms-openai-like", "ollama": "llama-index-llms-ollama"}

LIBRARIES = (
    _python("openai", "openai_sdk", packages=("openai",)),
    _python("anthropic", "anthropic_sdk", packages=("anthropic",)),
    _python("ollama", "ollama_sdk", packages=("ollama",)),
    *(
        _python(f"langchain-{kind}", "langchain_checks", kind, packages=(package,))
        for kind, package in _LANGCHAIN.items()
    ),
    *(
        _python(f"openai-agents-{kind}", "openai_agents", kind, packages=("openai-agents",))
        for kind in ("responses", "chat")
    ),
    *(
        _python(f"pydantic-ai-{kind}", "pydantic_ai_checks", kind, packages=("pydantic-ai-slim",))
        for kind in ("openai", "responses", "anthropic", "ollama")
    ),
    *(
        _python(f"litellm-{kind}", "litellm_checks", kind, packages=("litellm",))
        for kind in ("openai", "hosted_vllm", "anthropic", "ollama_chat")
    ),
    _python("llm", "llm_checks", "extra", packages=("llm",)),
    _python("llm-ollama", "llm_checks", "ollama", packages=("llm-ollama",)),
    _python("instructor", "instructor_checks", packages=("instructor",), environment="instructor"),
    *(
        _python(
            f"llama-index-{kind}",
            "llama_index_checks",
            kind,
            packages=(package,),
            environment="llama_index",
        )
        for kind, package in _LLAMA_INDEX.items()
    ),
    _node("node-openai", "openai_sdk.mjs", packages=("openai",)),
    _node("node-anthropic", "anthropic_sdk.mjs", packages=("@anthropic-ai/sdk",)),
    _node("node-ollama", "ollama_sdk.mjs", packages=("ollama",)),
    *(
        _node(f"ai-sdk-{kind}", "ai_sdk.mjs", kind, packages=("ai", package))
        for kind, package in _AI.items()
    ),
)
