//! Header blocks as they are read (RFC 7541): indexes, both tables, and Huffman coding, so that a
//! test sees every field that was sent, byte for byte.

use std::collections::VecDeque;

/// A field's name and value.
pub type Field = (Vec<u8>, Vec<u8>);

/// The reading side of one connection.
#[derive(Debug)]
pub struct Decoder {
    dynamic: VecDeque<Field>,
    size: usize,
    max_size: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { dynamic: VecDeque::new(), size: 0, max_size: 4096 }
    }
}

impl Decoder {
    /// All fields of a block; `None`: it is none.
    pub fn decode(&mut self, block: &[u8]) -> Option<Vec<Field>> {
        let mut rest = block;
        let mut fields = Vec::new();
        while let &[first, ..] = rest {
            if first & 0x80 != 0 {
                let index = integer(&mut rest, 7)?;
                fields.push(self.entry(index)?);
                continue;
            }
            if first & 0xe0 == 0x20 {
                self.max_size = integer(&mut rest, 5)?;
                self.evict(0);
                continue;
            }
            let indexed = first & 0x40 != 0;
            let name = match integer(&mut rest, if indexed { 6 } else { 4 })? {
                0 => string(&mut rest)?,
                index => self.entry(index)?.0,
            };
            let field = (name, string(&mut rest)?);
            if indexed {
                self.insert(field.clone());
            }
            fields.push(field);
        }
        Some(fields)
    }

    fn entry(&self, index: usize) -> Option<Field> {
        let index = index.checked_sub(1)?;
        match STATIC.get(index) {
            Some((name, value)) => Some((name.as_bytes().into(), value.as_bytes().into())),
            None => self.dynamic.get(index - STATIC.len()).cloned(),
        }
    }

    fn insert(&mut self, field: Field) {
        let size = entry_size(&field);
        self.evict(size);
        if size <= self.max_size {
            self.size += size;
            self.dynamic.push_front(field);
        }
    }

    fn evict(&mut self, room: usize) {
        while self.size + room > self.max_size {
            let Some(field) = self.dynamic.pop_back() else { return };
            self.size -= entry_size(&field);
        }
    }
}

fn entry_size((name, value): &Field) -> usize {
    name.len() + value.len() + 32
}

fn integer(rest: &mut &[u8], bits: u32) -> Option<usize> {
    let mut next = || {
        let (first, after) = rest.split_first()?;
        *rest = after;
        Some(usize::from(*first))
    };
    let most = (1 << bits) - 1;
    let mut value = next()? & most;
    if value == most {
        for shift in (0..28).step_by(7) {
            let byte = next()?;
            value += (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        return None;
    }
    Some(value)
}

fn string(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let huffman = rest.first()? & 0x80 != 0;
    let length = integer(rest, 7)?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    if huffman { Some(unhuffman(text)) } else { Some(text.to_vec()) }
}

/// The code is canonical: codes of one length follow each other in the order of their symbols, and
/// the lengths alone say them all.
fn unhuffman(text: &[u8]) -> Vec<u8> {
    let mut symbols: Vec<u8> = (0..=255).collect();
    symbols.sort_by_key(|symbol| LENGTHS[usize::from(*symbol)]);
    let mut decoded = Vec::new();
    let (mut code, mut length, mut first, mut at) = (0u32, 0u8, 0u32, 0usize);
    for bit in text.iter().flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1)) {
        code = code << 1 | u32::from(bit);
        length += 1;
        let same = |symbol: &&u8| LENGTHS[usize::from(**symbol)] == length;
        let count = symbols[at..].iter().take_while(same).count();
        let offset = code.wrapping_sub(first << 1) as usize;
        if offset < count {
            decoded.push(symbols[at + offset]);
            (code, length, first, at) = (0, 0, 0, 0);
        } else {
            first = (first << 1) + u32::try_from(count).expect("at most 256 symbols");
            at += count;
        }
    }
    decoded
}

/// The lengths of the symbols' codes (RFC 7541 appendix B).
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// RFC 7541 appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// RFC 7541 appendix C.6: three responses on one connection, in Huffman code, with a table of 256.
#[test]
fn the_examples_of_the_rfc_are_read() {
    let mut decoder = Decoder { max_size: 256, ..Decoder::default() };
    let blocks: [&[u8]; 2] = [
        &[
            0x48, 0x82, 0x64, 0x02, 0x58, 0x85, 0xae, 0xc3, 0x77, 0x1a, 0x4b, 0x61, 0x96, 0xd0,
            0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81,
            0x66, 0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff, 0x6e, 0x91, 0x9d, 0x29, 0xad, 0x17, 0x18,
            0x63, 0xc7, 0x8f, 0x0b, 0x97, 0xc8, 0xe9, 0xae, 0x82, 0xae, 0x43, 0xd3,
        ],
        &[0x48, 0x83, 0x64, 0x0e, 0xff, 0xc1, 0xc0, 0xbf],
    ];
    for (block, status) in blocks.into_iter().zip(["302", "307"]) {
        let fields: Vec<String> = decoder
            .decode(block)
            .unwrap()
            .iter()
            .map(|(name, value)| [&name[..], b"=", value].concat())
            .map(|field| String::from_utf8(field).unwrap())
            .collect();
        let rest = [
            "cache-control=private",
            "date=Mon, 21 Oct 2013 20:13:21 GMT",
            "location=https://www.example.com",
        ];
        assert_eq!(fields[0], format!(":status={status}"));
        assert_eq!(fields[1..], rest);
    }
}
