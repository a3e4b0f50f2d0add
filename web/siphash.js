// SipHash-2-4 with the all-zero key that Mles uses, over BigInts: a name and a key are short, so
// speed does not matter here.

const MASK = 0xffff_ffff_ffff_ffffn;

const add = (a, b) => (a + b) & MASK;
const rotate = (word, bits) => ((word << bits) | (word >> (64n - bits))) & MASK;

/** One round over the four words of the state. */
function round(v) {
  v[0] = add(v[0], v[1]);
  v[1] = rotate(v[1], 13n) ^ v[0];
  v[0] = rotate(v[0], 32n);
  v[2] = add(v[2], v[3]);
  v[3] = rotate(v[3], 16n) ^ v[2];
  v[0] = add(v[0], v[3]);
  v[3] = rotate(v[3], 21n) ^ v[0];
  v[2] = add(v[2], v[1]);
  v[1] = rotate(v[1], 17n) ^ v[2];
  v[2] = rotate(v[2], 32n);
}

function rounds(v, count) {
  for (let done = 0; done < count; done += 1) {
    round(v);
  }
}

/** The hash of `bytes` (a Uint8Array), a BigInt of 64 bits. */
export function siphash(bytes) {
  const v = [
    0x736f_6d65_7073_6575n,
    0x646f_7261_6e64_6f6dn,
    0x6c79_6765_6e65_7261n,
    0x7465_6462_7974_6573n,
  ];
  // Whole words of eight bytes, the last one filled with zeros and the length modulo 256.
  const padded = new Uint8Array((Math.floor(bytes.length / 8) + 1) * 8);
  padded.set(bytes);
  padded[padded.length - 1] = bytes.length & 0xff;
  const words = new DataView(padded.buffer);
  for (let at = 0; at < padded.length; at += 8) {
    const word = words.getBigUint64(at, true);
    v[3] ^= word;
    rounds(v, 2);
    v[0] ^= word;
  }
  v[2] ^= 0xffn;
  rounds(v, 4);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/** A hash as 16 lower-case hex digits. */
export function hex(hash) {
  return hash.toString(16).padStart(16, "0");
}

/**
 * What a server with a shared key wants to see of someone who joins `channel` as `uid`: the session
 * key of Mles v1, the hash of the three, each with a byte 0xff behind it.
 */
export function joinKey(uid, channel, sharedKey) {
  const bytes = [];
  for (const part of [sharedKey, uid, channel]) {
    bytes.push(...new TextEncoder().encode(part), 0xff);
  }
  return hex(siphash(Uint8Array.from(bytes)));
}
