// A Sparkplug edge node of the sparkplug-client package: URL USER PASSWORD GROUP NODE DEVICE.
// It is born when it connects and whenever it is asked to be; on standard input it takes "node VALUE", "device VALUE",
// "alias VALUE" (by alias alone), "skip" (a number of the sequence is left out), "lost" (DDEATH), and "die".
import { createInterface } from "node:readline";
import client from "sparkplug-client";

const [serverUrl, username, password, groupId, edgeNode, device] = process.argv.slice(2);
const edge = client.newClient({ serverUrl, username, password, groupId, edgeNode, clientId: edgeNode, publishDeath: true });
const say = (what) => console.log(JSON.stringify(what));
const now = () => Date.now();
const oven = (value) => ({ name: "Oven/Temperature", alias: 11, type: "Double", value, timestamp: now() });
const count = (value) => ({ name: "Count", type: "Int32", value, timestamp: now() });
const birth = () => {
  edge.publishNodeBirth({ timestamp: now(), metrics: [
    { name: "Node Control/Rebirth", type: "Boolean", value: false, timestamp: now() }, count(-5)] });
  edge.publishDeviceBirth(device, { timestamp: now(), metrics: [oven(20.5), { name: "Running", type: "Boolean", value: true, timestamp: now() }] });
  say({ born: true });
};
edge.on("birth", birth);
edge.on("ncmd", (payload) => {
  if (payload.metrics.some((metric) => metric.name === "Node Control/Rebirth" && metric.value === true)) {
    say({ asked: "rebirth" });
    birth();
  }
});
edge.on("error", (error) => say({ error: String(error) }));
createInterface({ input: process.stdin }).on("line", (line) => {
  const [word, text] = line.split(" ");
  const value = Number(text);
  if (word === "node") edge.publishNodeData({ timestamp: now(), metrics: [count(value)] });
  if (word === "device") edge.publishDeviceData(device, { timestamp: now(), metrics: [oven(value)] });
  if (word === "alias") {
    const { name, ...unnamed } = oven(value);
    edge.publishDeviceData(device, { timestamp: now(), metrics: [unnamed] });
  }
  if (word === "skip") edge.seq += 1;
  if (word === "lost") edge.publishDeviceDeath(device, { timestamp: now() });
  if (word === "die") process.kill(process.pid, "SIGKILL");
  say({ done: line });
});
