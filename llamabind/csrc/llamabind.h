// llamabind: a thin C ABI over llama.cpp's C++ "common" library, and guarded versions of what throws or aborts.
//
// Rules of this border
//   - No C++ exception and no abort crosses it, whatever text a client sent. A function that fails returns NULL,
//     or a status other than LB_OK; lb_last_status() and lb_last_error() of the same thread then say why.
//   - Strings are UTF-8 and end with NUL. A returned `char *` belongs to the caller: lb_string_free().
//   - Structured data is JSON in and JSON out. JSON from a caller may nest at most 100 levels deep.
//   - A handle is used by one thread at a time. lb_chat is the exception: once made it never changes, so any
//     number of threads may render with it.
//   - Handles made from a model (or its vocabulary) die before the model does.

#ifndef LLAMABIND_H
#define LLAMABIND_H

#include "llama.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && !defined(__MINGW32__)
#    ifdef LLAMABIND_BUILD
#        define LB_API __declspec(dllexport)
#    else
#        define LB_API __declspec(dllimport)
#    endif
#else
#    define LB_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum lb_status {
    LB_OK               = 0,
    LB_INVALID          = 1,  // the caller's input is malformed or beyond a limit; the message says what and where
    LB_REFUSED          = 2,  // a chat template called raise_exception; the message is the template's own
    LB_ERROR            = 3,  // llama.cpp failed on input that looked right (a broken template, a bad model file)
    LB_NO_MEMORY        = 4,  // an allocation failed
    LB_TOKEN_REFUSED    = 5,  // the grammar does not allow this token here; its state is unchanged
    LB_GRAMMAR_DEAD_END = 6,  // no token of the vocabulary can continue the grammar
    LB_GRAMMAR_TOO_COSTLY = 7,  // finding out what the grammar allows takes too much work
};

struct lb_chat;     // a parsed chat template
struct lb_parser;   // parses one model answer into a message
struct lb_grammar;  // a grammar and how far it has come
struct lb_sampler;  // a sampler chain and its optional grammar

// ---- errors, strings ------------------------------------------------------------------------------------------

// Why the last failing call on this thread failed. Valid until the next failing call on this thread.
LB_API const char * lb_last_error(void);
LB_API int32_t      lb_last_status(void);

LB_API void lb_string_free(char * text);

// ---- build facts ----------------------------------------------------------------------------------------------

// The llama.cpp commit and build number that this library was compiled from ("unknown" and 0 if not told).
LB_API const char * lb_llama_commit(void);
LB_API int32_t      lb_build_number(void);

// sizeof of a struct of llama.h or mtmd.h by its C name, as this library was compiled; 0 if the name is unknown.
LB_API size_t lb_struct_size(const char * name);

// ---- chat templates -------------------------------------------------------------------------------------------

// Parse the model's chat template, or `template_override` if it is neither NULL nor empty. A model without a
// template gets ChatML. `model` may be NULL with an override. At most 512 KiB of template, 100 levels of nesting.
LB_API struct lb_chat * lb_chat_init(const struct llama_model * model, const char * template_override);
LB_API void             lb_chat_free(struct lb_chat * chat);

// {"source", "explicit", "supports_thinking", "supports_tools", "supports_tool_calls", ...}
LB_API char * lb_chat_describe(const struct lb_chat * chat);

// Render a conversation. In (only `messages` is required; others as in OpenAI's or llama-server's request body):
//   messages, tools, tool_choice, parallel_tool_calls, add_generation_prompt, continue_final_message, json_schema,
//   grammar, reasoning_format, reasoning_effort, enable_thinking, chat_template_kwargs, force_pure_content,
//   now (seconds since the epoch, for templates that print `date_string` or `datetime`), shown_tools (as `tools`, with
//   the schemas that the model is to read, where those of `tools` were changed so that they have a grammar)
// Out: prompt, format, grammar, grammar_lazy, grammar_triggers [{type, value, token}], grammar_prefill,
//   generation_prompt, preserved_tokens, additional_stops, supports_thinking, thinking_start_tag,
//   thinking_end_tags, message_delimiters, parser (what lb_parser_init takes)
// Fails with LB_INVALID (the message names the field, for a message its index), LB_REFUSED or LB_ERROR.
LB_API char * lb_chat_render(const struct lb_chat * chat, const char * request_json);

