// Sentences of errors, as absl::StrFormat makes them.
//
// Abseil's own ends the program when memory runs out while it makes one, as it often has when there
// is an error to tell of. This one throws std::bad_alloc like everything else.
#ifndef XENCOMM_SENTENCE_H_
#define XENCOMM_SENTENCE_H_

#include <algorithm>
#include <string>

#include "absl/strings/str_format.h"
#include "xencomm/language.h"

namespace xencomm {

// At most 1000 characters: what is longer is cut.
template <class... Arguments>
std::string Sentence(const absl::FormatSpec<Arguments...>& format, const Arguments&... arguments) {
  char text[1001];
  const int length = absl::SNPrintF(text, sizeof(text), format, arguments...);
  return std::string(text, static_cast<std::size_t>(std::clamp(length, 0, 1000)));
}

}  // namespace xencomm

#endif  // XENCOMM_SENTENCE_H_
