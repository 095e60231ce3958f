use std::future::pending;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use super::*;

fn any(_: &PeerAddress) -> bool {
    true
}

fn lookups(
    lookup: impl Fn(String, u16) -> LookingUp + Send + Sync + 'static,
    limit: Duration,
    slots: usize,
) -> Lookups {
    Lookups {
        lookup: Arc::new(lookup),
        limit,
        slots: Arc::new(Semaphore::new(slots)),
    }
}

fn answer(port: u16, ttl: Option<u64>) -> Answer {
    Answer {
        addresses: vec![([127, 0, 0, 1], port).into()],
        ttl: ttl.map(Duration::from_secs),
    }
}

/// Runs a resolver for as long as something else takes.
async fn running<T>(resolver: &Arc<Resolver>, meanwhile: impl Future<Output = T>) -> T {
    let (stop, stopping) = watch::channel(false);
    let running = tokio::spawn({
        let resolver = resolver.clone();
        async move { resolver.run(stopping).await }
    });
    let result = meanwhile.await;
    stop.send_replace(true);
    running.await.unwrap();
    result
}

/// Waits until all names of a resolver have been tried, and says how long that took.
async fn tried(resolver: &Resolver) -> Duration {
    let begun = Instant::now();
    while !resolver.all_tried() {
        sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}

#[test]
fn an_ip_literal_needs_no_look_up() {
    let resolver = Resolver::default();
    for (host, expected) in [("10.0.0.5", "10.0.0.5:80"), ("::1", "[::1]:80")] {
        let addresses = resolver.addresses(host, 80);
        let expected = expected.parse().ok().map(PeerAddress::Inet);
        assert_eq!(addresses.next(any), expected);
        assert_eq!(addresses.next(|_| false), None);
    }
    assert!(resolver.known.values().is_empty() && resolver.all_tried());
}

#[tokio::test]
async fn a_name_is_resolved_once_for_all_who_use_it() {
    let resolver = Arc::new(Resolver::default());
    let one = resolver.addresses("localhost", 8080);
    let other = resolver.addresses("localhost", 8080);
    assert!(Arc::ptr_eq(&one, &other));
    assert_eq!(
        one.next(any),
        None,
        "nothing is looked up on the caller's thread"
    );
    assert!(!resolver.all_tried());
    running(&resolver, async {
        tried(&resolver).await;
        let found = one.next(any);
        assert!(matches!(found, Some(PeerAddress::Inet(at)) if at.ip().is_loopback()));
        // One that a reload adds is looked up as well, and the process stays ready meanwhile.
        let added = resolver.addresses("localhost", 8081);
        assert!(resolver.all_tried());
        while added.next(any).is_none() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn many_names_that_get_no_answer_take_as_long_as_one() {
    const LIMIT: Duration = Duration::from_millis(400);
    let silent = lookups(|_, _| Box::pin(pending()), LIMIT, MAX_LOOKUPS);
    let resolver = Arc::new(Resolver::new(silent));
    let names: Vec<_> = (0..20)
        .map(|number| resolver.addresses(&format!("h{number}.invalid"), 80))
        .collect();
    let took = running(&resolver, tried(&resolver)).await;
    assert!(LIMIT <= took && took < 3 * LIMIT, "{took:?}");
    assert!(names.iter().all(|name| name.lookup_error().is_some()));
}

#[tokio::test]
async fn the_wait_for_a_thread_counts_towards_the_limit() {
    const LIMIT: Duration = Duration::from_millis(400);
    let silent = lookups(|_, _| Box::pin(pending()), LIMIT, 2);
    let resolver = Arc::new(Resolver::new(silent));
    let _names: Vec<_> = (0..20)
        .map(|number| resolver.addresses(&format!("h{number}.invalid"), 80))
        .collect();
    let took = running(&resolver, tried(&resolver)).await;
    assert!(LIMIT <= took && took < 3 * LIMIT, "{took:?}");
}

#[tokio::test]
async fn no_more_look_ups_at_once_than_allowed() {
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let lookup = |_, port| -> LookingUp {
        Box::pin(async move {
            let now = NOW.fetch_add(1, Ordering::Relaxed) + 1;
            MOST.fetch_max(now, Ordering::Relaxed);
            sleep(Duration::from_millis(5)).await;
            NOW.fetch_sub(1, Ordering::Relaxed);
            Ok(answer(port, None))
        })
    };
    let resolver = Arc::new(Resolver::new(lookups(lookup, LIMIT, 3)));
    let names: Vec<_> = (1..20)
        .map(|port| resolver.addresses("h.example", port))
        .collect();
    running(&resolver, tried(&resolver)).await;
    assert!(names.iter().all(|name| name.next(any).is_some()));
    assert_eq!(MOST.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn an_answer_holds_for_its_ttl_within_bounds() {
    for (ttl, expected) in [
        (Some(0), 5),
        (Some(4), 5),
        (Some(7), 7),
        (Some(300), 300),
        (Some(86_400), 300),
        (None, 30),
    ] {
        let lookup = move |_, port| -> LookingUp { Box::pin(async move { Ok(answer(port, ttl)) }) };
        let addresses = Addresses::new("h.example", 1, None);
        let holds = lookups(lookup, LIMIT, 1).resolve(&addresses).await;
        assert_eq!(holds, Some(Duration::from_secs(expected)), "{ttl:?}");
    }
}

#[tokio::test]
async fn a_fixed_interval_counts_at_once_instead_of_the_ttl() {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let lookup = |_, port| -> LookingUp {
        COUNT.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { Ok(answer(port, Some(300))) })
    };
    let resolver = Arc::new(Resolver::new(lookups(lookup, LIMIT, 1)));
    let _addresses = resolver.addresses("h.example", 1);
    running(&resolver, async {
        tried(&resolver).await;
        sleep(Duration::from_millis(50)).await;
        assert_eq!(COUNT.load(Ordering::Relaxed), 1, "its TTL is not over");
        resolver.set_interval(Some(Duration::from_millis(10)));
        while COUNT.load(Ordering::Relaxed) < 5 {
            sleep(Duration::from_millis(5)).await;
        }
        resolver.set_interval(None);
        sleep(Duration::from_millis(50)).await;
        let before = COUNT.load(Ordering::Relaxed);
        resolver.set_interval(None);
        sleep(Duration::from_millis(50)).await;
        assert_eq!(COUNT.load(Ordering::Relaxed), before);
    })
    .await;
}

#[tokio::test]
async fn addresses_outlive_a_look_up_that_fails_or_takes_too_long() {
    let system = Resolver::default().lookups;
    let addresses = Addresses::new("no-such-name.invalid", 1, None);
    let known: SocketAddr = "127.0.0.1:1".parse().unwrap();
    addresses.resolved(vec![known]);
    assert_eq!(system.resolve(&addresses).await, None);
    assert!(addresses.lookup_error().is_some());
    assert_eq!(addresses.known(), [known.into()]);
    let slow = Addresses::new("localhost", 1, None);
    let hurried = Lookups {
        limit: Duration::ZERO,
        ..system
    };
    assert!(
        hurried.resolve(&slow).await.is_some(),
        "a late answer is used when it comes"
    );
    assert!(slow.lookup_error().is_none() && !slow.known().is_empty());
}