// ---- parsing a model's answer ---------------------------------------------------------------------------------

// `spec_json` is the `parser` member of what lb_chat_render returned. NULL or "" gives a plain-text parser.
LB_API struct lb_parser * lb_parser_init(const char * spec_json);
LB_API void               lb_parser_free(struct lb_parser * parser);

// Parse the whole answer so far: {"role", "content", "reasoning_content", "tool_calls": [{"id", "name",
// "arguments"}], "is_fallback"}. Does not change the parser. Text that does not fit the format never fails: it
// comes back as content, with is_fallback true.
LB_API char * lb_parser_parse(const struct lb_parser * parser, const char * text, size_t n_text, bool is_partial);

// Add a piece of the answer and get what is new in the message: {"deltas": [...], "is_fallback"}, with deltas
// {"content"}, {"reasoning_content"} or {"tool_call": {"index", "id", "name", "arguments"}}; a tool call's id and
// name come once, with its first delta. The deltas add up to lb_parser_message(). `is_final` ends the answer.
LB_API char * lb_parser_feed(struct lb_parser * parser, const char * text, size_t n_text, bool is_final);

// The message as fed so far, as lb_parser_parse gives it.
LB_API char * lb_parser_message(const struct lb_parser * parser);

// ---- grammars -------------------------------------------------------------------------------------------------

// JSON schema to GBNF. Limits: 100 levels, 256 properties of one object, 100,000 nodes after expansion, integers
// within 2^53; a pattern that has no grammar is refused (llama.cpp would accept any string). Keywords that llama.cpp
// does not know are ignored, and so is a maxLength or maxItems above 2,000 (llama-grammar.cpp).
LB_API char * lb_json_schema_to_grammar(const char * schema_json);

// `spec_json`: {"grammar": GBNF, "root": "root", "lazy": false, "triggers": [{"type": "word" | "pattern" |
// "pattern_full" | "token", "value", "token"}], "prefill": text}. A lazy grammar constrains nothing until a trigger
// is found in the generated text. `prefill` is text that the prompt already ends with and the grammar begins with
// (`grammar_prefill` of lb_chat_render). Refused with LB_INVALID: what llama.cpp refuses, and what would crash or
// hang it (see grammar_limits.cpp, grammar_rules.cpp, grammar_trigger.cpp for the limits and the reasons).
LB_API struct lb_grammar * lb_grammar_init(const struct llama_vocab * vocab, const char * spec_json);
LB_API struct lb_grammar * lb_grammar_clone(const struct lb_grammar * grammar);
LB_API void                lb_grammar_free(struct lb_grammar * grammar);

// Back to the state after lb_grammar_init.
LB_API int32_t lb_grammar_reset(struct lb_grammar * grammar);

// LB_OK or LB_TOKEN_REFUSED: may `token` come next?
LB_API int32_t lb_grammar_check(const struct lb_grammar * grammar, llama_token token);

// Advance by `token`, or LB_TOKEN_REFUSED with the state unchanged.
LB_API int32_t lb_grammar_accept(struct lb_grammar * grammar, llama_token token);

// Set the logits of all candidates that may not come next to -INFINITY.
LB_API int32_t lb_grammar_apply(const struct lb_grammar * grammar, llama_token_data_array * candidates);

// Whether a lazy grammar still waits for its trigger; whether the text may end here.
LB_API bool lb_grammar_is_waiting(const struct lb_grammar * grammar);
LB_API bool lb_grammar_is_complete(const struct lb_grammar * grammar);

// ---- sampling -------------------------------------------------------------------------------------------------

// Take ownership of `chain` (llama_sampler_chain_init, with a sampler that selects at its end) and of `grammar`
// (may be NULL). On failure both remain the caller's.
LB_API struct lb_sampler * lb_sampler_init(const struct llama_vocab * vocab, struct llama_sampler * chain,
                                           struct lb_grammar * grammar);
