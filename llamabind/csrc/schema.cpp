// JSON schema to GBNF with llama.cpp's converter. Schemas that would hang it, overflow its stack, or lose a keyword that it
// drops are refused first.

#include "chat_request.h"

#include "json-schema-to-grammar.h"

#include <algorithm>
#include <set>
#include <utility>

using lb::invalid;
using lb::json;

namespace {

constexpr size_t SCHEMA_STACK    = 64 * lb::MiB;
constexpr double MAX_NODES       = 100000;
constexpr size_t MAX_PROPERTIES  = 256;   // the converter's time grows with the third power of the optional ones
constexpr size_t MAX_PATTERN     = 2048;
constexpr int    MAX_REF_CHAIN   = 32;
constexpr double MAX_COUNT       = 2147483647;        // int
constexpr double MAX_INTEGER     = 9007199254740991;  // the largest integer that JSON numbers represent exactly, 2^53 - 1
constexpr size_t MAX_SCHEMA_TEXT = 4 * lb::MiB;

// Checks a schema along the same path as the converter, before the converter runs.
struct schema_check {
    const json & root;
    double       n_nodes = 0;

    void check(const json & node, const std::string & path, double weight) {
        if (!node.is_object()) {
            if (node.is_array()) {
                check_members(node, path, weight);
            }
            return;
        }
        // The converter copies the node for each entry of a type array; nested arrays multiply.
        weight *= check_types(node, path);
        n_nodes += weight;
        if (n_nodes > MAX_NODES) {
            invalid(path + ": the schema expands to more than 100,000 nodes");
        }
        check_properties(node, path);
        check_bounds(node, path);
        check_pattern(node, path);
        check_ref(node, path);
        check_members(node, path, weight);
    }

    void check_members(const json & node, const std::string & path, double weight) {
        if (node.is_array()) {
            for (size_t i = 0; i < node.size(); i++) {
                check(node.at(i), path + "/" + std::to_string(i), weight);
            }
            return;
        }
        for (const auto & item : node.items()) {
            if (item.key() != "enum" && item.key() != "const" && item.key() != "default" && item.key() != "examples") {
                check(item.value(), path + "/" + item.key(), weight);
            }
        }
    }

    static double check_types(const json & node, const std::string & path) {
        if (!node.contains("type") || !node.at("type").is_array()) {
            return 1;
        }
        std::set<std::string> types;
        for (const auto & type : node.at("type")) {
            if (!type.is_string() || !types.insert(type.get<std::string>()).second) {
                invalid(path + "/type: must list different type names");
            }
        }
        return static_cast<double>(types.size());
    }

    static void check_properties(const json & node, const std::string & path) {
        if (node.contains("properties") && node.at("properties").is_object() &&
            node.at("properties").size() > MAX_PROPERTIES) {
            invalid(path + "/properties: more than " + std::to_string(MAX_PROPERTIES));
        }
    }

    // llama.cpp reads counts as int, where large ones overflow, and makes another range of an empty one.
    static void check_bounds(const json & node, const std::string & path) {
        check_range(node, path, "minLength", "maxLength", 0, MAX_COUNT);
        check_range(node, path, "minItems", "maxItems", 0, MAX_COUNT);
        check_range(node, path, "minimum", "maximum", -MAX_INTEGER, MAX_INTEGER);
        check_range(node, path, "exclusiveMinimum", "exclusiveMaximum", -MAX_INTEGER, MAX_INTEGER);
    }

    static void check_range(const json & node, const std::string & path, const char * low_key, const char * high_key,
                            double lowest, double highest) {
        double low = lowest, high = highest;
        for (auto [key, value] : { std::pair<const char *, double *>{ low_key, &low }, { high_key, &high } }) {
            if (!node.contains(key) || !node.at(key).is_number()) {
                continue;
            }
            *value = node.at(key).get<double>();
            if (!(*value >= lowest && *value <= highest)) {
                invalid(path + "/" + key + ": must be from " + std::to_string(static_cast<int64_t>(lowest)) + " to " +
                        std::to_string(static_cast<int64_t>(highest)));
            }
        }
        if (low > high) {
            invalid(path + "/" + low_key + ": is above " + high_key);
        }
    }

    static void check_pattern(const json & node, const std::string & path) {
        if (!node.contains("pattern") || !node.at("pattern").is_string()) {
            return;
        }
        const auto pattern = node.at("pattern").get<std::string>();
        if (pattern.size() > MAX_PATTERN) {
            invalid(path + "/pattern: longer than " + std::to_string(MAX_PATTERN) + " bytes");
        }
        // For a pattern that it cannot express the converter only prints a warning on stderr and allows any string.
        json only_pattern;
        only_pattern["type"]    = "string";
        only_pattern["pattern"] = pattern;
        if (pattern.empty() || ("\n" + convert(only_pattern, path)).find("\nroot ::= string\n") != std::string::npos) {
            invalid(path + "/pattern: \"" + lb::shorten(pattern, 100) +
                    "\" cannot be expressed as a grammar: it must begin with ^, end with $ and use no lookaround, named "
                    "group or anchor");
        }
    }

    // The converter would follow a cycle of $refs without end.
    void check_ref(const json & node, const std::string & path) const {
        const json * target = &node;
        for (int i = 0; target->is_object() && target->contains("$ref"); i++) {
            if (i == MAX_REF_CHAIN) {
                invalid(path + "/$ref: a cycle of references, or more than " + std::to_string(MAX_REF_CHAIN) + " in a chain");
            }
            if (!target->at("$ref").is_string()) {
                return;
            }
            target = resolve(target->at("$ref").get<std::string>());
            if (target == nullptr) {
                return;  // the converter reports it
            }
        }
    }

    const json * resolve(const std::string & ref) const {
        const json * target = &root;
        if (ref.compare(0, 2, "#/") != 0) {
            return nullptr;
        }
        size_t begin = 2;
        while (begin <= ref.size()) {
            const size_t end = std::min(ref.find('/', begin), ref.size());
            const auto   key = ref.substr(begin, end - begin);
            if (!target->is_object() || !target->contains(key)) {
                return nullptr;
            }
            target = &target->at(key);
            begin  = end + 1;
        }
        return target;
    }

    static std::string convert(const json & schema, const std::string & what) {
        try {
            return json_schema_to_grammar(schema, true);
        } catch (const std::bad_alloc &) {
            throw;
        } catch (const std::exception & e) {
            invalid(what + ": " + lb::shorten(e.what()));
        }
    }
};

}  // namespace

namespace lb {

std::string schema_to_grammar(const json & schema, const std::string & what) {
    if (!schema.is_object()) {
        invalid(what + ": a JSON schema must be an object");
    }
    std::string grammar;
    run_with_stack(SCHEMA_STACK, [&] {
        schema_check{ schema }.check(schema, what, 1);
        grammar = schema_check::convert(schema, what);
    });
    if (grammar.size() > MAX_SCHEMA_TEXT) {
        invalid(what + ": its grammar is larger than 4 MiB");
    }
    return grammar;
}

}  // namespace lb

char * lb_json_schema_to_grammar(const char * schema_json) {
    return lb::guard_pointer(
        [&] { return lb::copy_string(lb::schema_to_grammar(lb::parse_json(schema_json, "json_schema"), "json_schema")); });
}
