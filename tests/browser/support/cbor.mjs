// CBOR as a server reads it, as small as a test needs it; apart from the module's own, so that they do not share
// mistakes.

/** The only item in `bytes`: a map becomes an object, a number a BigInt. */
export function parse(bytes) {
  const buffer = Buffer.from(bytes);
  const [item, end] = parseAt(buffer, 0);
  if (end !== buffer.length) throw new Error(`${buffer.length - end} bytes follow the item`);
  return item;
}

function parseAt(buffer, start) {
  const [major, info] = [buffer[start] >> 5, buffer[start] & 0x1f];
  const width = info < 24 ? 0 : 2 ** (info - 24);
  if (width > 8) throw new Error(`no definite length at ${start}`);
  const digits = buffer.subarray(start + 1, start + 1 + width).toString("hex");
  const count = width === 0 ? BigInt(info) : BigInt(`0x${digits}`);
  let at = start + 1 + width;
  if (major === 0) return [count, at];
  if (major === 2 || major === 3) {
    const end = at + Number(count);
    if (end > buffer.length) throw new Error(`the string at ${start} ends too early`);
    const bytes = buffer.subarray(at, end);
    return [major === 2 ? bytes : bytes.toString(), end];
  }
  if (major !== 5) throw new Error(`an item of type ${major} at ${start}`);
  const map = {};
  for (let pair = 0n; pair < count; pair += 1n) {
    const [key, behind] = parseAt(buffer, at);
    [map[key], at] = parseAt(buffer, behind);
  }
  return [map, at];
}
