#include "hcall/trace/counterparts.h"

#include "hcall/schema/generated/xen.h"

namespace xencomm::trace {
namespace {

using schema::Local;

constexpr unsigned kPageShift = 12;
constexpr std::uint64_t kInPage = (1 << kPageShift) - 1;

bool IsOfDomain(Local kind) {
  return kind != Local::kDomain && kind != Local::kHandle && kind != Local::kCpupool;
}

}  // namespace

bool Counterparts::IsEverywhere(const Thing& thing) {
  const std::uint64_t number = thing.number;
  switch (thing.kind) {
    case Local::kDomain:
      return number == 0 || number >= DOMID_FIRST_RESERVED;
    case Local::kAddress:
      return IsEverywhere({Local::kFrame, thing.domain, number >> kPageShift});
    case Local::kFrame:
      return number == 0 || number >= ~std::uint64_t{0} >> kPageShift;
    case Local::kHandle:
    case Local::kPirq:
    case Local::kServer:
      return static_cast<std::uint32_t>(number) == ~std::uint32_t{0};
    default:
      return number == 0 || static_cast<std::uint32_t>(number) == ~std::uint32_t{0};
  }
}

Counterparts::Key Counterparts::KeyOf(const Thing& thing) {
  return {thing.kind, IsOfDomain(thing.kind) ? thing.domain : std::uint16_t{0}, thing.number};
}

Counterparts::Known::const_iterator Counterparts::RunOf(const Key& key) const {
  auto run = known_.upper_bound(key);
  if (run == known_.begin()) return known_.end();
  --run;
  const auto& [kind, domain, first] = run->first;
  const bool is_in = kind == std::get<0>(key) && domain == std::get<1>(key) &&
                     std::get<2>(key) - first < run->second.count;
  return is_in ? run : known_.end();
}

std::optional<std::uint64_t> Counterparts::Find(const Thing& thing) const {
  if (thing.kind == Local::kAddress) {
    const auto frame = Find({Local::kFrame, thing.domain, thing.number >> kPageShift});
    if (!frame) return {};
    return *frame << kPageShift | (thing.number & kInPage);
  }
  if (thing.kind == Local::kOwnPort) return Find({Local::kPort, 0, thing.number});
  if (IsEverywhere(thing)) return thing.number;
  const auto run = RunOf(KeyOf(thing));
  if (run == known_.end()) return {};
  return run->second.number + (thing.number - std::get<2>(run->first));
}

void Counterparts::Cut(const Key& key, std::uint64_t count) {
  const auto& [kind, domain, first] = key;
  const std::uint64_t end = first + count;
  // One that begins before it and reaches into it keeps its ends.
  if (const auto run = RunOf(key); run != known_.end()) {
    const auto [start, old] = *run;
    const std::uint64_t before = first - std::get<2>(start);
    known_.erase(start);
    if (before != 0) known_[start] = {old.number, before, old.is_made};
    if (old.count > before + count) {
      known_[{kind, domain, end}] = {old.number + before + count, old.count - before - count,
                                     old.is_made};
    }
  }
  for (auto run = known_.lower_bound(key); run != known_.end();) {
    const auto [start, old] = *run;
    if (std::get<0>(start) != kind || std::get<1>(start) != domain || std::get<2>(start) >= end) {
      return;
    }
    const std::uint64_t covered = end - std::get<2>(start);
    run = known_.erase(run);
    if (old.count <= covered) continue;
    known_[{kind, domain, end}] = {old.number + covered, old.count - covered, old.is_made};
    return;
  }
}

void Counterparts::Learn(const Thing& thing, std::uint64_t number, bool is_made,
                         std::uint64_t count) {
  if (thing.kind == Local::kAddress) {
    const Thing frame = {Local::kFrame, thing.domain, thing.number >> kPageShift};
    Learn(frame, number >> kPageShift, is_made);
  } else if (thing.kind == Local::kOwnPort) {
    Learn({Local::kPort, 0, thing.number}, number, is_made);
  } else if (!IsEverywhere(thing) && count <= ~thing.number) {
    if (thing.kind == Local::kDomain && is_made && count == 1) {
      std::erase_if(known_, [&](const auto& known) {
        return IsOfDomain(std::get<0>(known.first)) && std::get<1>(known.first) == thing.number;
      });
    }
    Cut(KeyOf(thing), count);
    known_[KeyOf(thing)] = {number, count, is_made};
  }
}

bool Counterparts::IsMade(const Thing& thing) const {
  const auto run = RunOf(KeyOf(thing));
  return run != known_.end() && run->second.is_made;
}

}  // namespace xencomm::trace
