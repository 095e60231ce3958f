//! What a log line must not contain as it is, and the text of a record without it.

use std::fmt;
use std::io::Write as _;

use env_logger::fmt::Formatter;

/// Text with everything escaped that could pass for another line or move the cursor: names and
/// messages come from files, the cloud and clients.
pub(super) struct EscapedText<'a> {
    pub(super) out: &'a mut Formatter,
    /// Whether a further line is indented rather than escaped: no record begins with a space.
    pub(super) indents: bool,
}

impl fmt::Write for EscapedText<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_harmful) {
            let (before, after) = rest.split_at(at);
            let mut chars = after.chars();
            let written = match chars.next() {
                Some('\n') if self.indents => write!(self.out, "{before}\n    "),
                Some(harmful) => write!(self.out, "{before}{}", harmful.escape_default()),
                None => Ok(()),
            };
            written.map_err(|_| fmt::Error)?;
            rest = chars.as_str();
        }
        self.out.write_all(rest.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// Control characters, every white space but the space itself, and marks that change the direction
/// of text.
pub(super) fn is_harmful(c: char) -> bool {
    c.is_control()
        || c != ' ' && c.is_whitespace()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
