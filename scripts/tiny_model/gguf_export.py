"""The finished network and vocabulary as one GGUF file that llama.cpp loads."""

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
from torch import Tensor

from tiny_model.byte_bpe import CONTROL_TOKENS, PRE_TOKENIZER, Vocabulary
from tiny_model.conversation import TEMPLATE_SOURCE
from tiny_model.network import Block, TinyLlama

_DESCRIPTION = (
    "A toy chat model for demos and tests, trained from scratch on text that its own training "
    "script generates."
)


def _block_tensors(prefix: str, block: Block) -> Iterator[tuple[str, Tensor]]:
    yield f"{prefix}.attn_norm.weight", block.attn_norm.weight
    yield f"{prefix}.attn_q.weight", block.attn.q.weight
    yield f"{prefix}.attn_q.bias", block.attn.q.bias
    yield f"{prefix}.attn_k.weight", block.attn.k.weight
    yield f"{prefix}.attn_k.bias", block.attn.k.bias
    yield f"{prefix}.attn_v.weight", block.attn.v.weight
    yield f"{prefix}.attn_output.weight", block.attn.output.weight
    yield f"{prefix}.ffn_norm.weight", block.ffn_norm.weight
    yield f"{prefix}.ffn_gate.weight", block.ffn.gate.weight
    yield f"{prefix}.ffn_up.weight", block.ffn.up.weight
    yield f"{prefix}.ffn_down.weight", block.ffn.down.weight


def _tensors(network: TinyLlama) -> Iterator[tuple[str, Tensor]]:
    yield "token_embd.weight", network.embed.weight
    for index, block in enumerate(network.blocks):
        assert isinstance(block, Block)
        yield from _block_tensors(f"blk.{index}", block)
    yield "output_norm.weight", network.norm.weight


def _add_general(writer: gguf.GGUFWriter) -> None:
    writer.add_name("Tiny Chat")
    writer.add_basename("tiny-chat")
    writer.add_description(_DESCRIPTION)
    writer.add_author("The llamabind authors")
    writer.add_license("MIT")
    writer.add_languages(["en"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_shape(writer: gguf.GGUFWriter, network: TinyLlama) -> None:
    shape = network.shape
    writer.add_context_length(shape.n_ctx)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.rms_eps)
    writer.add_vocab_size(shape.n_vocab)


def _add_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    def kind(index: int, token: str) -> gguf.TokenType:
        if token in CONTROL_TOKENS:
            return gguf.TokenType.CONTROL
        is_markup = index >= vocabulary.n_plain
        return gguf.TokenType.USER_DEFINED if is_markup else gguf.TokenType.NORMAL

    end_of_text = vocabulary.tokens.index("<|endoftext|>")
    end_of_turn = vocabulary.tokens.index("<|im_end|>")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types([kind(*entry) for entry in enumerate(vocabulary.tokens)])
    writer.add_token_merges([" ".join(pair) for pair in vocabulary.merges])
    writer.add_bos_token_id(end_of_text)
    writer.add_eos_token_id(end_of_turn)
    writer.add_eot_token_id(end_of_turn)
    writer.add_pad_token_id(end_of_text)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template(TEMPLATE_SOURCE)


def write_gguf(path: Path, network: TinyLlama, vocabulary: Vocabulary) -> None:
    """Write matrices as Q8_0 and norms as F32; the file replaces any older one at `path`."""
    writer = gguf.GGUFWriter(path, "llama")
    _add_general(writer)
    _add_shape(writer, network)
    _add_vocabulary(writer, vocabulary)
    for name, tensor in _tensors(network):
        values = tensor.detach().numpy().astype(np.float32)
        if values.ndim == 1:
            writer.add_tensor(name, values)
            continue
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
