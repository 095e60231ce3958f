//! Counts on their way to the process that takes over: what runs, in bytes that both sides know.

use std::time::Instant;

use super::counts::Record;
use super::limiters::Limiters;
use super::named::Table;
use super::requester::LimitKey;

impl Limiters {
    /// All counts whose window runs, for [`Self::take_over`] of another process.
    pub fn hand_over(&self) -> Vec<u8> {
        let now = Instant::now();
        let mut bytes = Vec::new();
        self.each(|table, key, count| {
            if let (Some(record), Ok(length)) = (count.record(now), u16::try_from(key.len())) {
                bytes.push(table.code());
                bytes.extend_from_slice(&length.to_be_bytes());
                bytes.extend_from_slice(key);
                for number in record.0 {
                    bytes.extend_from_slice(&number.to_be_bytes());
                }
            }
        });
        bytes
    }

    /// Goes on with the counts of the process before, beside what was counted here already. What
    /// cannot be read ends it.
    pub fn take_over(&self, mut bytes: &[u8]) {
        let now = Instant::now();
        while let Some((table, key, record)) = next(&mut bytes) {
            self.add(table, &key, record, now);
        }
    }
}

fn next(bytes: &mut &[u8]) -> Option<(Table, LimitKey, Record)> {
    let table = Table::of_code(*bytes.split_off_first()?);
    let length = u16::from_be_bytes(bytes.split_off(..2)?.try_into().ok()?);
    let key = LimitKey::from_slice(bytes.split_off(..usize::from(length))?);
    let mut record = Record::default();
    for number in &mut record.0 {
        *number = u64::from_be_bytes(bytes.split_off(..8)?.try_into().ok()?);
    }
    Some((table, key, record))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::limits::counts::Count;

    const WINDOW: Duration = Duration::from_secs(60);

    #[test]
    fn what_cannot_be_read_ends_it() {
        let limiters = Limiters::default();
        limiters.take_over(b"\0\0\x01a\0\0");
        limiters.take_over(b"\0\xff\xff");
        assert_eq!(limiters.status().keys, 0);
        let mut count = Count::new(WINDOW, Instant::now());
        count.note(WINDOW, WINDOW);
        count.count(WINDOW, Instant::now());
        let record = count.record(Instant::now()).unwrap();
        limiters.add(
            Table::Shadow,
            &LimitKey::from_slice(b"k"),
            record,
            Instant::now(),
        );
        let bytes = limiters.hand_over();
        let other = Limiters::default();
        other.take_over(&bytes[..bytes.len() - 1]);
        assert_eq!(other.status().keys, 0);
        other.take_over(&bytes);
        other.take_over(&bytes);
        other.each(|table, key, count| {
            assert_eq!((table, key), (Table::Shadow, &b"k"[..]));
            assert_eq!(count.used(count.rest(WINDOW, Instant::now())), 2);
        });
        assert_eq!(other.status().keys, 1);
    }

    #[test]
    fn every_count_of_a_large_table_is_handed_over() {
        let limiters = Limiters::default();
        let now = Instant::now();
        let mut count = Count::new(WINDOW, now);
        count.note(WINDOW, WINDOW);
        count.count(WINDOW, now);
        let record = count.record(now).unwrap();
        for key in 0..3000_u32 {
            let table = if key < 2500 {
                Table::Local
            } else {
                Table::Cloud
            };
            limiters.add(
                table,
                &LimitKey::from_slice(&key.to_be_bytes()),
                record,
                now,
            );
        }
        let other = Limiters::default();
        other.take_over(&limiters.hand_over());
        assert_eq!(other.status().keys, 3000);
        other.each(|_, _, count| assert_eq!(count.used(WINDOW), 1));
    }
}
