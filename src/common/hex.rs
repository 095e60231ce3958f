//! Bytes in hexadecimal digits, in lower case.

use std::fmt;

/// Shows bytes as two digits each.
pub(crate) struct Hex<'b>(pub(crate) &'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Writes two digits for each byte, as far as there is room.
pub(crate) fn write_hex(to: &mut [u8], bytes: &[u8]) {
    for (pair, byte) in to.as_chunks_mut().0.iter_mut().zip(bytes) {
        *pair = DIGITS[usize::from(*byte)];
    }
}

/// Of every byte.
const DIGITS: [[u8; 2]; 256] = {
    const EACH: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [[0; 2]; 256];
    let mut byte = 0;
    while byte < digits.len() {
        digits[byte] = [EACH[byte >> 4], EACH[byte & 0xf]];
        byte += 1;
    }
    digits
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_two_digits() {
        let bytes = [0, 9, 0x0a, 0xa0, 0xff];
        let mut text = [b'.'; 11];
        write_hex(&mut text, &bytes);
        assert_eq!(&text, b"00090aa0ff.");
        assert_eq!(Hex(&bytes).to_string(), "00090aa0ff");
    }
}
