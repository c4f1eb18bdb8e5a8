// What a call was given and what it answered, as people and programs read it: numbers with their
// names, structures, lists; without addresses, types and pointers of the program's own.
#ifndef HCALL_TRACE_VALUE_H_
#define HCALL_TRACE_VALUE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "hcall/schema/words.h"

namespace xencomm::trace {

struct Field;

struct Value {
  enum class Kind : std::uint8_t {
    kNumber,   // `number`, `name`
    kText,     // `bytes`
    kBytes,    // `bytes`
    kBits,     // `ranges`
    kList,     // `elements`
    kStruct,   // `fields`
    kPointer,  // `number`: not followed, or what it leads to is not known; 0: null
  };
  enum class Form : std::uint8_t { kPlain, kSigned, kHexadecimal, kDomain };

  static Value Number(std::uint64_t number, Form form = Form::kPlain);
  static Value Of(Kind kind, std::uint64_t number = 0);

  Kind kind = Kind::kNumber;
  Form form = Form::kPlain;
  schema::Local local = schema::Local::kNo;
  bool is_made = false;          // of what is local: by this call
  std::uint64_t local_bits = 0;  // of the machine's flags; 0: all of it
  std::uint64_t number = 0;
  std::string name;  // of the constants, if it has some
  std::string bytes;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;  // of bits that are 1, ends included
  std::vector<Value> elements;
  std::vector<Field> fields;
  bool is_answer = false;    // all of it: the call was not given it
  std::uint64_t more = 0;    // elements or bytes that are there and not in it
  std::vector<Value> after;  // one, or none: what the call has made of it

  bool operator==(const Value&) const = default;
};

struct Field {
  std::string name;  // "" of what has none
  Value value;

  bool operator==(const Field&) const = default;
};

inline Value Value::Number(std::uint64_t number, Form form) {
  Value value;
  value.number = number;
  value.form = form;
  return value;
}

inline Value Value::Of(Kind kind, std::uint64_t number) {
  Value value;
  value.kind = kind;
  value.number = number;
  return value;
}

}  // namespace xencomm::trace

#endif  // HCALL_TRACE_VALUE_H_
