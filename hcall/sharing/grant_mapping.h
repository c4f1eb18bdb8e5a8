// What a GrantMapping is made of.
#ifndef HCALL_SHARING_GRANT_MAPPING_H_
#define HCALL_SHARING_GRANT_MAPPING_H_

#include <memory>

#include "hcall/sharing/granted_range.h"
#include "xencomm/grant_mapping.h"

namespace xencomm {

struct GrantMapping::State {
  std::unique_ptr<GrantedRange> range;
};

}  // namespace xencomm

#endif  // HCALL_SHARING_GRANT_MAPPING_H_
