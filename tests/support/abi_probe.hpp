// The fixed part of the probe: what a C++ type is in one word, and how a line is printed.
// abi_probe.py generates the rest: a table of lines and a main().
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <string>
#include <type_traits>

using std::string;

template <class T> string name() {
    string text = __PRETTY_FUNCTION__;
    const size_t from = text.find("T = ") + 4;
    text = text.substr(from, text.find_first_of(";]", from) - from);
    // an unnamed struct is <unnamed struct> to gcc and (unnamed struct at FILE) to clang
    return text.find_first_of("<(") == string::npos ? text : "?";
}

template <bool named, class T> string kind();

template <bool named, class R, class... A> string arguments(R (*)(A...)) {
    string text;
    ((text += (text.empty() ? "" : ", ") + kind<named, A>()), ...);
    return kind<named, R>() + " (" + text + ")";
}

template <bool named, class P> string pointer() {
    if constexpr (std::is_function_v<P>) return "fn " + arguments<false>((P *) nullptr);
    else if constexpr (std::is_same_v<P, FILE>) return "ptr<FILE>";
    else if constexpr (std::is_class_v<P>) return "ptr<" + (named ? name<P>() : "void") + ">";
    else return "ptr<" + kind<named, P>() + ">";
}

template <bool named, class T> string kind() {
    using U = std::remove_cv_t<T>;
    if constexpr (std::is_void_v<U>) return "void";
    else if constexpr (std::is_same_v<U, bool>) return "bool";
    else if constexpr (std::is_same_v<U, char>) return "char";
    else if constexpr (std::is_same_v<U, float>) return "f32";
    else if constexpr (std::is_same_v<U, double>) return "f64";
    else if constexpr (std::is_pointer_v<U>) return pointer<named, std::remove_cv_t<std::remove_pointer_t<U>>>();
    else if constexpr (std::is_array_v<U>)
        return "array<" + std::to_string(std::extent_v<U>) + "," + kind<named, std::remove_extent_t<U>>() + ">";
    else if constexpr (std::is_class_v<U>) return "struct " + name<U>();
    else {
        const string bits = std::to_string(8 * sizeof(U));
        if constexpr (std::is_enum_v<U>) return named ? "enum" + bits + " " + name<U>() : "i" + bits;
        else return (std::is_signed_v<U> ? "i" : "u") + bits;
    }
}

template <class F> string signature() { return arguments<true>((F) nullptr); }

// A table of constants, since code for each line would take the compiler three times as long.
struct Line {
    const char * key;
    string (*kind)();
    const char * numbers;  // a format for a and b
    long long a, b;
};

static void print(const Line & line) {
    char numbers[64];
    snprintf(numbers, sizeof(numbers), line.numbers, line.a, line.b);
    printf("%s\t%s%s\n", line.key, numbers, line.kind ? line.kind().c_str() : "");
}

template <class T> void value(const char * key, const T & content) {
    string text;
    if constexpr (std::is_pointer_v<T>) text = content ? "set" : "null";
    else for (size_t i = 0; i < sizeof(T); i++) {
        char byte[3];
        snprintf(byte, sizeof(byte), "%02x", ((const unsigned char *) &content)[i]);
        text += byte;
    }
    printf("%s\t%s\n", key, text.c_str());
}

template <class F> F * symbol(const string & directory, const char * file, const char * function) {
    void * library = dlopen((directory + "/" + file).c_str(), RTLD_NOW | RTLD_GLOBAL);
    void * address = library ? dlsym(library, function) : nullptr;
    if (!address) { fprintf(stderr, "%s\n", dlerror()); exit(1); }
    return (F *) address;
}
