"""Prefixes in files: the third tier of the KV cache, after its cells and the host memory.

A directory (`EngineConfig.cache_dir`, `--cache-dir`) keeps KV states for the next process, so that
a long system prompt is not computed again after a restart. A file is a slot file
(llamabind.engine.slot_file): key, tokens, media, and the state with its checksum. Its key is a hash
of the model's and the adapters' files, of the settings that change the values in the KV cache, and
of the build (PrefixKeys). Only this user's private files with a correct checksum are read; other
files are removed (PrefixFolder).

The engine's thread never waits for the disk. It copies one state at a time for WriterThread, mostly
while the engine is idle. ReaderThread reads states and gives them to the host cache and a slot
between two steps (PrefixExchange). A request for a prefix that is only in a file waits until the
file is read; other requests run on. PrefixIndex knows which prefixes are in files, and decides
whether a prefix is worth a file.
"""
