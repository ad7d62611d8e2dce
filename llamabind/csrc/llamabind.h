// llamabind: a thin C ABI over llama.cpp's C++ "common" library, and guarded versions of what throws or aborts.
//
// Rules of this interface
//   - No text that a client sends causes a C++ exception or an abort in the caller. A function that fails returns NULL,
//     or a status other than LB_OK; lb_last_status() and lb_last_error() of the same thread then say why.
//   - Strings are UTF-8 and end with NUL. A returned `char *` belongs to the caller: lb_string_free().
//   - Structured data is JSON in and JSON out. JSON from a caller may nest at most 100 levels deep.
//   - A handle is used by one thread at a time. lb_chat is the exception: it does not change after lb_chat_init, so
//     any number of threads may render with it.
//   - Handles made from a model (or its vocabulary) are freed before the model.

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
    LB_INVALID          = 1,  // malformed input or one beyond a limit; the message names the place
    LB_REFUSED          = 2,  // a chat template called raise_exception; the message is the template's own
    LB_ERROR            = 3,  // llama.cpp failed on input that passed the checks (a broken template, a bad model file)
    LB_NO_MEMORY        = 4,  // an allocation failed
    LB_TOKEN_REFUSED    = 5,  // the grammar does not allow this token here; its state is unchanged
    LB_GRAMMAR_DEAD_END = 6,  // no token of the vocabulary can continue the grammar
    LB_GRAMMAR_TOO_COSTLY = 7,  // computing which tokens the grammar allows takes more work than the limit
    LB_STOPPED          = 8,  // a rendering took too long, or its caller stopped it
};

struct lb_chat;     // a parsed chat template
struct lb_parser;   // parses one model answer into a message
struct lb_grammar;  // a grammar and its state in the text
struct lb_sampler;  // a sampler chain and its optional grammar

// ---- errors, strings ------------------------------------------------------------------------------------------

// Message and status of the last call that failed on this thread. The text is valid until the next failure there.
LB_API const char * lb_last_error(void);
LB_API int32_t      lb_last_status(void);

LB_API void lb_string_free(char * text);

// ---- build facts ----------------------------------------------------------------------------------------------

// The llama.cpp commit and build number that this library was compiled from; "unknown" and 0 if the
// build does not define them.
LB_API const char * lb_llama_commit(void);
LB_API int32_t      lb_build_number(void);

// sizeof of a struct of llama.h or mtmd.h by its C name, as this library was compiled; 0 if the name is unknown.
LB_API size_t lb_struct_size(const char * name);

// ---- chat templates -------------------------------------------------------------------------------------------

// Parse the model's chat template, or `template_override` if it is neither NULL nor empty. A model without a
// template gets ChatML. `model` may be NULL with an override. LB_INVALID for more than 512 KiB of template, or one nested too
// deeply (template_limits.cpp). LB_STOPPED once *stop is not 0, and if the template makes too much when it is rendered to
// learn what it supports; `stop` may be NULL, and another thread may set it.
LB_API struct lb_chat * lb_chat_init(const struct llama_model * model, const char * template_override,
                                     const int32_t * stop);
LB_API void             lb_chat_free(struct lb_chat * chat);

// {"source", "explicit", "supports_thinking", "supports_tools", "supports_tool_calls", ...}
LB_API char * lb_chat_describe(const struct lb_chat * chat, const int32_t * stop);

// Render a conversation. In (only `messages` is required; others as in OpenAI's or llama-server's request body):
//   messages, tools, tool_choice, parallel_tool_calls, add_generation_prompt, continue_final_message, json_schema,
//   grammar, reasoning_format, reasoning_effort, enable_thinking, chat_template_kwargs, force_pure_content,
//   now (seconds since the epoch, for templates that print `date_string` or `datetime`), shown_tools (the tools as
//   the prompt shows them, if the schemas in `tools` were changed to make a grammar possible)
// Out: prompt, format, grammar, grammar_lazy, grammar_triggers [{type, value, token}], grammar_prefill,
//   generation_prompt, preserved_tokens, additional_stops, supports_thinking, thinking_start_tag,
//   thinking_end_tags, message_delimiters, parser (what lb_parser_init takes)
// Fails with LB_INVALID (the message names the field, for a message its index), LB_REFUSED or LB_ERROR. Fails with
// LB_STOPPED after `max_seconds` (0 is no limit), and once *stop is not 0; `stop` may be NULL, and another thread may set
// it. Both are checked in each pass of a loop and in each call of a macro. LB_STOPPED, too, for a template that makes a text
// over 64 MiB, values over 2 GiB together, or calls its macros so deeply that they need over 16 MiB of stack.
LB_API char * lb_chat_render(const struct lb_chat * chat, const char * request_json, double max_seconds,
                             const int32_t * stop);

