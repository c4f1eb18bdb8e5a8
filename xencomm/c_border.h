// The border to C: no exception crosses it.
//
// Every function that a library shows to C runs its body by AtBorder. What the body throws becomes
// errno and the answer that says so: null, -1, false, or 0 of an unsigned number. A body that
// throws has changed nothing that a caller could see.
//
// tests/unit/c_border_test.cc lets memory run out at every step of every function; it knows them
// from the libraries' version scripts.
#ifndef XENCOMM_C_BORDER_H_
#define XENCOMM_C_BORDER_H_

#include <cerrno>
#include <exception>
#include <type_traits>

#include "xencomm/language.h"

namespace xencomm {

// The answer of a function that failed.
template <class Answer>
constexpr Answer Failure() {
  if constexpr (std::is_signed_v<Answer>) {
    return -1;
  } else {
    return Answer();
  }
}

// `failed()` is called when the body threw, before errno is set.
template <class Body, class Failed>
auto AtBorder(Body body, Failed failed) -> decltype(body()) {
  using Answer = decltype(body());
  try {
    return body();
  } catch (const std::exception&) {
    // Lack of memory: nothing else is thrown here. Not `...`, which would hold up a thread that is
    // cancelled while it waits.
    failed();
    errno = ENOMEM;
  }
  return Failure<Answer>();
}

template <class Body>
auto AtBorder(Body body) -> decltype(body()) {
  return AtBorder(body, [] {});
}

}  // namespace xencomm

#endif  // XENCOMM_C_BORDER_H_
