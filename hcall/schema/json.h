// The op table as JSON, for other languages. Its form is described by op_table.schema.json.
#ifndef HCALL_SCHEMA_JSON_H_
#define HCALL_SCHEMA_JSON_H_

#include <string>

namespace xencomm::schema {

// The whole table: hypercalls with their ops, types, constants.
std::string ExportJson();

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_JSON_H_
