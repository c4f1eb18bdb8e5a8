// Numbers of a recorded machine, and what stands for the same things on this one.
#ifndef HCALL_TRACE_COUNTERPARTS_H_
#define HCALL_TRACE_COUNTERPARTS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <tuple>

#include "hcall/schema/words.h"

namespace xencomm::trace {

class Counterparts {
 public:
  // A thing as it was numbered there. Frames, ports and what else is a domain's are numbered by
  // each domain; `domain` is its recorded id.
  struct Thing {
    schema::Local kind;
    std::uint16_t domain;
    std::uint64_t number;
  };

  // A number that means the same on every machine: of what is there from the start, of nothing.
  static bool IsEverywhere(const Thing& thing);

  // None: nothing is known of it. What is everywhere is itself.
  std::optional<std::uint64_t> Find(const Thing& thing) const;

  // Of `count` things numbered one after another, in place of what was known of them. `is_made`:
  // they have come to be by a call, and were not there before. A domain that is made has nothing
  // of one that had its id.
  void Learn(const Thing& thing, std::uint64_t number, bool is_made, std::uint64_t count = 1);
  bool IsMade(const Thing& thing) const;

 private:
  using Key = std::tuple<schema::Local, std::uint16_t, std::uint64_t>;
  static Key KeyOf(const Thing& thing);

  struct Counterpart {
    std::uint64_t number;
    std::uint64_t count;
    bool is_made;
  };
  using Known = std::map<Key, Counterpart>;

  // The run that a thing is in, or the end.
  Known::const_iterator RunOf(const Key& key) const;
  // Takes the things from a key on out of the runs they are in.
  void Cut(const Key& key, std::uint64_t count);

  Known known_;  // by the first of each run; runs have nothing in common
};

}  // namespace xencomm::trace

#endif  // HCALL_TRACE_COUNTERPARTS_H_
