// Reads and writes Sparkplug B payloads with the sparkplug-payload package. On standard input
// {"decode": {"case": base64}, "encode": {"case": payload}}; prints {"decoded": {"case": payload}, "encoded": {"case": base64}}.
import { readFileSync } from "node:fs";
import sparkplug from "sparkplug-payload";

const codec = sparkplug.get("spBv1.0");
const plain = (_, value) => {
  if (typeof value === "bigint") return Number(value);
  if (value && typeof value === "object" && "low" in value && "high" in value) return Number(value.toString());
  return value;
};
const { decode = {}, encode = {} } = JSON.parse(readFileSync(0, "utf8"));
const decoded = Object.entries(decode).map(([name, text]) => [name, codec.decodePayload(Buffer.from(text, "base64"))]);
const encoded = Object.entries(encode).map(([name, value]) => [name, Buffer.from(codec.encodePayload(value)).toString("base64")]);
console.log(JSON.stringify({ decoded: Object.fromEntries(decoded), encoded: Object.fromEntries(encoded) }, plain));
