// Files as one ZIP archive, stored as they are: pictures are compressed already (APPNOTE 6.3, 4.3).

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

async function checksum(blob) {
  let value = 0xffffffff;
  for (const byte of new Uint8Array(await blob.arrayBuffer())) {
    value = TABLE[(value ^ byte) & 0xff] ^ (value >>> 8);
  }
  return ~value >>> 0;
}

/** Numbers as little-endian bytes; each comes with how many. */
function packed(...fields) {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [, size]) => sum + size, 0)));
  let at = 0;
  for (const [value, size] of fields) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += size;
  }
  return view.buffer;
}

/** The first that is free of NAME.png, NAME-2.png, NAME-3.png... */
function free(name, taken) {
  const dot = name.lastIndexOf(".");
  let found = name;
  for (let n = 2; taken.has(found); n += 1) found = `${name.slice(0, dot)}-${n}${name.slice(dot)}`;
  taken.add(found);
  return found;
}

/**
 * @param {{name: string, blob: Blob}[]} files
 * @returns {Promise<Blob>}
 */
export async function zip(files) {
  const taken = new Set();
  const [local, central] = [[], []];
  let offset = 0;
  for (const { name, blob } of files) {
    const path = new TextEncoder().encode(free(name, taken));
    const sum = await checksum(blob);
    // Version 2.0, names in UTF-8, stored, of 1 January 1980.
    const common = [[20, 2], [0x800, 2], [0, 2], [0, 2], [0x21, 2], [sum, 4], [blob.size, 4],
      [blob.size, 4], [path.length, 2], [0, 2]];
    local.push(packed([0x04034b50, 4], ...common), path, blob);
    central.push(packed([0x02014b50, 4], [20, 2], ...common, [0, 2], [0, 2], [0, 2], [0, 4],
      [offset, 4]), path);
    offset += 30 + path.length + blob.size;
  }
  const size = new Blob(central).size;
  if (offset + size > 0xffffffff) throw new Error("together they are too large for a ZIP file");
  const end = packed([0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2],
    [size, 4], [offset, 4], [0, 2]);
  return new Blob([...local, ...central, end], { type: "application/zip" });
}
