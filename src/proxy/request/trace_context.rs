//! The trace that a request belongs to (W3C Trace Context): read from the client, and passed on
//! with a span of the edge's own, whether spans are exported or not.
//!
//! <https://www.w3.org/TR/trace-context-1/>

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::common::write_hex;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// `00-`, trace, span and flags, with the dashes between them.
const LENGTH: usize = 55;
/// The only flag of version 00.
const SAMPLED: u8 = 1;
/// Most members of `tracestate`.
const MAX_MEMBERS: usize = 32;

/// The trace, and the edge's span in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TraceContext {
    pub(crate) trace: u128,
    pub(crate) span: u64,
    /// The client's span; `None`: the trace begins here.
    pub(crate) parent: Option<u64>,
    /// Whether its spans are recorded.
    pub(crate) sampled: bool,
    /// Whether the client's `tracestate` may go on.
    keeps_state: bool,
}

impl TraceContext {
    /// That of a request. Where it names none that can be read, a trace begins.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut given = headers.get_all(TRACEPARENT).iter();
        let parsed = match (given.next(), given.next()) {
            (Some(only), None) => parse(only.as_bytes()),
            _ => None,
        };
        let (trace, parent, sampled) = match parsed {
            Some((trace, parent, flags)) => (trace, Some(parent), flags & SAMPLED != 0),
            None => (non_zero(|| fastrand::u128(..)), None, false),
        };
        Self {
            trace,
            span: non_zero(|| fastrand::u64(..)),
            parent,
            sampled,
            keeps_state: parent.is_some() && state_is_valid(headers),
        }
    }

    /// Names the trace and the edge's span to an upstream.
    pub(crate) fn set(&self, headers: &mut HeaderMap) {
        if !self.keeps_state {
            headers.remove(TRACESTATE);
        }
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut text[3..35], &self.trace.to_be_bytes());
        write_hex(&mut text[36..52], &self.span.to_be_bytes());
        write_hex(&mut text[53..], &[u8::from(self.sampled)]);
        if let Ok(value) = HeaderValue::from_bytes(&text) {
            headers.insert(TRACEPARENT, value);
        }
    }
}

/// Trace, span and flags. A later version may have more to say behind them.
fn parse(text: &[u8]) -> Option<(u128, u64, u8)> {
    let (known, more) = text.split_at_checked(LENGTH)?;
    let version = hex(&known[..2])?;
    let fits = match version {
        0 => more.is_empty(),
        0xff => false,
        _ => more.first().is_none_or(|byte| *byte == b'-'),
    };
    let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
    let trace = hex(&known[3..35]).filter(|trace| *trace != 0)?;
    let span = hex(&known[36..52]).filter(|span| *span != 0)?;
    let flags = hex(&known[53..])?;
    let parsed = (trace, u64::try_from(span).ok()?, u8::try_from(flags).ok()?);
    (fits && dashes).then_some(parsed)
}

/// Digits in lower case.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// Zero means none.
fn non_zero<T: Default + PartialEq>(mut random: impl FnMut() -> T) -> T {
    loop {
        let number = random();
        if number != T::default() {
            return number;
        }
    }
}

/// Whether `tracestate`, in all of its lines, is a list of members as they should be.
fn state_is_valid(headers: &HeaderMap) -> bool {
    let mut members = 0;
    headers.get_all(TRACESTATE).iter().all(|line| {
        line.as_bytes().split(|byte| *byte == b',').all(|member| {
            let member = trim(member);
            members += usize::from(!member.is_empty());
            members <= MAX_MEMBERS && (member.is_empty() || member_is_valid(member))
        })
    })
}

fn trim(text: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !is_space(byte));
    let end = text.iter().rposition(|byte| !is_space(byte));
    start
        .zip(end)
        .map_or(&[], |(start, end)| &text[start..=end])
}

