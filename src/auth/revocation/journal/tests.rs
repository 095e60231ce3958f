use super::*;
use crate::auth::revocation::entry::{Target, TokenSelector};

fn record(token_id: &str) -> Record {
    let selector = TokenSelector::TokenId(token_id.into());
    Record::Revoked(Revocation {
        target: Target::Tokens("https://issuer".into(), selector),
        before: None,
        until: None,
        made_at: 1,
    })
}

fn log(records: &[Record]) -> Vec<u8> {
    [HEADER.as_bytes(), &encode(records).unwrap()].concat()
}

#[test]
fn what_was_written_is_read() {
    let records = [
        record("a"),
        Record::Expired(Expired {
            issuer: "https://issuer".to_owned(),
            before: 7,
        }),
        Record::Deleted(Deletion {
            id: Target::ApiKey("robot".into()).id(),
            deleted_at: 9,
        }),
    ];
    let parsed = parse(&log(&records)).unwrap();
    assert_eq!((parsed.records, parsed.torn_at), (records.to_vec(), None));
}

#[test]
fn every_cut_is_what_a_crash_leaves_behind() {
    let whole = log(&[record("a"), record("b")]);
    let first = log(&[record("a")]).len();
    for cut in 0..whole.len() {
        let parsed = parse(&whole[..cut]).unwrap();
        let count = usize::from(cut >= first);
        assert_eq!(parsed.records.len(), count, "{cut}");
        let good = if cut >= first {
            first
        } else if cut >= HEADER.len() {
            HEADER.len()
        } else {
            0
        };
        assert_eq!(parsed.torn_at, (good < cut).then_some(good), "{cut}");
    }
    let zeros = [&whole[..first], &[0; 40], b"\n"].concat();
    assert_eq!(parse(&zeros).unwrap().torn_at, Some(first));
}

#[test]
fn damage_elsewhere_is_an_error() {
    let whole = log(&[record("a"), record("b")]);
    let first = log(&[record("a")]).len();
    for place in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[place] ^= 4;
        let line = match place {
            place if place < HEADER.len() => 1,
            place if place < first => 2,
            _ => 3,
        };
        match parse(&damaged) {
            Err(found) => assert_eq!(found, line, "{place}"),
            // The end of the last line: it is not whole.
            Ok(parsed) => assert_eq!((place, parsed.torn_at), (whole.len() - 1, Some(first))),
        }
    }
    for garbage in [&b"garbage"[..], b"\n", &[0; 100]] {
        assert_eq!(parse(garbage), Err(1));
    }
    assert_eq!(parse(&[&whole[..], b"garbage\n"].concat()), Err(4));
    let zeros = [&whole[..first], &[0; 40], b"\n", &whole[first..]].concat();
    assert_eq!(parse(&zeros), Err(3));
}
