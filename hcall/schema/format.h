// printf into a string, for what this library says to people.
#ifndef HCALL_SCHEMA_FORMAT_H_
#define HCALL_SCHEMA_FORMAT_H_

#include <cstdarg>
#include <cstdio>
#include <string>

namespace xencomm::schema {

[[gnu::format(printf, 1, 2)]] inline std::string Format(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  const int length = std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  if (length < 0) return "";
  return static_cast<unsigned>(length) < sizeof(text) ? text : std::string(text) + "…";
}

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_FORMAT_H_
