// Reads an AsyncAPI document with the official parser. Prints its complaints and what it understood, as JSON.
import { Parser, fromFile } from "@asyncapi/parser";

const { document, diagnostics } = await fromFile(new Parser(), process.argv[2]).parse();
const channels = (document?.channels().all() ?? []).map((channel) => ({
  id: channel.id(),
  address: channel.address(),
  parameters: channel.parameters().all().map((parameter) => parameter.id()),
}));
const operations = (document?.operations().all() ?? []).map((operation) => ({
  id: operation.id(),
  action: operation.action(),
  qos: operation.bindings().get("mqtt")?.value()?.qos,
  payloads: operation.messages().all().map((message) => message.hasPayload()),
  reply: operation.reply()?.channel()?.id() ?? null,
}));
console.log(JSON.stringify({
  complaints: diagnostics.map(({ severity, code, message, path }) => ({ severity, code, message, path: path?.join("/") })),
  version: document?.version() ?? null,
  channels,
  operations,
}));
