// Any text as a tokenizer.json, after a prompt and a NUL: ids within the vocabulary, or an Error.
#include "tokenizer/tokenizer_file.h"

#include <cstdlib>
#include <stdexcept>

#include "errors.h"
#include "utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace arcmobile;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = input.find('\0');
  const std::string_view prompt = end == std::string_view::npos ? "" : input.substr(0, end);
  const std::string_view file = end == std::string_view::npos ? input : input.substr(end + 1);
  if (first_invalid_character(prompt)) return -1;
  try {
    const tokenizer::Steps steps = tokenizer::read_tokenizer_file(file, "tokenizer.json");
    for (const std::string_view text : {prompt, std::string_view("rain, ﬁ\u0301 A\u030A  </s>x")}) {
      for (const std::int32_t id : steps.encode(text)) {
        if (id < 0 || id >= steps.vocabulary_size) std::abort();
      }
    }
  } catch (const Error&) {
  } catch (const std::invalid_argument&) {
  }
  return 0;
}