// ---- parsing a model's answer ---------------------------------------------------------------------------------

// `spec_json` is the `parser` member of what lb_chat_render returned. NULL or "" gives a plain-text parser.
LB_API struct lb_parser * lb_parser_init(const char * spec_json);
LB_API void               lb_parser_free(struct lb_parser * parser);

// Parse all text of the answer up to now: {"role", "content", "reasoning_content", "tool_calls": [{"id", "name",
// "arguments"}], "is_fallback"}. Does not change the parser. Text that does not fit the format never fails: it
// comes back as content, with is_fallback true.
LB_API char * lb_parser_parse(const struct lb_parser * parser, const char * text, size_t n_text, bool is_partial);

// Add a piece of the answer and return what it adds to the message: {"deltas": [...], "is_fallback"}, with deltas
// {"content"}, {"reasoning_content"} or {"tool_call": {"index", "id", "name", "arguments"}}; a tool call's id and
// name come once, with its first delta. The deltas add up to lb_parser_message(). `is_final` ends the answer.
LB_API char * lb_parser_feed(struct lb_parser * parser, const char * text, size_t n_text, bool is_final);

// The message of all text fed, in the form of lb_parser_parse.
LB_API char * lb_parser_message(const struct lb_parser * parser);

// ---- grammars -------------------------------------------------------------------------------------------------

// JSON schema to GBNF. Limits: 100 levels, 256 properties of one object, 100,000 nodes after expansion, integers
// within 2^53. A pattern that GBNF cannot express is refused (llama.cpp would accept any string). Keywords that
// llama.cpp does not know are ignored, and so is a maxLength or maxItems above 2,000 (llama-grammar.cpp).
LB_API char * lb_json_schema_to_grammar(const char * schema_json);

// `spec_json`: {"grammar": GBNF, "root": "root", "lazy": false, "triggers": [{"type": "word" | "pattern" |
// "pattern_full" | "token", "value", "token"}], "prefill": text}. A lazy grammar constrains nothing until a trigger
// is found in the generated text. `prefill` is text at the prompt's end with which the grammar begins (`grammar_prefill`
// of lb_chat_render). LB_INVALID for a grammar that llama.cpp refuses, and for one that would make it crash or hang
// (grammar_limits.cpp, grammar_rules.cpp and grammar_trigger.cpp give the limits and the reasons).
LB_API struct lb_grammar * lb_grammar_init(const struct llama_vocab * vocab, const char * spec_json);
LB_API struct lb_grammar * lb_grammar_clone(const struct lb_grammar * grammar);
LB_API void                lb_grammar_free(struct lb_grammar * grammar);

// Return to the state after lb_grammar_init.
LB_API int32_t lb_grammar_reset(struct lb_grammar * grammar);

