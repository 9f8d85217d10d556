// Signs and checks with npm jose. Standard input: {privatePem, publicPem, topic, event, signed}. Prints as JSON
// {kid, made, header, text}: the thumbprint, the event as jose signs it, and what it found in `signed`, or {error}.
import { readFileSync } from "node:fs";
import { CompactSign, calculateJwkThumbprint, compactVerify, exportJWK, importPKCS8, importSPKI } from "jose";

const { privatePem, publicPem, topic, event, signed } = JSON.parse(readFileSync(0, "utf8"));
const publicKey = await importSPKI(publicPem, "EdDSA", { extractable: true });
const kid = await calculateJwkThumbprint(await exportJWK(publicKey));

async function sign() {
  const compact = await new CompactSign(Buffer.from(JSON.stringify(event)))
    .setProtectedHeader({ alg: "EdDSA", kid, topic })
    .sign(await importPKCS8(privatePem, "EdDSA"));
  const [header, , signature] = compact.split(".");
  return JSON.stringify({ ...event, signature: `${header}..${signature}` });
}

async function check() {
  const text = `${signed.slice(0, signed.lastIndexOf(',"signature"'))}}`;
  const [header, , signature] = JSON.parse(signed).signature.split(".");
  try {
    const compact = `${header}.${Buffer.from(text).toString("base64url")}.${signature}`;
    const { protectedHeader } = await compactVerify(compact, publicKey);
    return { header: protectedHeader, text };
  } catch (error) {
    return { error: String(error) };
  }
}

console.log(JSON.stringify({ kid, made: event ? await sign() : null, ...(signed ? await check() : {}) }));
