// Reads events with the CloudEvents SDK, as an MQTT consumer does: {"case": "text of the body"} on standard input.
// Prints {"case": {id, source, type, sequence, time, data} | {error}}, as JSON.
import { readFileSync } from "node:fs";
import { MQTT } from "cloudevents";

const found = Object.entries(JSON.parse(readFileSync(0, "utf8"))).map(([name, body]) => {
  try {
    const message = { headers: {}, body, PUBLISH: { "Content Type": "application/cloudevents+json; charset=utf-8" } };
    if (!MQTT.isEvent(message)) return [name, { error: "not an event" }];
    const event = MQTT.toEvent(message);
    event.validate();
    const { id, source, type, sequence, time, dataschema, subject, data } = event;
    return [name, { id, source, type, sequence, time, dataschema, subject, data }];
  } catch (error) {
    return [name, { error: String(error) }];
  }
});
console.log(JSON.stringify(Object.fromEntries(found)));
