//! A parsed head: the first line and the fields, in order and as they were written.

/// The head of a request or a response.
#[derive(Debug, Clone)]
pub struct Head {
    pub first_line: String,
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// Reads what a well-behaved peer sends. Bytes outside UTF-8 are kept readable rather than
    /// exact; whoever needs them exact has the raw bytes.
    pub fn parse(raw: &[u8]) -> Self {
        let text = String::from_utf8_lossy(raw);
        let mut lines = text.split("\r\n");
        let first_line = lines.next().unwrap_or_default().to_owned();
        let fields = lines
            .filter(|line| !line.is_empty())
            .map(|line| match line.split_once(':') {
                Some((name, value)) => (name.to_owned(), value.trim().to_owned()),
                None => (line.to_owned(), String::new()),
            })
            .collect();
        Self { first_line, fields }
    }

    /// The only value of the field; `None` when it is absent. More than one is a failure of the
    /// test.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        let values = self.fields(name);
        assert!(values.len() <= 1, "{name} came {} times: {values:?}", values.len());
        values.first().copied()
    }

    pub fn fields(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    pub fn has(&self, name: &str) -> bool {
        !self.fields(name).is_empty()
    }

    /// How the body that follows is framed by the fields.
    pub fn framing(&self) -> Framing {
        let lengths = self.fields("content-length");
        let encodings = self.fields("transfer-encoding");
        match (lengths.as_slice(), encodings.as_slice()) {
            ([], []) => Framing::None,
            ([length], []) => match length.parse() {
                Ok(length) if length_is_plain(lengths[0]) => Framing::Length(length),
                _ => Framing::Ambiguous,
            },
            ([], [encoding]) if encoding.eq_ignore_ascii_case("chunked") => Framing::Chunked,
            _ => Framing::Ambiguous,
        }
    }
}

fn length_is_plain(length: &str) -> bool {
    length.bytes().all(|byte| byte.is_ascii_digit())
}

/// How a message says where its body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
    /// Two readers could disagree.
    Ambiguous,
}
