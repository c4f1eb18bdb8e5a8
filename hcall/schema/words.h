// Rows in words: what the printer and the JSON export both say of directions, counts and cases.
#ifndef HCALL_SCHEMA_WORDS_H_
#define HCALL_SCHEMA_WORDS_H_

#include <cstddef>
#include <string>

#include "hcall/schema/op.h"

namespace xencomm::schema {

// "in", "out", "in out", "".
const char* Word(Direction direction);
const char* Word(Kind kind);

// The name of the field of `record` at a place; of registers when `op` is given. Where cases have
// fields of their own there, the name in the case of `beside`.
std::string NameOf(Ref field, const Record& record, const Op* registers_of = nullptr,
                   const Part* beside = nullptr);

// Of a constant that is one of those that name a part's values: how long the prefix is that they
// have in common. 0: it is none of them.
std::size_t PrefixOf(const Part& part, const Constant& constant);

// "nr_vnodes * nr_vnodes", "(nr_bits + 7) / 8", "16", "up to a zero".
std::string CountText(const Amount& amount, const Part& part, const Record& record,
                      const Op* registers_of = nullptr);

// "cmd is 1 or 2, sched_id is 8"; empty: always.
std::string CaseText(const Part& part, const Record& record);

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_WORDS_H_
