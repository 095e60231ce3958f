//! A response as the client received it.

use serde_json::Value;

use super::message::Head;

#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub head: Head,
    pub body: Vec<u8>,
    /// The lines of the trailer section, each with its line end.
    pub trailers: String,
    /// Whether the body came to the end that its frame promised.
    pub complete: bool,
    /// The statuses of the interim responses before it.
    pub interim: Vec<u16>,
}

impl Response {
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    pub fn fields(&self, name: &str) -> Vec<&str> {
        self.head.fields(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {:?}", self.text()))
    }

    /// All of it except what has to differ from one response to the next.
    pub fn without_date_and_id(&self) -> String {
        let own = ["date", "x-request-id"];
        let fields = self
            .head
            .fields
            .iter()
            .filter(|(name, _)| !own.contains(&name.to_ascii_lowercase().as_str()));
        let fields: Vec<String> = fields.map(|(name, value)| format!("{name}: {value}")).collect();
        format!("{}\n{}\n\n{}", self.head.first_line, fields.join("\n"), self.text())
    }
}
