// GrantEntry: one entry of a domain's grant table, in either version (public/grant_table.h).
//
//   version 1  flags, grantee | frame                                         8 bytes
//   version 2  flags, grantee | page_off, length | frame                     16 bytes
//              flags, grantee | trans_domid, -   | gref   of a transitive grant
//              and what it is in use for (GTF_reading, GTF_writing) in a table of its own
//
// The domain writes it at any moment. Flags and grantee are one word, so that both are of one
// grant; every other field is read once; what is checked is what is used.
#ifndef HCALL_HYPERVISOR_DOMAIN_GRANT_ENTRY_H_
#define HCALL_HYPERVISOR_DOMAIN_GRANT_ENTRY_H_

#include <cstddef>
#include <cstdint>

#include "hcall/schema/generated/types.h"
#include "hcall/schema/generated/xen.h"
#include "xencomm/byte_order.h"

namespace xencomm::hypervisor {

class GrantEntry {
 public:
  // `status` is where version 2 has the grant's; null: version 1.
  GrantEntry(std::byte* at, std::byte* status, ByteOrder order)
      : at_(at), status_(status), order_(order) {}

  bool is_version_2() const { return status_ != nullptr; }

  class Head {
   public:
    std::uint16_t flags() const { return Word(0); }
    std::uint16_t grantee() const { return Word(1); }
    int type() const { return flags() & GTF_type_mask; }

   private:
    friend class GrantEntry;
    std::uint16_t Word(unsigned index) const {
      std::uint16_t words[2];
      __builtin_memcpy(words, &raw_, sizeof(raw_));
      return InOrder(words[index], order_);
    }
    std::uint32_t raw_ = 0;  // as it stands there
    ByteOrder order_ = kNativeOrder;
  };

  // It is seen before whatever is read of the entry later; and behind what the granter is shown,
  // which may have changed the entry before it looked at that.
  Head LoadHead() const {
    Head head;
    head.raw_ = __atomic_load_n(reinterpret_cast<const std::uint32_t*>(at_), __ATOMIC_SEQ_CST);
    head.order_ = order_;
    return head;
  }
  // Adds flags to an entry that is still as it was read. False: it is not, and this is how it is
  // now. It is seen before whatever is read of the entry later.
  bool AddFlags(Head& head, std::uint16_t flags) const {
    std::uint16_t words[2];
    __builtin_memcpy(words, &head.raw_, sizeof(words));
    words[0] = static_cast<std::uint16_t>(words[0] | InOrder(flags, order_));
    std::uint32_t wanted;
    __builtin_memcpy(&wanted, words, sizeof(wanted));
    return __atomic_compare_exchange_n(reinterpret_cast<std::uint32_t*>(at_), &head.raw_, wanted,
                                       false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
  }

  // GTF_reading and GTF_writing. Setting them is seen before the head is read again, and what was
  // done with the page before they are cleared.
  void SetInUse(std::uint16_t bits) const {
    __atomic_fetch_or(StatusWord(), InOrder(bits, order_), __ATOMIC_SEQ_CST);
  }
  void ClearInUse(std::uint16_t bits) const {
    __atomic_fetch_and(StatusWord(), static_cast<std::uint16_t>(~InOrder(bits, order_)),
                       __ATOMIC_RELEASE);
  }
  // The word that has them.
  std::uint16_t LoadStatus() const { return Load<std::uint16_t>(StatusWord()); }

  // As the domain knows its frames.
  std::uint64_t LoadFrame() const {
    return is_version_2() ? Load<std::uint64_t>(at_ + offsetof(grant_entry_v2_t, full_page.frame))
                          : Load<std::uint32_t>(at_ + offsetof(grant_entry_v1_t, frame));
  }
  // Of version 2: where the part of a page begins that is granted, and its length in bytes.
  std::uint16_t LoadPageOffset() const {
    return Load<std::uint16_t>(at_ + offsetof(grant_entry_v2_t, sub_page.page_off));
  }
  std::uint16_t LoadLength() const {
    return Load<std::uint16_t>(at_ + offsetof(grant_entry_v2_t, sub_page.length));
  }
  // Of version 2: the grant that is passed on, and whose it is.
  std::uint16_t LoadTransitiveDomain() const {
    return Load<std::uint16_t>(at_ + offsetof(grant_entry_v2_t, transitive.trans_domid));
  }
  std::uint32_t LoadTransitiveRef() const {
    return Load<std::uint32_t>(at_ + offsetof(grant_entry_v2_t, transitive.gref));
  }

  // What a granter does. Grants a whole page, where nothing is in use: whoever sees the head sees
  // what it is that is granted.
  void Store(std::uint16_t flags, std::uint16_t grantee, std::uint64_t frame) const {
    if (is_version_2()) {
      StoreSharedField(at_ + offsetof(grant_entry_v2_t, full_page.frame), frame, order_);
    } else {
      StoreSharedField(at_ + offsetof(grant_entry_v1_t, frame), static_cast<std::uint32_t>(frame),
                       order_);
    }
    const std::uint16_t words[2] = {InOrder(flags, order_), InOrder(grantee, order_)};
    std::uint32_t head;
    __builtin_memcpy(&head, words, sizeof(head));
    __atomic_store_n(reinterpret_cast<std::uint32_t*>(at_), head, __ATOMIC_RELEASE);
  }
  // Of version 1: takes a grant back, if it is not in use. What the grantee wrote is there then.
  bool Revoke() const {
    for (Head head = LoadHead(); (head.flags() & (GTF_reading | GTF_writing)) == 0;) {
      if (__atomic_compare_exchange_n(reinterpret_cast<std::uint32_t*>(at_), &head.raw_, 0u, false,
                                      __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        return true;
      }
    }
    return false;
  }

  // Word by word, the status too.
  static void Swap(const GrantEntry& a, const GrantEntry& b) {
    const std::size_t size = a.is_version_2() ? sizeof(grant_entry_v2_t) : sizeof(grant_entry_v1_t);
    for (std::size_t i = 0; i < size; i += sizeof(std::uint64_t)) {
      SwapWords<std::uint64_t>(a.at_ + i, b.at_ + i);
    }
    if (a.is_version_2()) SwapWords<std::uint16_t>(a.status_, b.status_);
  }

 private:
  template <class T>
  T Load(const void* from) const {
    return LoadSharedField<T>(from, order_);
  }
  template <class T>
  static void SwapWords(std::byte* a, std::byte* b) {
    const T from_a = LoadSharedField<T>(a, kNativeOrder);
    StoreSharedField(a, LoadSharedField<T>(b, kNativeOrder), kNativeOrder);
    StoreSharedField(b, from_a, kNativeOrder);
  }
  // Version 1 has it among the flags.
  std::uint16_t* StatusWord() const {
    return reinterpret_cast<std::uint16_t*>(is_version_2() ? status_ : at_);
  }

  std::byte* at_;
  std::byte* status_;
  ByteOrder order_;
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_GRANT_ENTRY_H_
