// A grant: one entry of a domain's grant table, by which it lends a page to another domain.
#ifndef XENCOMM_GRANT_H_
#define XENCOMM_GRANT_H_

#include <cstdint>

#include "xencomm/language.h"

namespace xencomm {

struct Grant {
  std::uint16_t domain = 0;  // who lends it, or to whom it is lent
  std::uint32_t ref = 0;

  friend bool operator==(const Grant&, const Grant&) = default;
};

}  // namespace xencomm

#endif  // XENCOMM_GRANT_H_
