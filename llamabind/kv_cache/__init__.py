"""The KV cache: which sequence holds which cells, and what is retained for later prompts.

A sequence id of llama.cpp (*slot*) keeps its tokens' KV cells after its request has ended, as a
retained prefix for prompts that begin with the same tokens. When other sequences need the cells,
the least recently used retained slot is evicted: its state is saved to host memory
(`llama_state_seq_*`). The state of a preempted sequence is saved there too. Saved states take at
most `cache_ram_mib` MiB; the least recently used are dropped first. A new sequence reuses the
longest prefix found anywhere; a state in host memory is restored only if it is at least 32 tokens
longer than the best prefix in the KV cache. A state is found by its tokens, all of them compared,
and by the LoRA scales that it was computed with; the model and the context do not change while an
engine exists. If a state cannot be saved, its tokens are computed again; no request fails.

The policy (SlotPool, HostCache) only records memory operations (operations.py); MemoryExecutor
carries them out between two decodes.

Split cache (`kv_unified: false`, SplitSlotPool): each slot has cells of its own. llama.cpp carries
out a copy between sequence ids in the next decode, so a step with a copy saves and restores no
state: a sequence that needs one waits for the next step.

Memory that cannot be cut (CheckpointPool): a recurrent state has only its newest position, and a
small sliding-window cache only the newest few, although `llama_memory_seq_rm` reports that it was
cut. There a prefix can only end where a sequence ended or where a checkpoint was saved while its
prompt was computed: every 512 tokens, 4 tokens before the end of the prompt, and where other
prompts (waiting or earlier ones) branch off. So 16 requests with one system prompt compute it once,
whatever the model. In a unified cache a checkpoint holds only the part that cannot be cut, and
shares the KV cells before it with the sequence that has them; in a split cache it is a whole state.
Checkpoints are in host memory too: with `cache_ram_mib` 0 a prompt reuses a prefix only if it
continues a retained sequence from its very end.

Sliding windows (`swa_full`) can have either kind of cache. One of full size can be cut anywhere,
but takes `n_ctx` cells for each layer; a small one takes `n_parallel` windows and one `n_ubatch`.
With layers as in Gemma 3 4B (29 with a window of 1,024, 5 without, 4 KiB per cell and layer) 32,768
tokens for 4 requests take 4.25 GiB or 1.14 GiB, and a checkpoint takes 116 MiB; the default pool of
8,192 tokens for 16 requests is equally large either way. So the small one is chosen if it has at
most half the cells and there is host memory for checkpoints.
"""
