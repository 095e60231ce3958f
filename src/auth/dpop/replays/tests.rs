use super::*;
use crate::auth::outcome::Reason;

const NOW: UnixTime = 1_800_000_000.0;
const MAX_AGE: Duration = Duration::from_secs(60);

fn seen() -> Seen {
    let mut seen = Seen::default();
    seen.remember_for(MAX_AGE, NOW);
    seen
}

fn reason<T>(verdict: Result<T, Refusal>) -> Option<ProofError> {
    verdict.err().map(|refusal| match refusal.reason {
        Reason::Proof(error) => error,
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_proof_counts_once_for_as_long_as_it_could_be_good() {
    let mut seen = seen();
    let mut used = |key: u8, jti: &str, at: f64| {
        let key = [key; 32];
        let id = ProofId::new(&key, jti);
        reason(seen.insert(key, id, NOW + at, NOW + at, (100, 100)))
    };
    assert_eq!(used(1, "a", 0.0), None);
    assert_eq!(used(1, "a", 1.0), Some(ProofError::Replayed));
    assert_eq!(used(1, "b", 1.0), None);
    assert_eq!(used(2, "a", 1.0), None, "of another key");
    assert_eq!(used(1, "a", 65.0), Some(ProofError::Replayed));
    assert_eq!(used(1, "a", 65.5), None);
    assert_eq!(used(1, "b", 65.5), Some(ProofError::Replayed));
    assert_eq!((seen.ids.len(), seen.queue.len(), seen.replayed), (3, 3, 3));
    seen.forget(NOW + 1000.0, usize::MAX);
    assert!(seen.ids.is_empty() && seen.queue.is_empty() && seen.of_key.is_empty());
}

#[test]
fn what_there_is_no_room_for_is_refused_and_nothing_forgotten() {
    let mut seen = seen();
    let mut used = |key: u8, jti: u32, at: f64| {
        let key = [key; 32];
        let id = ProofId::new(&key, &jti.to_string());
        let verdict = seen.insert(key, id, NOW + at, NOW + at, (12, 5));
        assert!(
            verdict.is_ok() || verdict != Err(ProofError::TooMany.into()),
            "Retry-After"
        );
        reason(verdict)
    };
    for jti in 0..5 {
        assert_eq!(used(1, jti, 0.0), None);
    }
    assert_eq!(used(1, 5, 0.0), Some(ProofError::TooMany));
    assert_eq!(used(1, 0, 0.0), Some(ProofError::Replayed));
    for jti in 0..7 {
        assert_eq!(
            used(2 + u8::from(jti > 4), jti, 1.0),
            None,
            "another key has room"
        );
    }
    assert_eq!(
        used(4, 0, 2.0),
        Some(ProofError::TooMany),
        "all of them together"
    );
    assert_eq!(used(1, 5, 66.0), None, "its time is over");
    assert_eq!(seen.turned_away, 2);
}

#[test]
fn they_are_forgotten_a_few_at_a_time_unless_there_is_no_room() {
    let mut seen = seen();
    let mut insert = |number: usize, at: f64, max: usize| {
        let key = [number as u8; 32];
        let id = ProofId::new(&key, &number.to_string());
        let limits = (max, 1000);
        seen.insert(key, id, NOW + at, NOW + at, limits).unwrap();
        seen.ids.len()
    };
    for number in 0..1000 {
        insert(number, 0.0, 10_000);
    }
    assert_eq!(insert(1000, 66.0, 10_000), 1000 - FORGOTTEN_AT_ONCE + 1);
    assert_eq!(insert(1001, 66.0, 100), 2);
}

#[test]
fn they_are_remembered_for_the_highest_age_of_all_steps() {
    let mut seen = seen();
    let id = |number: u8| ProofId::new(&[1; 32], &number.to_string());
    let used = |seen: &mut Seen, number: u8, made: f64, at: f64| {
        let inserted = seen.insert([1; 32], id(number), NOW + made, NOW + at, (100, 100));
        reason(inserted)
    };
    assert_eq!(used(&mut seen, 1, 0.0, 0.0), None);
    assert_eq!(used(&mut seen, 2, 10.0, 10.0), None);
    seen.remember_for(Duration::from_secs(600), NOW + 70.0);
    seen.remember_for(Duration::from_secs(1), NOW + 70.0);
    assert_eq!(used(&mut seen, 2, 10.0, 71.0), Some(ProofError::Replayed));
    assert_eq!(used(&mut seen, 2, 10.0, 610.0), Some(ProofError::Replayed));
    assert_eq!(
        used(&mut seen, 3, 9.0, 71.0),
        Some(ProofError::TooOld),
        "it may be forgotten"
    );
    assert_eq!(used(&mut seen, 3, 11.0, 600.0), None);
}

#[derive(Debug)]
struct Fleet(Option<bool>);

impl ProofStore for Fleet {
    fn first_use(
        &self,
        _: ProofId,
        keep: Duration,
    ) -> Pin<Box<dyn Future<Output = Option<bool>> + Send + '_>> {
        assert_eq!(keep, MAX_AGE + AHEAD);
        Box::pin(std::future::ready(self.0))
    }
}

#[tokio::test]
async fn what_another_process_has_seen_is_refused_and_its_silence_is_not() {
    for (answer, expected) in [
        (Some(true), None),
        (None, None),
        (Some(false), Some(ProofError::Replayed)),
    ] {
        let replays = Replays::default();
        replays.remember_for(MAX_AGE, NOW);
        replays.share(Some(Arc::new(Fleet(answer))));
        let used = || replays.first_use([1; 32], ProofId::new(&[1; 32], "a"), NOW, NOW);
        assert_eq!(reason(used().await), expected, "{answer:?}");
        assert_eq!(reason(used().await), Some(ProofError::Replayed));
    }
}
