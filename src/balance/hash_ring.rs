//! Consistent hashing: the same key goes to the same member, and when one is gone only its keys
//! move.
//!
//! Every member has many points on a ring of 64-bit numbers; a key belongs to the first point at or
//! after its own. Points come from SHA-256 of the member's name, so that all processes with the
//! same members agree, whatever their versions.

use std::collections::HashMap;

use ring::digest::{SHA256, digest};

/// Points of a member for each unit of its weight: the shares of equal members then differ by a few
/// per cent.
const POINTS: u32 = 160;

/// A ring of members.
#[derive(Debug)]
pub(super) struct HashRing {
    /// Points and the numbers of their members, in order.
    points: Vec<(u64, usize)>,
}

impl HashRing {
    /// A ring of members with these names and weights. A member's place depends on nothing but its
    /// name: not on what the name resolves to, nor on the others.
    pub(super) fn new<'a>(members: impl IntoIterator<Item = (&'a str, u32)>) -> Self {
        let mut points = Vec::new();
        let mut named: HashMap<&str, u32> = HashMap::new();
        for (index, (name, weight)) in members.into_iter().enumerate() {
            // Members of one name have different places.
            let same = named.entry(name).or_default();
            *same += 1;
            for number in 0..weight.max(1).saturating_mul(POINTS) {
                points.push((hash(format!("{name}\n{same}\n{number}").as_bytes()), index));
            }
        }
        points.sort_unstable();
        Self { points }
    }

    /// The member that a key belongs to, or the first one after it on the ring that is accepted.
    pub(super) fn find(&self, key: &[u8], mut accept: impl FnMut(usize) -> bool) -> Option<usize> {
        let key = hash(key);
        let (before, after) = self
            .points
            .split_at(self.points.partition_point(|(point, _)| *point < key));
        let mut members = after.iter().chain(before).map(|(_, index)| *index);
        members.find(|index| accept(*index))
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let digest = digest(&SHA256, bytes);
    let first = digest.as_ref().first_chunk().copied();
    u64::from_be_bytes(first.unwrap_or_default())
}
