// The characters of tokens, decoded as in llama.cpp's grammars, and the sorted table of a vocabulary.

#include "token_text.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <mutex>

namespace {

constexpr size_t N_KEPT = 2;  // vocabularies

bool is_continuation(char c) { return (static_cast<unsigned char>(c) >> 6) == 2; }

// A hash of all token texts identifies a vocabulary; its address could be that of a freed one.
uint64_t fingerprint(const llama_vocab * vocab) {
    uint64_t   hash = 14695981039346656037ULL;  // FNV-1a
    const auto add  = [&hash](unsigned char byte) { hash = (hash ^ byte) * 1099511628211ULL; };
    const auto n    = llama_vocab_n_tokens(vocab);
    for (llama_token id = 0; id < n; id++) {
        for (const char * c = llama_vocab_get_text(vocab, id); *c != 0; c++) {
            add(static_cast<unsigned char>(*c));
        }
        add(static_cast<unsigned char>(llama_vocab_get_attr(vocab, id)));
        add(llama_vocab_is_eog(vocab, id) ? 1 : 0);
    }
    add(static_cast<unsigned char>(llama_vocab_type(vocab)));
    return hash;
}

}  // namespace

namespace lb {

void expect_token(const llama_vocab * vocab, llama_token token) {
    if (token < 0 || token >= llama_vocab_n_tokens(vocab)) {
        invalid("token " + std::to_string(token) + " is not in the vocabulary");
    }
}

std::string piece_of(const llama_vocab * vocab, llama_token token) {
    std::string   piece(32, '\0');
    const int32_t n = llama_token_to_piece(vocab, token, piece.data(), 32, 0, true);
    piece.resize(static_cast<size_t>(n < 0 ? -n : n));
    if (n < 0) {
        llama_token_to_piece(vocab, token, piece.data(), -n, 0, true);
    }
    return piece;
}

token_text::token_text(const std::string & piece, llama_partial_utf8 before) : tail(before) {
    // As llama.cpp: NUL ends the text, and only bytes that complete an earlier token's character are checked.
    bool is_resumed = before.n_remain > 0;
    for (size_t i = 0; i < piece.size() && piece[i] != 0; i++) {
        const auto byte = static_cast<unsigned char>(piece[i]);
        if (tail.n_remain > 0) {
            if (is_resumed && !is_continuation(piece[i])) {
                tail = { 0, -1 };
                return;
            }
            tail       = { (tail.value << 6) | (byte & 0x3FU), tail.n_remain - 1 };
            is_resumed = is_resumed && tail.n_remain > 0;
        } else if (is_continuation(piece[i])) {
            characters.clear();
            tail = { 0, -1 };
            return;
        } else {
            const int n_remain = byte < 0x80 ? 0 : byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
            tail               = { byte & ((1U << (7 - n_remain)) - 1), n_remain };
        }
        if (tail.n_remain == 0) {
            characters.push_back(tail.value);
        }
    }
    if (tail.n_remain <= 0) {
        tail = { 0, 0 };
    }
}

vocabulary::vocabulary(const llama_vocab * vocab) {
    struct item {
        llama_token id;
        token_text  text;
    };
    std::vector<item> items;
    has_text_.assign(static_cast<size_t>(llama_vocab_n_tokens(vocab)), 0);
    for (llama_token id = 0; id < llama_vocab_n_tokens(vocab); id++) {
        const auto piece = piece_of(vocab, id);
        if (piece.empty() || piece[0] == 0 || llama_vocab_is_eog(vocab, id)) {
            continue;
        }
        has_text_[static_cast<size_t>(id)] = 1;
        if (is_continuation(piece[0])) {
            fragments_.push_back({ id, piece });
            continue;
        }
        item next{ id, token_text(piece, { 0, 0 }) };
        if (next.text.tail.n_remain >= 0) {
            items.push_back(std::move(next));
        }
    }
    std::sort(items.begin(), items.end(),
              [](const item & a, const item & b) { return a.text.characters < b.text.characters; });
    const std::vector<uint32_t> nothing;
    const auto *                before = &nothing;
    for (const auto & [id, text] : items) {
        const auto & now    = text.characters;
        const auto   shared = std::mismatch(now.begin(), now.end(), before->begin(), before->end());
        entries_.push_back({ id, static_cast<uint32_t>(characters_.size()), static_cast<uint32_t>(now.size()),
                             static_cast<uint32_t>(shared.first - now.begin()), text.tail });
        characters_.insert(characters_.end(), now.begin(), now.end());
        before = &now;
    }
}

std::shared_ptr<const vocabulary> vocabulary::of(const llama_vocab * vocab) {
    struct kept {
        uint64_t                          hash;
        std::shared_ptr<const vocabulary> table;
    };
    static std::mutex       mutex;
    static std::deque<kept> recent;

    const auto                        hash = fingerprint(vocab);
    const std::lock_guard<std::mutex> lock(mutex);
    for (const auto & entry : recent) {
        if (entry.hash == hash) {
            return entry.table;
        }
    }
    recent.push_front({ hash, std::make_shared<const vocabulary>(vocab) });
    if (recent.size() > N_KEPT) {
        recent.pop_back();
    }
    return recent.front().table;
}

}  // namespace lb

int32_t lb_find_tokens(const llama_vocab * vocab, int32_t attributes, bool ends, llama_token * out, int32_t capacity) {
    int32_t n_found = 0;
    for (llama_token id = 0; id < llama_vocab_n_tokens(vocab); id++) {
        if ((llama_vocab_get_attr(vocab, id) & attributes) == 0 && !(ends && llama_vocab_is_eog(vocab, id))) {
            continue;
        }
        if (n_found < capacity) {
            out[n_found] = id;
        }
        n_found++;
    }
    return n_found;
}
