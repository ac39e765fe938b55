// A push service of browsers, as RFC 8030 has it, for the test of the web push plugin: takes a push only if its sender is who the subscription
// is for (VAPID, RFC 8292) and it can be read by the browser alone (RFC 8291), and says what it read. Written from the RFCs, and not with the
// library that the plugin sends with.
//
//   node push-service.mjs CERTIFICATE KEY
//
// It prints the VAPID keys, and a subscription for each of `live`, `gone` (410) and `missing` (404); then a line of JSON for each push.
import { createDecipheriv, createECDH, createPublicKey, hkdfSync, randomBytes, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";

const [certificate, key] = process.argv.slice(2);
const curve = () => {
  const ecdh = createECDH("prime256v1");
  ecdh.generateKeys();
  return ecdh;
};
const base64 = (octets) => Buffer.from(octets).toString("base64url");
const sender = curve();
const browser = curve();
const auth = randomBytes(16);
const say = (what) => console.log(JSON.stringify(what));
const demand = (holds, what) => {
  if (!holds) throw new Error(what);
};

/** RFC 8292: a JWT, signed with the key that the subscription names, for this very service, and not for long. */
function vapid(header) {
  const [, jwt, named] = /^vapid t=([^,]+), ?k=([^,]+)$/.exec(header ?? "") ?? [];
  demand(jwt, `authorization: ${header}`);
  demand(named === base64(sender.getPublicKey()), "the key of another sender");
  const [head, claims, signature] = jwt.split(".");
  const point = sender.getPublicKey();
  const jwk = { kty: "EC", crv: "P-256", x: base64(point.subarray(1, 33)), y: base64(point.subarray(33)) };
  const publicKey = { key: createPublicKey({ key: jwk, format: "jwk" }), dsaEncoding: "ieee-p1363" };
  demand(verify("sha256", `${head}.${claims}`, publicKey, Buffer.from(signature, "base64url")), "the signature");
  demand(JSON.parse(Buffer.from(head, "base64url")).alg === "ES256", "the algorithm");
  const { aud, exp, sub } = JSON.parse(Buffer.from(claims, "base64url"));
  demand(aud === origin, `aud ${aud}`);
  const left = exp - Date.now() / 1000;
  demand(left > 0 && left <= 24 * 3600, `exp in ${left} s`);
  return sub;
}

/** RFC 8291, 3.4, and RFC 8188: one record. */
function decrypted(body) {
  const [salt, size, length] = [body.subarray(0, 16), body.readUInt32BE(16), body[20]];
  const theirs = body.subarray(21, 21 + length);
  const record = body.subarray(21 + length);
  demand(record.length <= size, "one record");
  demand(body.length <= 4096, "no more than every service takes");
  const info = Buffer.concat([Buffer.from("WebPush: info\0"), browser.getPublicKey(), theirs]);
  const ikm = hkdfSync("sha256", browser.computeSecret(theirs), auth, info, 32);
  const cek = Buffer.from(hkdfSync("sha256", ikm, salt, "Content-Encoding: aes128gcm\0", 16));
  const nonce = Buffer.from(hkdfSync("sha256", ikm, salt, "Content-Encoding: nonce\0", 12));
  const decipher = createDecipheriv("aes-128-gcm", cek, nonce);
  decipher.setAuthTag(record.subarray(-16));
  const plain = Buffer.concat([decipher.update(record.subarray(0, -16)), decipher.final()]);
  const end = plain.lastIndexOf(2);
  demand(end >= 0 && plain.subarray(end + 1).every((octet) => octet === 0), "the last record's delimiter and padding");
  return plain.subarray(0, end).toString();
}

const server = createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  try {
    const { authorization, ttl, urgency } = request.headers;
    demand(request.method === "POST" && request.headers["content-encoding"] === "aes128gcm", "the encoding");
    const sub = vapid(authorization);
    const pushed = JSON.parse(decrypted(Buffer.concat(parts)));
    say({ path: request.url, sub, ttl, urgency, pushed });
    response.writeHead({ "/gone": 410, "/missing": 404 }[request.url] ?? 201).end();
  } catch (error) {
    say({ path: request.url, wrong: error.message });
    response.writeHead(400).end();
  }
});
await new Promise((listens) => server.listen(0, "127.0.0.1", listens));
const origin = `https://localhost:${server.address().port}`;
const subscription = (name) => ({
  endpoint: `${origin}/${name}`,
  keys: { p256dh: base64(browser.getPublicKey()), auth: base64(auth) },
});
say({
  publicKey: base64(sender.getPublicKey()),
  privateKey: base64(sender.getPrivateKey()),
  live: subscription("live"),
  gone: subscription("gone"),
  missing: subscription("missing"),
});