// LB_OK if `token` may come next, else LB_TOKEN_REFUSED.
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
// Tell the sampler that its chain only ever chooses among the `n_best` largest logits, so that it need not look at the
// others; 0, the default, is all. Does not hold where a grammar refuses the chain's choice: then all are used.
LB_API void                lb_sampler_set_n_best(struct lb_sampler * sampler, int32_t n_best);
// Tell the sampler that its chain begins with min-p: it only chooses among logits of at least the largest one that it does
// not exclude plus `log_p`, the logarithm of min-p. It excludes at most `n_excluded` tokens. Holds as lb_sampler_set_n_best.
LB_API void                lb_sampler_set_min_p(struct lb_sampler * sampler, float log_p, int32_t n_excluded);
// Track the answer's reasoning by its tags. `spec_json`: {"start": tag, "ends": [tags], "budget": tokens of each block
// of reasoning (-1, the default, is no limit), "message": text, "prompt_end": the prompt's last text, which may open a
// block}. After `budget` tokens, the tokens of `message` and of the first of `ends` are forced. Within reasoning a lazy
// grammar ignores triggers. A grammar without prefill begins after the reasoning that the prompt opens.
LB_API int32_t             lb_sampler_track_reasoning(struct lb_sampler * sampler, const char * spec_json);
LB_API void                lb_sampler_free(struct lb_sampler * sampler);
LB_API int32_t             lb_sampler_reset(struct lb_sampler * sampler);

// Accept a token in the chain and, if it was generated, in the grammar. LB_TOKEN_REFUSED changes nothing.
LB_API int32_t lb_sampler_accept(struct lb_sampler * sampler, llama_token token, bool is_generated);

// Sample one token for each of `n` different samplers from `logits[i]` (n_vocab floats each; not changed).
// As common_sampler_sample: run the chain and test its token against the grammar; if the grammar refuses it, apply the
// grammar to the logits and run the chain again. If the grammar is complete and the chain can choose no token, the
// result is a token that ends the generation, even one that the logits or the chain exclude. With `accept`, the sampler
// also accepts its token. out_status[i] is LB_OK, or LB_GRAMMAR_DEAD_END, LB_GRAMMAR_TOO_COSTLY or LB_ERROR with
// LLAMA_TOKEN_NULL in out_tokens[i]. Uses up to `n_threads` threads. Returns LB_OK if all succeed, else the first
// failure, whose message lb_last_error() returns.
LB_API int32_t lb_sample(struct lb_sampler * const * samplers, const float * const * logits, int32_t n,
                         int32_t n_vocab, bool accept, int32_t n_threads, llama_token * out_tokens,
                         int32_t * out_status);

// Log-probabilities (log-softmax of the raw logits) of `n` sequences: the k most likely tokens of each, most likely
// first, then by token id, into out_ids and out_logprobs (n * k each, row by row; may be NULL if k is 0), and the
// log-probability of tokens[i] into out_token_logprobs[i] (both may be NULL). 0 <= k <= n_vocab.
LB_API int32_t lb_top_logprobs(const float * const * logits, int32_t n, int32_t n_vocab, int32_t k,
                               const llama_token * tokens, llama_token * out_ids, float * out_logprobs,
                               float * out_token_logprobs);

// The tokens with any of `attributes` (llama_token_attr), and with `ends` also those that end a generation, in ascending
// order: writes up to `capacity` into `out` and returns their number. The vocabulary must have tokens.
LB_API int32_t lb_find_tokens(const struct llama_vocab * vocab, int32_t attributes, bool ends, llama_token * out,
                              int32_t capacity);

// ---- contexts --------------------------------------------------------------------------------------------------

// llama_init_from_model, with operations of ours in place of some of ggml's on the CPU. Sets cb_eval. NULL with the last
// error, or (LB_OK) where llama.cpp only logs why. Free it with lb_context_free.
// `attention` is a kernel that is faster than ggml's and slightly more exact, and whose results do not depend on the place
// of a sequence in the KV cache: "avx512" or "avx2" (both give the same bits), "ggml" for ggml's own, or NULL for the best
// one that this CPU can run.
// `products` are kernels for products with quantised weights: "avx512vnni", "avxvnni" or "avx2" (all give the same bits), "ggml"
// or NULL, as for `attention`. Ours serve some types of weights; the bits of such a product depend on its own token only.
// With `deterministic` the bits of a product do not depend on the number of tokens in a batch. The model must be loaded
// with use_extra_bufts = false.
// On Linux a KV cache of at most 1 GiB in host memory is not touched here: a thread touches its memory from `settle_ms`
// milliseconds later on, slowly while the process computes (lazy_caches of cache_memory.h). Negative: it is touched before the function returns.
LB_API struct llama_context * lb_context_init(struct llama_model * model, const struct llama_context_params * cparams,
                                              const char * attention, const char * products, bool deterministic,
                                              int32_t settle_ms);