/// `key=value`; a key may be `tenant@system`.
fn member_is_valid(member: &[u8]) -> bool {
    let Some(equals) = memchr::memchr(b'=', member) else {
        return false;
    };
    let (key, value) = (&member[..equals], &member[equals + 1..]);
    let follows =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/".contains(byte);
    let word = |text: &[u8], most: usize, digit_first: bool| {
        let first = text
            .first()
            .is_some_and(|byte| byte.is_ascii_lowercase() || digit_first && byte.is_ascii_digit());
        first && text.len() <= most && text.iter().all(follows)
    };
    let key_is_valid = match memchr::memchr(b'@', key) {
        Some(at) => word(&key[..at], 241, true) && word(&key[at + 1..], 14, false),
        None => word(key, 256, false),
    };
    let valid = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b',' && *byte != b'=';
    key_is_valid && (1..=256).contains(&value.len()) && value.iter().all(valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn of(fields: &[(&'static str, &str)]) -> (TraceContext, HeaderMap) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let context = TraceContext::of(&headers);
        context.set(&mut headers);
        (context, headers)
    }

    fn sent(headers: &HeaderMap) -> String {
        let mut all = headers.get_all(TRACEPARENT).iter();
        let text = all.next().unwrap().to_str().unwrap().to_owned();
        assert!(all.next().is_none() && text.len() == LENGTH);
        text
    }

    #[test]
    fn the_trace_goes_on_with_a_span_of_our_own() {
        let later = PARENT.replacen("00", "cc", 1);
        for (parent, flags) in [
            (PARENT.to_owned(), "01"),
            (PARENT.replace("-01", "-00"), "00"),
            (PARENT.replace("-01", "-ff"), "01"),
            (later.clone(), "01"),
            (later + "-what-ever", "01"),
        ] {
            let (context, headers) = of(&[("traceparent", &parent), ("tracestate", "a=b")]);
            assert_eq!(context.parent, Some(0xb7ad_6b71_6920_3331), "{parent}");
            let sent = sent(&headers);
            assert_eq!(
                (&sent[..36], &sent[52..]),
                (&PARENT[..36], &*format!("-{flags}"))
            );
            assert_ne!(sent[36..52], PARENT[36..52]);
            assert_eq!(headers[TRACESTATE], "a=b");
        }
    }

    #[test]
    fn a_malformed_one_is_replaced() {
        let upper = PARENT.to_uppercase();
        for parent in [
            "",
            "00-zz",
            &upper,
            &PARENT.replace("b7ad6b7169203331", "0000000000000000"),
            &PARENT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &PARENT.replacen("00", "ff", 1),
            &PARENT.replacen("00", "cc", 1).replace("-01", "-01x"),
            &format!("{PARENT}-x"),
            &PARENT.replace("-01", "-0"),
            &PARENT.replacen('-', "_", 1),
            &PARENT.replace("-b7", "_b7"),
            &PARENT.replace('-', " "),
        ] {
            let (context, headers) = of(&[("traceparent", parent), ("tracestate", "a=b")]);
            assert_eq!((context.parent, context.sampled), (None, false), "{parent}");
            let sent = sent(&headers);
            assert!(
                !sent.contains("0af7651916cd43dd") && sent.starts_with("00-"),
                "{sent}"
            );
            assert!(!headers.contains_key(TRACESTATE));
        }
        let (twice, _) = of(&[("traceparent", PARENT), ("traceparent", PARENT)]);
        assert_eq!(twice.parent, None);
    }

    #[test]
    fn a_state_that_is_none_goes_no_further() {
        let longest = format!("{}={}", "k".repeat(256), "v".repeat(256));
        let most = ["a=1"; 32].join(",");
        for state in [
            "a=b",
            "a=b, c=d ,,",
            "0t/x@sys=\x20a:b",
            "",
            &longest,
            &most,
        ] {
            let (_, headers) = of(&[("traceparent", PARENT), ("tracestate", state)]);
            assert!(headers.contains_key(TRACESTATE), "{state}");
        }
        let (too_long, too_many) = (longest.replacen('k', "kk", 1), format!("{most},b=2"));
        for state in [
            "a", "=b", "a=", "A=b", "0a=b", "a b=c", "a=b=c", "a@=b", "@a=b", "a@0s=b", "a@b@c=d",
            "a=\u{e4}", &too_long, &too_many,
        ] {
            let (context, headers) = of(&[("traceparent", PARENT), ("tracestate", state)]);
            assert!(!headers.contains_key(TRACESTATE), "{state}");
            assert!(context.parent.is_some());
        }
    }
}
