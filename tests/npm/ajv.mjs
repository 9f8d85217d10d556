// Compiles every schema of a folder in strict mode (2020-12) and validates what comes on standard input:
// {"case": {"schema": name, "value": ...}}. Prints {"case": null | first error}, as JSON.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import Ajv2020 from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const ajv = new Ajv2020({ strict: true, allErrors: true });
addFormats(ajv);
const folder = process.argv[2];
const compiled = {};
for (const file of readdirSync(folder).filter((name) => name.endsWith(".json"))) {
  compiled[file.replace(/\.json$/, "")] = ajv.compile(JSON.parse(readFileSync(join(folder, file), "utf8")));
}
const cases = JSON.parse(readFileSync(0, "utf8"));
const found = Object.entries(cases).map(([name, { schema, value }]) => {
  const validate = compiled[schema];
  return [name, validate(value) ? null : ajv.errorsText(validate.errors)];
});
console.log(JSON.stringify({ schemas: Object.keys(compiled).sort(), found: Object.fromEntries(found) }));