LB_API struct lb_sampler * lb_sampler_clone(const struct lb_sampler * sampler);
// Promise that the chain, without a grammar, chooses among the `n_best` largest logits; 0 is no promise.
LB_API void                lb_sampler_look_at_best(struct lb_sampler * sampler, int32_t n_best);
// Follow the thoughts of the answer, by their tags. `spec_json`: {"start": tag, "ends": [tags], "budget": tokens that
// a thought may take (-1, the default, is no limit), "message": text, "prompt_end": text that the prompt ends with, in
// which a thought may have begun}. After `budget` tokens `message` and the first of `ends` are forced, token by token.
// Within a thought a lazy grammar looks for no triggers; a grammar without prefill begins behind a thought that the
// prompt opened.
LB_API int32_t             lb_sampler_follow_thoughts(struct lb_sampler * sampler, const char * spec_json);
LB_API void                lb_sampler_free(struct lb_sampler * sampler);
LB_API int32_t             lb_sampler_reset(struct lb_sampler * sampler);

// Tell the chain (and, for a generated token, the grammar) about a token. LB_TOKEN_REFUSED changes nothing.
LB_API int32_t lb_sampler_accept(struct lb_sampler * sampler, llama_token token, bool is_generated);

// Sample one token for each of `n` different samplers from `logits[i]` (n_vocab floats each; not changed).
// As common_sampler_sample: run the chain, test the token against the grammar, and if it is refused apply the
// grammar first and run the chain again. Where a grammar is complete and nothing can be chosen, the end is: a token
// that ends generation, even one that the logits or the chain rule out. With `accept`, the sampler also accepts its token. out_status[i] is LB_OK,
// LB_GRAMMAR_DEAD_END, LB_GRAMMAR_TOO_COSTLY or LB_ERROR (then out_tokens[i] is LLAMA_TOKEN_NULL, lb_last_error() tells of the first).
// Uses up to `n_threads` threads. Returns LB_OK if every status is LB_OK, else the first that is not.
LB_API int32_t lb_sample(struct lb_sampler * const * samplers, const float * const * logits, int32_t n,
                         int32_t n_vocab, bool accept, int32_t n_threads, llama_token * out_tokens,
                         int32_t * out_status);

// Log-probabilities (log-softmax of the raw logits) of `n` sequences: the k most likely tokens of each, most likely
// first, equal ones by token id, into out_ids and out_logprobs (n * k each, row by row; may be NULL if k is 0), and
// that of tokens[i] into out_token_logprobs[i] (both may be NULL). 0 <= k <= n_vocab.
LB_API int32_t lb_top_logprobs(const float * const * logits, int32_t n, int32_t n_vocab, int32_t k,
                               const llama_token * tokens, llama_token * out_ids, float * out_logprobs,
                               float * out_token_logprobs);

// ---- attention ------------------------------------------------------------------------------------------------

// Have a context compute its attention on the CPU with our own kernel, which is faster than ggml's and a little more
// exact; takes cb_eval. `name` is "avx512", "avx2" (both give the same bits) or "ggml", which changes nothing; NULL is
// the best that this CPU has. False if the library or the CPU does not have the named one.
LB_API bool lb_use_attention(struct llama_context_params * cparams, const char * name);

// The name that NULL stands for on this CPU.
LB_API const char * lb_attention_name(void);

// ---- memory ---------------------------------------------------------------------------------------------------

// What a context uses, or would use if its model is laid out without memory (no_alloc): {"devices": [{"name",
// "description", "type", "model", "context", "compute"}], "host": {"model", "context", "compute"}}, bytes. Of a mapped
// file only the weights that are used from there count.
LB_API char * lb_memory_breakdown(const struct llama_context * ctx);

// How often ctx's graph for several sequences uses a weight in a buffer of that type ("AMX") for anything but the
// product of one matrix with one matrix: such a weight is of three dimensions, a part of it is used, or its input has
// a dimension for the sequences. `ctx` needs n_seq_max of 2 or more; its graph is laid out anew.
LB_API int32_t lb_count_misused_weights(struct llama_context * ctx, const char * buffer_type, int32_t * out_n);

// common_fit_params: change mparams and cparams so that the model fits the devices' free memory (host memory counts
// as endless). tensor_split needs llama_max_devices() floats, buft_overrides llama_max_tensor_buft_overrides()
// entries, margins one size_t per device (or NULL: 1 GiB each). LB_OK, or LB_ERROR with "does not fit".
LB_API int32_t lb_fit_params(const char * path, struct llama_model_params * mparams,
                             struct llama_context_params * cparams, float * tensor_split,
                             struct llama_model_tensor_buft_override * buft_overrides, size_t * margins,
                             uint32_t n_ctx_min);

#ifdef __cplusplus
}
#endif

#endif  // LLAMABIND_H
