//! Counts by a label that stands in the program: few labels, none of which a client can make up.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// More than there are labels. One that finds no place is counted as [`OTHER`].
const PLACES: usize = 128;
const OTHER: &str = "other";

/// A list of labels in the order in which they first occurred. Finding one is a walk over those
/// before it, mostly by comparing addresses.
#[derive(Debug)]
pub(super) struct LabelCounters {
    places: Box<[Place]>,
    other: AtomicU64,
}

#[derive(Debug, Default)]
struct Place {
    label: OnceLock<&'static str>,
    count: AtomicU64,
}

impl Default for LabelCounters {
    fn default() -> Self {
        Self {
            places: (0..PLACES).map(|_| Place::default()).collect(),
            other: AtomicU64::new(0),
        }
    }
}

impl LabelCounters {
    pub(super) fn count(&self, label: &'static str) {
        let place = self.places.iter().find(|place| {
            // The first to come takes the place; everybody else sees whose it is.
            let taken = place.label.get_or_init(|| label);
            std::ptr::eq(*taken, label) || *taken == label
        });
        place
            .map_or(&self.other, |place| &place.count)
            .fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let taken = self
            .places
            .iter()
            .map_while(|place| Some((*place.label.get()?, load(&place.count))));
        let other = Some((OTHER, load(&self.other))).filter(|(_, count)| *count > 0);
        let mut counts: Vec<_> = taken.chain(other).collect();
        counts.sort_unstable();
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_told_apart_by_what_they_say() {
        let counts = LabelCounters::default();
        let copy: &'static str = Box::leak("b".to_owned().into_boxed_str());
        for label in ["b", "a", copy, "a", "b"] {
            counts.count(label);
        }
        assert_eq!(counts.counts(), [("a", 2), ("b", 3)]);
    }

    #[test]
    fn threads_agree_on_the_places() {
        let counts = LabelCounters::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        for label in ["a", "b", "c"] {
                            counts.count(label);
                        }
                    }
                });
            }
        });
        assert_eq!(counts.counts(), [("a", 4000), ("b", 4000), ("c", 4000)]);
    }

    #[test]
    fn there_is_an_end_to_it() {
        let counts = LabelCounters::default();
        for number in 0..PLACES + 2 {
            counts.count(Box::leak(format!("label {number}").into_boxed_str()));
        }
        assert_eq!(counts.counts().len(), PLACES + 1);
        assert!(counts.counts().contains(&(OTHER, 2)));
    }
}