LB_API void lb_context_free(struct llama_context * ctx);

// Whether a kernel of ours computed every flash attention of the context's decodes until now, and there was one. Not during
// a decode.
LB_API bool lb_context_has_our_attention(const struct llama_context * ctx);

// Whether lb_context_init accepts that attention here.
LB_API bool lb_has_attention(const char * name);

// The name of the kernel that NULL chooses on this CPU.
LB_API const char * lb_attention_name(void);

// The same for products.
LB_API bool         lb_has_products(const char * name);
LB_API const char * lb_products_name(void);

// For tests and measurements: multiplies n_rows rows of `n` weights of a ggml_type with n_tokens rows of `n` floats. results
// gets n_rows numbers for each token. LB_INVALID if there are no such kernels here, or if they do not know the type or `n`.
LB_API int32_t lb_multiply(const char * products, int32_t type, const uint8_t * weights, size_t n, size_t n_rows,
                           const float * tokens, size_t n_tokens, float * results);

// ---- hidden states for draft heads -----------------------------------------------------------------------------

// After each decode keep the hidden state of every token of the batch from which draft heads (MTP, Gemma 4's assistants)
// predict; with `only_outputs` of the tokens with an output only. LB_OK or an error.
LB_API int32_t lb_context_set_hidden_states(struct llama_context * ctx, bool enabled, bool only_outputs);

// The hidden states of the last decode, row by row, llama_model_n_embd_out floats each; NULL if none are kept. Valid until
// the next decode.
LB_API const float * lb_context_hidden_states(struct llama_context * ctx);

// The hidden state of the batch's token `index`; NULL if it has none.
LB_API const float * lb_context_hidden_state(struct llama_context * ctx, int32_t index);

// After each decode keep what layer `layer` read, for every token of the batch; n_layer means what the output reads.
LB_API int32_t lb_context_set_layer_inputs(struct llama_context * ctx, int32_t layer, bool enabled);

// What that layer read in the last decode, llama_model_n_embd floats for each token; NULL if it is not kept.
LB_API const float * lb_context_layer_inputs(struct llama_context * ctx, int32_t layer);

// The layers of the target whose inputs an EAGLE-3 draft model reads. Returns their number, which may exceed `n_most`.
LB_API int32_t lb_model_target_layers(const struct llama_model * model, int32_t * out_layers, int32_t n_most);

// ---- memory ---------------------------------------------------------------------------------------------------

// The memory that a context uses, or would use if its model was loaded with no_alloc: {"devices": [{"name",
// "description", "type", "model", "context", "compute"}], "host": {"model", "context", "compute", "mapped"}}, in
// bytes. A mapped model file counts only with the weights that are used from the mapping; "mapped" is this part of "model".
LB_API char * lb_memory_breakdown(const struct llama_context * ctx);

// Count the operations in ctx's graph for several sequences that use a weight in a buffer of that type ("AMX") for
// anything but the product of two matrices: the weight has three dimensions, only a part of it is used, or its input
// has a dimension for the sequences. `ctx` needs n_seq_max of 2 or more; its graph is reserved again.
LB_API int32_t lb_count_misused_weights(struct llama_context * ctx, const char * buffer_type, int32_t * out_n);

// common_fit_params: change mparams and cparams so that the model fits the devices' free memory (host memory counts
// as unlimited). tensor_split needs llama_max_devices() floats, buft_overrides llama_max_tensor_buft_overrides()
// entries, margins one size_t per device (or NULL: 1 GiB each). LB_OK, or LB_ERROR with "does not fit".
LB_API int32_t lb_fit_params(const char * path, struct llama_model_params * mparams,
                             struct llama_context_params * cparams, float * tensor_split,
                             struct llama_model_tensor_buft_override * buft_overrides, size_t * margins,
                             uint32_t n_ctx_min);

#ifdef __cplusplus
}
#endif

#endif  // LLAMABIND_H
