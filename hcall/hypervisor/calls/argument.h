// Argument: the structure that an op's register points at.
//
// It is copied in once, at the size of its type; what is checked is what is used. Of the structure
// only what the op's row calls an output is written back, so that everything else in guest memory
// stays as the guest wrote it.
//
// Handlers see the base release's structure in the processor's byte order. Where the release that
// this machine answers as lays it out otherwise, Select moves the fields to where handlers look for
// them, and Store to where the guest does: by the table (Op::moves), as it is swapped by the table.
// What the base release has no field for is read by a row of its own.
#ifndef HCALL_HYPERVISOR_CALLS_ARGUMENT_H_
#define HCALL_HYPERVISOR_CALLS_ARGUMENT_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "hcall/hypervisor/calls/call.h"
#include "hcall/schema/bind.h"
#include "hcall/schema/generated/types.h"
#include "hcall/schema/op.h"

namespace xencomm::hypervisor {

// The part that does not depend on the structure's type. `value` is its storage.
class ArgumentBase {
 protected:
  ArgumentBase(Call& call, std::uint64_t pointer, std::uint64_t index, void* value, void* theirs,
               std::uint64_t size)
      : call_(call),
        pointer_(pointer),
        offset_(index * size),
        value_(static_cast<std::byte*>(value)),
        theirs_(static_cast<std::byte*>(theirs)),
        size_(size) {}

  bool FetchBytes();
  bool SelectForm(const schema::Op* form);
  bool StoreParts(std::uint64_t offset, std::uint64_t size) const;

  Call& call_;
  std::uint64_t pointer_;
  std::uint64_t offset_;  // from there, in bytes
  std::byte* value_;
  std::byte* theirs_;  // as the guest lays it out, when that is otherwise
  std::uint64_t size_;
  const schema::Op* op_ = nullptr;
};

template <class T>
class Argument : private ArgumentBase {
 public:
  // `pointer` is what a register of the call holds; of a list of structures that it leads to, this
  // is number `index`, less than 2^32.
  Argument(Call& call, std::uint64_t pointer, std::uint64_t index = 0)
      : ArgumentBase(call, pointer, index, &value_, theirs_bytes_, sizeof(T)) {}

  // Copies it in, in the guest's byte order still. False: -EFAULT.
  [[nodiscard]] bool Fetch() { return FetchBytes(); }

  // A field that all ops of a hypercall have, before the row is known.
  template <class Field>
  Field Raw(const Field& field) const {
    return InOrder(static_cast<std::make_unsigned_t<Field>>(field), call_.domain.order);
  }

  // Whether it states the interface version that this machine's release has for the op.
  bool StatesVersion(std::uint64_t hypercall) {
    const schema::Hypercall& row = *schema::Find(hypercall);
    const schema::Releases release = call_.core.config.release;
    const std::span<const schema::Op> forms = schema::FormsOf(row, Raw(value_.cmd));
    op_ = schema::NewestOf(forms, release);
    return schema::ReleasesThatTake(row, forms, Raw(value_.interface_version), release) != 0;
  }

  // Then: swaps it into the processor's byte order and the base release's layout, by the op's row.
  // False when this release has no such op.
  [[nodiscard]] bool Select() { return SelectForm(op_); }
  // Both, of a hypercall whose ops have structures of their own. The op's row must exist.
  [[nodiscard]] bool Fetch(std::uint64_t hypercall, std::uint64_t op) {
    return FetchBytes() && SelectForm(schema::Find(hypercall, op, call_.core.config.release));
  }

  T* operator->() { return &value_; }
  T& operator*() { return value_; }

  // The op's own part, of an op that the base release lacks.
  template <class Own>
  Own& Part() {
    static_assert(sizeof(Own) <= sizeof(T) && alignof(Own) <= alignof(T));
    return *reinterpret_cast<Own*>(ArgumentBase::value_ + op_->own_offset);
  }
  // A field that the base release lacks; 0 where this machine's release lacks it, too.
  std::uint64_t Read(const schema::FieldRow& row) const {
    if ((call_.core.config.release & row.releases) == 0) return 0;
    return schema::RecordView(theirs_, kNativeOrder).Read(row.field);
  }

  // The buffer that a pointer of the structure leads to, by its row (hcall/schema/bind.h). One of
  // 2^64 bytes or more has no elements: whatever is read or written there faults.
  template <class Row>
  typename Row::Handle Bind(const Row& row) const {
    const auto bound = schema::Bind(row, value_, call_.space, call_.domain.order);
    if (bound.ok()) return *bound;
    const schema::RecordView view(&value_, kNativeOrder);
    return {call_.space, {view.Read(row.offset, sizeof(std::uint64_t))}, 0};
  }

  // Writes back what the op's row calls its outputs; or of one field only, if it is one. False:
  // -EFAULT.
  [[nodiscard]] bool Store() const { return StoreParts(0, sizeof(T)); }
  template <class Field>
  [[nodiscard]] bool StoreField(const Field& field) const {
    // Both lie in the same object: the difference is the field's place in it.
    const std::ptrdiff_t offset =
        reinterpret_cast<const std::byte*>(&field) - reinterpret_cast<const std::byte*>(&value_);
    return StoreParts(static_cast<std::uint64_t>(offset), sizeof(field));
  }

 private:
  T value_;
  alignas(T) std::byte theirs_bytes_[sizeof(T)];
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_CALLS_ARGUMENT_H_
