#include "hcall/trace/comparison.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hcall/trace/call_text.h"

namespace xencomm::trace {
namespace {

using schema::Local;

// As a call has left it.
const Value& Final(const Value& value) { return value.after.empty() ? value : value.after[0]; }

class Comparison {
 public:
  Comparison(const DescribedCall& recorded, Counterparts& counterparts)
      : domain_(DomainOf(recorded)), counterparts_(counterparts) {
    is_compared_ = recorded.domains.empty() || IsMade(recorded.domains.front());
  }

  void CompareResults(const DescribedCall& recorded, const DescribedCall& answered) {
    if (recorded.failed() || answered.failed() || recorded.result_local == Local::kNo) {
      if (recorded.failed() != answered.failed() ||
          (recorded.result != answered.result && recorded.result_local == Local::kNo &&
           is_compared_) ||
          (recorded.failed() && recorded.result != answered.result)) {
        Tell("result", ResultText(recorded), ResultText(answered));
      }
      return;
    }
    Value was = Value::Number(static_cast<std::uint64_t>(*recorded.result));
    was.local = recorded.result_local;
    was.is_made = recorded.result_is_made;
    is_answer_ = true;
    CompareNumbers("result", was, Value::Number(static_cast<std::uint64_t>(*answered.result)));
    is_answer_ = false;
  }

  void CompareFields(const std::string& path, const std::vector<Field>& recorded,
                     const std::vector<Field>& answered) {
    // Extents of memory are named by their first frames.
    const auto order = std::ranges::find(recorded, "extent_order", &Field::name);
    const std::uint64_t run_around = run_;
    run_ = order == recorded.end() ? 1 : std::uint64_t{1} << (order->value.number & 31);
    for (const Field& field : recorded) {
      const auto other = std::ranges::find(answered, field.name, &Field::name);
      const std::string where =
          path.empty() || field.name.empty() ? path + field.name : path + "." + field.name;
      if (other != answered.end()) {
        CompareValues(where, field.value, other->value);
      } else if (field.value.local != Local::kMachine) {
        Tell(where, ValueText(Final(field.value)), "nothing");
      }
    }
    run_ = run_around;
  }

  std::vector<Difference> Take() { return std::move(differences_); }

 private:
  void CompareValues(const std::string& where, const Value& recorded, const Value& answered) {
    const Value& was = Final(recorded);
    const Value& is = Final(answered);
    const bool is_in_answer = is_answer_, is_in_changed = is_changed_;
    is_answer_ |= was.is_answer;
    is_changed_ |= !recorded.after.empty();
    CompareFinal(where, was, is);
    is_answer_ = is_in_answer;
    is_changed_ = is_in_changed;
  }

  void CompareFinal(const std::string& where, const Value& was, const Value& is) {
    // Nor is it known what a pointer leads to that nobody could follow.
    if (IsMachines(was) || was.kind == Value::Kind::kPointer) return;
    if (was.kind != is.kind) {
      Tell(where, ValueText(was), ValueText(is));
      return;
    }
    switch (was.kind) {
      case Value::Kind::kNumber:
        CompareNumbers(where, was, is);
        return;
      case Value::Kind::kList: {
        if (was.is_answer && !was.elements.empty() && DomainIn(was.elements[0]) != nullptr) {
          CompareDomains(where, was.elements, is.elements);
          return;
        }
        if (was.elements.size() != is.elements.size()) {
          Tell(where, absl::StrCat(was.elements.size(), " elements"),
               absl::StrCat(is.elements.size()));
        }
        const std::size_t both = std::min(was.elements.size(), is.elements.size());
        for (std::size_t i = 0; i < both; ++i) {
          CompareValues(absl::StrCat(where, "[", i, "]"), was.elements[i], is.elements[i]);
        }
        return;
      }
      case Value::Kind::kStruct:
        CompareFields(where, was.fields, is.fields);
        return;
      default:
        if (was.bytes != is.bytes || was.ranges != is.ranges || was.more != is.more) {
          Tell(where, ValueText(was), ValueText(is));
        }
    }
  }

