// Reads JSON of a caller: nesting is limited, and errors name the text's purpose.

#include "internal.h"

#include <cstring>

namespace {

// Parsing, dumping and walking JSON recurse once for each level. Brackets inside strings do not count.
void check_depth(const char * text, const std::string & what) {
    int  depth     = 0;
    bool in_string = false;
    for (const char * c = text; *c != 0; c++) {
        if (in_string) {
            if (*c == '\\' && c[1] != 0) {
                c++;
            } else if (*c == '"') {
                in_string = false;
            }
        } else if (*c == '"') {
            in_string = true;
        } else if (*c == '[' || *c == '{') {
            if (++depth > lb::MAX_JSON_DEPTH) {
                lb::invalid(what + ": nested deeper than " + std::to_string(lb::MAX_JSON_DEPTH) + " levels");
            }
        } else if (*c == ']' || *c == '}') {
            depth--;
        }
    }
}

}  // namespace

namespace lb {

json parse_json(const char * text, const char * what) {
    if (text == nullptr) {
        invalid(std::string(what) + ": NULL is not JSON");
    }
    check_depth(text, what);
    try {
        return json::parse(text);
    } catch (const common_json_error & e) {
        invalid(std::string(what) + ": not valid JSON: " + shorten(e.what(), 200));
    }
}

json parse_json(const std::string & text, const std::string & what) {
    if (std::memchr(text.data(), 0, text.size()) != nullptr) {
        invalid(what + ": a NUL character is not valid JSON");
    }
    return parse_json(text.c_str(), what.c_str());
}

std::string get_string(const json & object, const char * key, const std::string & fallback) {
    if (!object.contains(key) || object.at(key).is_null()) {
        return fallback;
    }
    if (!object.at(key).is_string()) {
        invalid(std::string(key) + ": must be a string");
    }
    return object.at(key).get<std::string>();
}

bool get_bool(const json & object, const char * key, bool fallback) {
    if (!object.contains(key) || object.at(key).is_null()) {
        return fallback;
    }
    if (!object.at(key).is_boolean()) {
        invalid(std::string(key) + ": must be true or false");
    }
    return object.at(key).get<bool>();
}

std::string shorten(const std::string & text, size_t max_bytes) {
    if (text.size() <= max_bytes) {
        return text;
    }
    size_t end = max_bytes;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) {
        end--;
    }
    // Prefer the end of a word within the last 40 bytes.
    const size_t space = text.find_last_of(" \t\n", end);
    if (space != std::string::npos && space > 0 && end - space <= 40) {
        end = space;
    }
    return text.substr(0, end) + "...";
}

}  // namespace lb
