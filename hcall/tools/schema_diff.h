// What changed in the op table from one release of Xen to another.
#ifndef HCALL_TOOLS_SCHEMA_DIFF_H_
#define HCALL_TOOLS_SCHEMA_DIFF_H_

#include <string>

#include "hcall/schema/op.h"
#include "hcall/tools/print.h"

namespace xencomm::tools {

// Each of the two is a set of one release.
Json DiffReleases(schema::Releases from, schema::Releases to);
// The same for people.
std::string DiffText(const Json& diff);

}  // namespace xencomm::tools

#endif  // HCALL_TOOLS_SCHEMA_DIFF_H_
