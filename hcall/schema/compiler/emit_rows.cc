// rows.h: a namespace for each op, with a typed row for each of its buffers.

#include <algorithm>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "hcall/schema/compiler/emit.h"
#include "hcall/schema/compiler/literals.h"
#include "hcall/schema/generated/layout.h"

namespace xencomm::schema::compiler {
namespace {

bool HasCppType(const Type& type) {
  const auto all = std::span(layout::kTypes);
  return std::find(all.begin(), all.end(), &type) != all.end();
}

// An op or a path as a name in C++.
std::string Identifier(std::string path) {
  std::replace(path.begin(), path.end(), '.', '_');
  return path == "register" ? path + "_" : path;
}

const char* Suffix(Direction direction) {
  return direction == Direction::kIn ? "_in" : direction == Direction::kOut ? "_out" : "_in_out";
}

// A buffer of an op, whatever the cases that it is there in.
void WriteRows(const std::vector<ResolvedPart>& parts, const std::string& argument,
               const std::string& own, std::uint32_t own_offset, std::ostringstream& out) {
  std::vector<std::string> done;
  for (const ResolvedPart& part : parts) {
    if (part.element == nullptr || part.direction == Direction::kIgnored) continue;
    const bool has_others = std::any_of(parts.begin(), parts.end(), [&](const ResolvedPart& other) {
      return other.path == part.path && other.direction != part.direction &&
             other.direction != Direction::kIgnored;
    });
    const std::string name = Identifier(part.path) + (has_others ? Suffix(part.direction) : "");
    if (std::find(done.begin(), done.end(), name) != done.end()) continue;
    done.push_back(name);
    out << "inline constexpr BufferRow<" << argument << ", " << own
        << ", CppType<layout::" << part.element->id << ">, " << Name(part.direction) << "> " << name
        << " = {\n    " << Quoted(part.path.c_str()) << ", " << part.offset << ", " << own_offset
        << ", " << (part.row->is_trailing ? "true" : "false") << ", " << Text(part.room) << ", "
        << Text(part.filled) << "};\n";
  }
}

}  // namespace

std::string EmitRows(const ResolvedTable& table) {
  std::ostringstream out;
  out << kNotice
      << "\n#ifndef HCALL_SCHEMA_GENERATED_ROWS_H_\n#define HCALL_SCHEMA_GENERATED_ROWS_H_\n\n"
      << "#include \"hcall/schema/bind.h\"\n#include \"hcall/schema/generated/xen_types.h\"\n\n"
      << "namespace xencomm::schema::rows {\n";
  for (const ResolvedHypercall& hypercall : table.hypercalls) {
    out << "\n// " << hypercall.spec->about << "\nnamespace " << hypercall.spec->name << " {\n";
    for (const ResolvedOp& op : hypercall.ops) {
      if ((op.headers & Edition{}.bit()) == 0) continue;  // C++ does not know its types
      std::ostringstream rows;
      WriteRows(op.register_parts, "Registers", "Registers", 0, rows);
      if (op.argument != nullptr) {
        const std::string argument = std::string("CppType<layout::") + op.argument->id + ">";
        const std::string own =
            HasCppType(*op.own) ? std::string("CppType<layout::") + op.own->id + ">" : argument;
        WriteRows(op.argument_parts, argument, own, HasCppType(*op.own) ? op.own_offset : 0, rows);
      }
      if (rows.str().empty()) continue;
      const std::string name = Identifier(op.spec->name);
      out << "\n// " << op.spec->about << "\nnamespace " << name << " {\n"
          << rows.str() << "}  // namespace " << name << "\n";
    }
    out << "\n}  // namespace " << hypercall.spec->name << "\n";
  }
  out << "\n}  // namespace xencomm::schema::rows\n\n#endif  // HCALL_SCHEMA_GENERATED_ROWS_H_\n";
  return out.str();
}

}  // namespace xencomm::schema::compiler
