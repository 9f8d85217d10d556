// Signs a command for a box: `node sign_command.mjs KEY.pem TOPIC < event.json > signed.json`. Needs no package.
// The key is Ed25519 in PEM (`edge-agent keys new`, or `openssl genpkey -algorithm ed25519`). The topic is the absolute
// one on which the result will be published: the signature holds for no other.
import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import { readFileSync } from "node:fs";

const base64url = (data) => Buffer.from(data).toString("base64url");

// The event with a detached JWS (EdDSA) as its last member; signed is the text without that member.
export function signed(event, topic, privatePem) {
  const key = createPrivateKey(privatePem);
  const { crv, kty, x } = createPublicKey(key).export({ format: "jwk" });
  const kid = createHash("sha256").update(JSON.stringify({ crv, kty, x })).digest("base64url"); // RFC 7638
  const header = base64url(JSON.stringify({ alg: "EdDSA", kid, topic }));
  const signature = sign(null, Buffer.from(`${header}.${base64url(JSON.stringify(event))}`), key);
  return JSON.stringify({ ...event, signature: `${header}..${base64url(signature)}` });
}

const [, , keyFile, topic] = process.argv;
console.log(signed(JSON.parse(readFileSync(0, "utf8")), topic, readFileSync(keyFile)));
