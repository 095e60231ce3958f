//! How the backends of a pipeline split its requests: by what `when` says of a request, else by
//! weight.

use http::{HeaderMap, HeaderValue, header};

use crate::config::{self, When, WhenLocation};

/// Most turns of an order, and most units of weight on a hash ring: larger weights are rounded.
const MAX_UNITS: u64 = 1000;

/// Which requests a backend takes.
#[derive(Debug, Clone)]
pub enum Share {
    /// Its share of those that no `when` fits.
    ByWeight,
    /// Those that fit.
    When(When),
    /// None: `weight = 0`.
    Nothing,
}

impl Share {
    pub(super) fn of(backend: &config::Backend) -> Self {
        match &backend.when {
            Some(when) => Self::When(when.clone()),
            None if backend.shares() => Self::ByWeight,
            None => Self::Nothing,
        }
    }

    /// Whether a request may go there.
    pub(super) fn takes(&self, request: &HeaderMap) -> bool {
        match self {
            Self::ByWeight => true,
            Self::When(when) => when.fits(request),
            Self::Nothing => false,
        }
    }
}

impl When {
    /// Whether a request has the value. Which ones of its fields are the client's was seen to
    /// before.
    pub fn fits(&self, request: &HeaderMap) -> bool {
        let is_it = |value: &[u8]| value == self.value.as_bytes();
        match &self.location {
            WhenLocation::Header(name) => {
                let mut values = request.get_all(name).iter();
                values.any(|value| is_it(value.as_bytes()))
            }
            WhenLocation::Cookie(name) => {
                let fields = request.get_all(header::COOKIE).iter();
                let mut pairs = fields
                    .map(HeaderValue::as_bytes)
                    .flat_map(|field| field.split(|&byte| byte == b';'));
                pairs.any(|pair| {
                    let pair = pair.trim_ascii().strip_prefix(name.as_bytes());
                    pair.and_then(|rest| rest.strip_prefix(b"="))
                        .is_some_and(is_it)
                })
            }
        }
    }
}

/// The weight of each upstream among those of all backends. Where a backend names a weight, each
/// backend gets the share that its own says, whatever upstreams it has; they share it by theirs.
pub(super) fn weights(upstreams: &[(&config::Backend, u32)]) -> Vec<u32> {
    let own = upstreams.iter().map(|(_, weight)| *weight);
    if upstreams
        .iter()
        .all(|(backend, _)| backend.weight.is_none())
    {
        return own.collect();
    }
    let sum = |backend: &config::Backend| -> u64 {
        let same = upstreams.iter().filter(|(it, _)| it.name == backend.name);
        same.map(|(_, weight)| u64::from(*weight)).sum()
    };
    let shares = |backend: &config::Backend| u64::from(backend.weight.unwrap_or(1));
    // A unit that every backend can share out among its upstreams without a rest.
    let unit = upstreams.iter().filter(|(backend, _)| backend.shares());
    let unit = unit.fold(1, |unit, (backend, _)| {
        least_common_multiple(unit, sum(backend))
    });
    let scaled = |(backend, weight): &(&config::Backend, u32)| match backend.shares() {
        true => shares(backend) * u64::from(*weight) * (unit / sum(backend).max(1)),
        false => u64::from(*weight),
    };
    let mut scaled: Vec<u64> = upstreams.iter().map(scaled).collect();
    let divisor = scaled
        .iter()
        .copied()
        .fold(0, greatest_common_divisor)
        .max(1);
    scaled.iter_mut().for_each(|weight| *weight /= divisor);
    let total: u64 = scaled.iter().sum();
    let rounded = |weight: u64| match total {
        total if total > MAX_UNITS => ((weight * MAX_UNITS + total / 2) / total).max(1),
        _ => weight.max(1),
    };
    let rounded = scaled.into_iter().map(rounded);
    rounded
        .map(|weight| u32::try_from(weight).unwrap_or(u32::MAX))
        .collect()
}

/// What is too large for it only makes a unit that is rounded.
fn least_common_multiple(one: u64, other: u64) -> u64 {
    const LARGE: u64 = 1 << 32;
    let multiple = one / greatest_common_divisor(one, other).max(1) * other.max(1);
    if multiple > LARGE { LARGE } else { multiple }
}

fn greatest_common_divisor(one: u64, other: u64) -> u64 {
    match other {
        0 => one,
        other => greatest_common_divisor(other, one % other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Backend, BackendTarget};

    fn backend(name: &str, weight: Option<u32>) -> Backend {
        Backend {
            name: name.into(),
            target: BackendTarget::Echo,
            weight,
            when: None,
        }
    }

    fn weights_of(backends: &[(Option<u32>, &[u32])]) -> Vec<u32> {
        let named = backends.iter().enumerate();
        let named: Vec<_> = named
            .into_iter()
            .map(|(number, (weight, _))| backend(&number.to_string(), *weight))
            .collect();
        let upstreams = named.iter().zip(backends);
        let upstreams: Vec<_> = upstreams
            .flat_map(|(backend, (_, weights))| weights.iter().map(move |it| (backend, *it)))
            .collect();
        weights(&upstreams)
    }

    #[test]
    fn a_backend_has_its_share_whatever_upstreams_it_has() {
        for (backends, expected) in [
            (&[(None, &[1, 1][..]), (None, &[3])][..], &[1, 1, 3][..]),
            (&[(Some(9), &[1]), (Some(1), &[1])], &[9, 1]),
            (&[(Some(90), &[5]), (Some(10), &[7])], &[9, 1]),
            (&[(Some(9), &[1, 1, 1]), (Some(1), &[1])], &[3, 3, 3, 1]),
            (&[(Some(1), &[1, 2]), (Some(1), &[1, 1])], &[2, 4, 3, 3]),
            (&[(None, &[1]), (Some(3), &[1])], &[1, 3]),
            (&[(Some(1), &[1]), (Some(0), &[4])], &[1, 4]),
            (&[(Some(1000), &[1]), (Some(1), &[1])], &[999, 1]),
        ] {
            assert_eq!(weights_of(backends), expected, "{backends:?}");
        }
        let odd = weights_of(&[(Some(7), &[97, 89, 83]), (Some(3), &[79, 73, 71])]);
        let (one, other): (u32, u32) = (odd[..3].iter().sum(), odd[3..].iter().sum());
        assert!(
            (698..=702).contains(&one) && (298..=302).contains(&other),
            "{odd:?}"
        );
    }

    #[test]
    fn what_fits() {
        let when = |location| When {
            location,
            value: "1".to_owned(),
        };
        let header = when(WhenLocation::Header(header::HeaderName::from_static(
            "x-canary",
        )));
        let cookie = when(WhenLocation::Cookie("canary".to_owned()));
        for (name, value, by_header, by_cookie) in [
            ("x-canary", "1", true, false),
            ("x-canary", "11", false, false),
            ("x-canary", "", false, false),
            ("x_canary", "1", false, false),
            ("cookie", "canary=1", false, true),
            ("cookie", "a=1; canary=1;b", false, true),
            ("cookie", "a=canary=1", false, false),
            ("cookie", "xcanary=1", false, false),
            ("cookie", "canary=11; canary", false, false),
            ("cookie", "Canary=1", false, false),
        ] {
            let mut request = HeaderMap::new();
            request.append("x-other", HeaderValue::from_static("1"));
            request.append(name, HeaderValue::from_static("0"));
            request.append(name, HeaderValue::from_static(value));
            let found = (header.fits(&request), cookie.fits(&request));
            assert_eq!(found, (by_header, by_cookie), "{name}: {value}");
        }
    }
}
