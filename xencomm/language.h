// All headers of this library are C++20. An older language is told so once, and no more of it read.
#ifndef XENCOMM_LANGUAGE_H_
#define XENCOMM_LANGUAGE_H_

#if __cplusplus < 202002L
#error "xencomm needs C++20: compile with -std=c++20"
#include "xencomm/needs_cpp20"  // There is no such file: here the compiler stops.
#endif

#endif  // XENCOMM_LANGUAGE_H_
