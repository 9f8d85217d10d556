// A Sparkplug host application of MQTT.js and sparkplug-payload: URL USER PASSWORD GROUP HOST_ID.
// Prints a JSON line for each message it hears, with aliases resolved by the births; takes the words "rebirth NODE" and
// "quit" on standard input. Its will says that it is offline.
import { createInterface } from "node:readline";
import mqtt from "mqtt";
import sparkplug from "sparkplug-payload";

const [url, username, password, group, host] = process.argv.slice(2);
const codec = sparkplug.get("spBv1.0");
const topic = `spBv1.0/STATE/${host}`;
const state = (online) => JSON.stringify({ online, timestamp: started });
const started = Date.now();
const names = new Map();
const number = (value) => (value && typeof value === "object" && "low" in value ? Number(value.toString()) : value);

const client = mqtt.connect(url, {
  username, password, clientId: host, protocolVersion: 5, clean: true, reconnectPeriod: 200,
  will: { topic, payload: Buffer.from(state(false)), qos: 1, retain: true },
});
client.on("connect", () => {
  client.subscribe([topic, `spBv1.0/${group}/#`], { qos: 1 }, () => {
    client.publish(topic, state(true), { qos: 1, retain: true }, () => console.log(JSON.stringify({ ready: true })));
  });
});
client.on("message", (at, body, packet) => {
  if (at.startsWith("spBv1.0/STATE/")) return;
  const [, , verb, node, device = ""] = at.split("/");
  const payload = codec.decodePayload(body);
  const metrics = (payload.metrics ?? []).map((metric) => {
    const key = `${node}/${number(metric.alias)}`;
    if (verb.endsWith("BIRTH") && metric.alias !== undefined && metric.alias !== null) names.set(key, metric);
    const known = names.get(key);
    return {
      name: metric.name || known?.name, type: metric.type ?? known?.type, value: number(metric.value),
      isNull: metric.isNull ?? false, isHistorical: metric.isHistorical ?? false, timestamp: number(metric.timestamp),
    };
  });
  console.log(JSON.stringify({ verb, node, device, qos: packet.qos, seq: number(payload.seq), metrics }));
});
createInterface({ input: process.stdin }).on("line", (line) => {
  const [word, node] = line.split(" ");
  if (word === "rebirth") {
    const metrics = [{ name: "Node Control/Rebirth", type: "Boolean", value: true }];
    client.publish(`spBv1.0/${group}/NCMD/${node}`, Buffer.from(codec.encodePayload({ timestamp: Date.now(), metrics })));
  }
  if (word === "quit") client.publish(topic, state(false), { qos: 1, retain: true }, () => client.end(false, () => process.exit(0)));
});
