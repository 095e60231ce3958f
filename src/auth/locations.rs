//! The locations that the steps of a pipeline read, and what goes on from there to the upstream:
//! only what a step has verified. What stands in a location that no step reads is the
//! application's.

use super::extractor::{self, Found};
use super::request::AuthRequest;
use crate::config::CredentialLocation;

/// Locations of one pipeline whose content a step has verified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerifiedLocations(u64);

impl VerifiedLocations {
    /// Adds what another chain has verified.
    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// The locations that steps read, each once.
#[derive(Debug, Clone, Default)]
pub struct CredentialLocations(Vec<ReadLocation>);

#[derive(Debug, Clone)]
struct ReadLocation {
    location: CredentialLocation,
    /// Whether every step that reads it lets its credential travel.
    travels: bool,
}

impl CredentialLocations {
    /// Adds the location of a step with this `forward_credential`; what stands for its content
    /// having been verified.
    pub(crate) fn add(
        &mut self,
        location: &CredentialLocation,
        forward: bool,
    ) -> VerifiedLocations {
        let travels = forward && !matches!(location, CredentialLocation::Query(_));
        let known = self.0.iter().position(|read| read.location == *location);
        let number = known.unwrap_or_else(|| {
            self.0.push(ReadLocation {
                location: location.clone(),
                travels: true,
            });
            self.0.len() - 1
        });
        self.0[number].travels &= travels;
        bit(number)
    }

    /// The locations whose content must not go on, if this much was verified: that of every step
    /// that says `forward_credential = false`, also of one that was skipped, and whatever nobody
    /// has verified.
    pub fn stripped(
        &self,
        verified: VerifiedLocations,
    ) -> impl Iterator<Item = &CredentialLocation> {
        let locations = self.0.iter().enumerate();
        locations
            .filter(move |(number, read)| !(read.travels && verified.0 & bit(*number).0 != 0))
            .map(|(_, read)| &read.location)
    }

    /// What a request carries of that, and why it does not go on. For the operator who asks.
    pub fn explain_stripped<'a>(
        &'a self,
        verified: VerifiedLocations,
        request: &'a AuthRequest<'_>,
    ) -> impl Iterator<Item = String> + 'a {
        let locations = self.0.iter().enumerate();
        locations
            .filter(|(_, read)| extractor::find(&read.location, request) != Found::Nothing)
            .filter_map(move |(number, read)| {
                let why = match verified.0 & bit(number).0 {
                    0 => "no step has verified what it holds",
                    _ if read.travels => return None,
                    _ => "forward_credential is false",
                };
                Some(format!("{}: {why}", extractor::named(&read.location)))
            })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &CredentialLocation> {
        self.0.iter().map(|read| &read.location)
    }
}

/// None for a location beyond the 64th: what stands there never goes on.
fn bit(number: usize) -> VerifiedLocations {
    let bit = u32::try_from(number).ok();
    VerifiedLocations(bit.and_then(|bit| 1_u64.checked_shl(bit)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_verified_and_may_travel() {
        let cookie = |name: &str| CredentialLocation::Cookie(name.to_owned());
        let query = CredentialLocation::Query("q".to_owned());
        let mut locations = CredentialLocations::default();
        let authorization = locations.add(&CredentialLocation::Authorization, true);
        let a = locations.add(&cookie("a"), true);
        let kept = locations.add(&cookie("b"), true);
        assert_eq!(locations.add(&cookie("b"), false), kept);
        let in_query = locations.add(&query, true);
        let mut both = a;
        both.add(authorization);
        let mut all = both;
        all.add(kept);
        all.add(in_query);
        for (verified, want) in [
            (
                VerifiedLocations::default(),
                locations.iter().cloned().collect(),
            ),
            (
                a,
                vec![
                    CredentialLocation::Authorization,
                    cookie("b"),
                    query.clone(),
                ],
            ),
            (both, vec![cookie("b"), query.clone()]),
            (all, vec![cookie("b"), query]),
        ] {
            let found: Vec<_> = locations.stripped(verified).cloned().collect();
            assert_eq!(found, want, "{verified:?}");
        }
    }

    #[test]
    fn a_place_beyond_count_never_goes_on() {
        let mut locations = CredentialLocations::default();
        let mut verified = VerifiedLocations::default();
        for number in 0..70 {
            verified.add(locations.add(&CredentialLocation::Cookie(number.to_string()), true));
        }
        assert_eq!(locations.stripped(verified).count(), 6);
    }
}
