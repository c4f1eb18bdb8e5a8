#include "hcall/transport/collect.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "xencomm/own_space.h"

namespace xencomm::schema {
namespace {

// Whether its fields depend on what stands in others.
bool IsConditional(const Record* record) {
  if (record == nullptr) return false;
  return std::ranges::any_of(record->parts(), &Part::is_conditional);
}

// Whether it is one thing of a length of its own: bytes with their length in them, a structure with
// an array at its end.
bool HasLength(const CollectedBuffer& collected) {
  const Buffer& buffer = collected.buffer;
  return collected.tail != 0 ||
         (buffer.part->room().kind == CountKind::kInside && buffer.element->size == 1);
}

// Whether both are parts of one list of elements.
bool AreAlike(const CollectedBuffer& a, const CollectedBuffer& b) {
  const Type& x = *a.buffer.element;
  const Type& y = *b.buffer.element;
  if (HasLength(a) || HasLength(b)) {
    return a.buffer.part == b.buffer.part && a.buffer.address == b.buffer.address;
  }
  if (x.size != y.size || (a.buffer.address - b.buffer.address) % x.size != 0) return false;
  if (a.buffer.element_record != b.buffer.element_record &&
      (IsConditional(a.buffer.element_record) || IsConditional(b.buffer.element_record))) {
    return false;
  }
  return &x == &y || x.size == 1 || (x.is_number() && y.is_number());
}

}  // namespace

int ErrnoOf(Problem problem) {
  switch (problem) {
    case Problem::kUnknownHypercall:
    case Problem::kUnknownOp:
      return ENOSYS;
    case Problem::kUnknownVersion:
      return EACCES;
    case Problem::kUnknownVariant:
    case Problem::kTooFew:
    case Problem::kTooMany:
    case Problem::kEndless:
    case Problem::kNested:
      return EINVAL;
    default:
      return EFAULT;
  }
}

Finding CollectBuffers(const Call& call, ByteOrder order, std::uint32_t vcpus, Releases releases,
                       std::vector<CollectedBuffer>& buffers) {
  OwnSpace space;
  return CollectBuffers(call, {space, order, vcpus, releases}, buffers);
}

Finding CollectBuffers(const Call& call, const Caller& caller,
                       std::vector<CollectedBuffer>& buffers) {
  auto collect = [&](const Buffer& buffer) {
    if (buffer.part->is_trailing()) {
      // The structure that it ends was visited before it.
      for (auto owner = buffers.rbegin(); owner != buffers.rend(); ++owner) {
        if (owner->buffer.address != buffer.holder) continue;
        const std::uint64_t end = (buffer.address - buffer.holder) + buffer.bytes;
        owner->tail = end > owner->buffer.bytes ? end - owner->buffer.bytes : 0;
        owner->tail_part = buffer.part;
        break;
      }
      return true;
    }
    CollectedBuffer collected = {.buffer = buffer};
    collected.buffer.holder_copy = nullptr;  // lives no longer than the visit
    if (buffer.in_register) {
      collected.register_index = buffer.part->offset / sizeof(std::uint64_t);
    } else {
      collected.pointer = reinterpret_cast<std::byte*>(buffer.holder.value + buffer.part->offset);
    }
    // The call of a list's entry has its registers in the entry.
    if (buffer.in_register && buffer.entry != kNoIndex) {
      constexpr std::uint64_t kArguments = 16;  // struct multicall_entry, xen/xen.h
      const CollectedBuffer& list = buffers.front();
      collected.buffer.in_register = false;
      collected.buffer.holder = list.buffer.address + buffer.entry * list.buffer.element->size;
      collected.pointer = reinterpret_cast<std::byte*>(collected.buffer.holder.value) + kArguments +
                          buffer.part->offset;
    }
    buffers.push_back(collected);
    return true;
  };
  Finding finding = ForEachBuffer(call, caller, collect);
  for (const CollectedBuffer& each : buffers) {
    if (!finding.ok()) break;
    const Access access = each.buffer.writes() ? Access::kWrite : Access::kRead;
    const Mapping mapping = caller.space.Map(each.buffer.address, 0, each.bytes(), access, nullptr);
    if (mapping.ok()) continue;
    finding = {.problem = Problem::kUnreadable,
               .hypercall = &each.buffer.op->hypercall(),
               .op = each.buffer.op,
               .part = each.buffer.part,
               .entry = each.buffer.entry,
               .index = each.buffer.index,
               .address = each.buffer.address,
               .bytes = each.bytes(),
               .fault = mapping.fault()};
  }
  return finding;
}

std::vector<BufferGroup> GroupBuffers(const std::vector<CollectedBuffer>& buffers) {
  std::vector<const CollectedBuffer*> sorted;
  for (const CollectedBuffer& buffer : buffers) sorted.push_back(&buffer);
  // Of those that begin at one place the longest comes first: a structure may be cut off.
  std::ranges::sort(sorted, {}, [](const CollectedBuffer* each) {
    return std::pair(each->buffer.address.value, ~each->bytes());
  });
  std::vector<BufferGroup> groups;
  for (const CollectedBuffer* each : sorted) {
    const std::uint64_t start = each->buffer.address.value;
    const std::uint64_t last = start + each->bytes() - 1;
    if (groups.empty() || start > groups.back().last) {
      groups.push_back({.start = start, .last = last, .first = each});
      continue;
    }
    BufferGroup& group = groups.back();
    group.last = std::max(group.last, last);
    if (group.unlike == nullptr && !AreAlike(*group.first, *each)) group.unlike = each;
  }
  return groups;
}

const BufferGroup& GroupOf(const std::vector<BufferGroup>& groups, const std::byte* byte) {
  const auto address = reinterpret_cast<std::uint64_t>(byte);
  return *std::prev(std::ranges::upper_bound(groups, address, {}, &BufferGroup::start));
}

Finding FindSharedPointer(const std::vector<CollectedBuffer>& buffers,
                          const std::vector<BufferGroup>& groups) {
  for (const CollectedBuffer& each : buffers) {
    if (each.pointer == nullptr) continue;
    const CollectedBuffer* const unlike = GroupOf(groups, each.pointer).unlike;
    if (unlike == nullptr) continue;
    const Buffer& buffer = unlike->buffer;
    return {.problem = Problem::kOverlap,
            .hypercall = &buffer.op->hypercall(),
            .op = buffer.op,
            .part = buffer.part,
            .entry = buffer.entry,
            .index = buffer.index,
            .address = buffer.address,
            .bytes = unlike->bytes()};
  }
  return {};
}

}  // namespace xencomm::schema