  static bool IsMachines(const Value& value) {
    return value.local == Local::kMachine && value.local_bits == 0;
  }

  void CompareNumbers(const std::string& where, const Value& was, const Value& is) {
    if (IsMachines(was)) return;
    // What a call answers in place of a frame that it was told is none.
    const bool is_no_frame = was.local == Local::kFrame && is_changed_ && !was.is_made;
    if (was.local == Local::kNo || was.local == Local::kMachine || is_no_frame) {
      const std::uint64_t bits = was.local == Local::kMachine ? was.local_bits : 0;
      if ((was.number & ~bits) != (is.number & ~bits)) Tell(where, ValueText(was), ValueText(is));
      return;
    }
    const Counterparts::Thing thing = {was.local, domain_, was.number};
    const auto known = counterparts_.Find(thing);
    // Of what the call was only told nothing is learned.
    if (was.is_made && !Counterparts::IsEverywhere(thing) &&
        Counterparts::IsEverywhere({was.local, domain_, is.number})) {
      Tell(where, ValueText(was), ValueText(is));
    } else if (was.is_made || (is_answer_ && !known)) {
      counterparts_.Learn(thing, is.number, was.is_made,
                          was.local == Local::kFrame && was.is_made ? run_ : 1);
    } else if (const std::uint64_t expected = known.value_or(was.number); expected != is.number) {
      Tell(where,
           expected == was.number
               ? ValueText(was)
               : absl::StrFormat("%s, which is %d here", ValueText(was), expected),
           ValueText(is));
    }
  }

  // Of several domains those that the recording has made, wherever they stand in the list: the
  // others are the machine's.
  void CompareDomains(const std::string& where, const std::vector<Value>& recorded,
                      const std::vector<Value>& answered) {
    const bool was_compared = is_compared_;
    is_compared_ = true;
    for (const Value& was : recorded) {
      const std::uint64_t domain = DomainIn(was)->number;
      const auto here = counterparts_.Find({Local::kDomain, 0, domain});
      if (!here || !IsMade(domain)) continue;
      const auto other = std::ranges::find_if(answered, [&](const Value& each) {
        return DomainIn(each) != nullptr && DomainIn(each)->number == *here;
      });
      const std::string its = absl::StrFormat("%s, domain %d", where, domain);
      if (other == answered.end()) {
        Tell(its, ValueText(was), "nothing");
      } else {
        CompareFields(its, was.fields, other->fields);
      }
    }
    is_compared_ = was_compared;
  }

  // The one that a structure is about, if it is.
  static const Value* DomainIn(const Value& value) {
    for (const Field& field : value.fields) {
      if (Final(field.value).local == Local::kDomain) return &Final(field.value);
    }
    return nullptr;
  }

  bool IsMade(std::uint64_t domain) const {
    return counterparts_.IsMade({Local::kDomain, 0, domain});
  }

  void Tell(std::string where, std::string recorded, std::string answered) {
    if (!is_compared_ && where != "result") return;
    differences_.push_back({std::move(where), std::move(recorded), std::move(answered)});
  }

  const std::uint16_t domain_;
  Counterparts& counterparts_;
  bool is_compared_ = true;  // not of a domain that was there before, which is the machine's
  bool is_answer_ = false;   // what is compared: the call was not told it
  bool is_changed_ = false;  // it was told something else
  std::uint64_t run_ = 1;    // frames that one number stands for
  std::vector<Difference> differences_;
};

}  // namespace

std::vector<Difference> Compare(const DescribedCall& recorded, const DescribedCall& answered,
                                Counterparts& counterparts) {
  if (!recorded.result) return {};  // the program ended in it
  Comparison comparison(recorded, counterparts);
  comparison.CompareResults(recorded, answered);
  // What a call that failed answers says nothing.
  if (recorded.failed() == answered.failed()) {
    comparison.CompareFields("", recorded.arguments, answered.arguments);
  }
  return comparison.Take();
}

}  // namespace xencomm::trace
