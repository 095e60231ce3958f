//! Passwords as a whole: which answer, and how long it takes.

mod memory;

use std::path::PathBuf;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use super::*;
use crate::auth::testing;
use crate::auth::{Chain, Denial, RequestSource, Shared};
use crate::config::{AuthStep, BasicUser, Secret, Step, StepKind, StoredPassword};

/// A user whose password has a hash of this cost.
fn hashed(name: &str, password: &str, cost: u32) -> BasicUser {
    BasicUser {
        name: name.to_owned(),
        password: StoredPassword::Bcrypt(Secret::new(bcrypt::hash(password, cost).unwrap())),
    }
}

fn plain(name: &str, password: &str) -> BasicUser {
    BasicUser {
        name: name.to_owned(),
        password: StoredPassword::Plain(Secret::new(password.to_owned())),
    }
}

/// A required step with these users.
fn step(users: Vec<BasicUser>, max_failures: u32) -> Step {
    step_with_file(users, max_failures, None)
}

fn step_with_file(
    users: Vec<BasicUser>,
    max_failures: u32,
    htpasswd_path: Option<PathBuf>,
) -> Step {
    let settings = Basic {
        users,
        htpasswd_path,
        max_failures,
        owner: Owner::Local,
    };
    Step {
        name: "basic".into(),
        kind: StepKind::Auth(AuthStep::new(settings)),
        enforce: true,
    }
}

fn build(shared: &Shared, users: Vec<BasicUser>, max_failures: u32) -> Chain {
    Chain::build(&[step(users, max_failures)], shared).unwrap()
}

fn basic(user_pass: &str) -> HeaderMap {
    authorization(format!("Basic {}", STANDARD.encode(user_pass)).as_bytes())
}

fn authorization(value: &[u8]) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap())])
}

async fn ask(chain: &Chain, user_pass: &str) -> Result<String, Denial> {
    ask_from(chain, user_pass, "192.0.2.1").await
}

async fn ask_from(chain: &Chain, user_pass: &str, client: &str) -> Result<String, Denial> {
    let headers = basic(user_pass);
    let request = AuthRequest {
        source: RequestSource {
            client: Some(client.parse().unwrap()),
            request_id: None,
        },
        ..AuthRequest::of(&headers)
    };
    let identity = chain.authenticate(&request).await?.unwrap();
    assert_eq!(identity.method().as_str(), "basic");
    Ok(identity.subject().unwrap().to_str().unwrap().to_owned())
}

/// The outcome in a word: the subject, or the reason.
async fn word(chain: &Chain, user_pass: &str) -> String {
    match ask(chain, user_pass).await {
        Ok(subject) => subject,
        Err(denial) => denial.reason().as_str().to_owned(),
    }
}

#[tokio::test]
async fn every_answer() {
    let users = vec![
        hashed("admin", "open sesame:yes", 5),
        hashed("Zoe", "päss", 4),
        plain("old", "in the clear"),
        hashed("long", &"x".repeat(72), 4),
    ];
    let chain = build(&testing::shared(), users, 0);
    assert!(!chain.is_open());
    for (user_pass, want) in [
        ("admin:open sesame:yes", "admin"),
        ("admin:open sesame:yes", "admin"),
        ("Zoe:päss", "Zoe"),
        ("old:in the clear", "old"),
        ("old:in the clear", "old"),
        ("admin:open sesame", "wrong_password"),
        ("admin:", "wrong_password"),
        ("Admin:open sesame:yes", "unknown_user"),
        ("root:open sesame:yes", "unknown_user"),
        (":open sesame:yes", "unknown_user"),
        ("old:in the clea", "wrong_password"),
        ("old:", "wrong_password"),
        ("Zoe:open sesame:yes", "wrong_password"),
        ("admin", "malformed"),
        ("", "malformed"),
        ("admin:open sesame:yes\n", "malformed"),
        ("admin:open sesame:yes\0", "malformed"),
    ] {
        assert_eq!(word(&chain, user_pass).await, want, "{user_pass:?}");
    }
    let longest = format!("long:{}", "x".repeat(72));
    assert_eq!(word(&chain, &longest).await, "long");
    assert_eq!(word(&chain, &format!("{longest}x")).await, "too_long");

    for (value, want) in [
        (&b"Basic"[..], "malformed"),
        (b"Basic ", "malformed"),
        (b"Basic !!!", "malformed"),
        (b"basic YWRtaW4", "malformed"),
        (b"Basic\tYTpi", "malformed"),
        (b"Bearer x", "missing"),
        (b"Basics YTpi", "missing"),
        (b"", "missing"),
    ] {
        let headers = authorization(value);
        let denial = chain.authenticate(&AuthRequest::of(&headers)).await;
        let denial = denial.unwrap_err();
        assert_eq!((denial.status(), denial.reason().as_str()), (401, want));
        assert_eq!(
            denial.challenges(),
            [r#"Basic realm="harmony", charset="UTF-8""#]
        );
    }
    for scheme in ["basic", "BASIC", "Basic  "] {
        let value = format!("{scheme} {}", STANDARD.encode("admin:open sesame:yes"));
        let headers = authorization(value.as_bytes());
        let identity = chain.authenticate(&AuthRequest::of(&headers)).await;
        assert!(identity.unwrap().is_some());
    }
    let mut twice = basic("admin:open sesame:yes");
    twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    let denial = chain.authenticate(&AuthRequest::of(&twice)).await;
    assert_eq!(denial.unwrap_err().status(), 400);
}

#[tokio::test]
async fn a_file_of_users() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("htpasswd");
    let (a, b) = (
        bcrypt::hash("one", 4).unwrap(),
        bcrypt::hash("two", 4).unwrap(),
    );
    std::fs::write(&path, format!("a:{a}\nb:{}\n", b.replace("$2b$", "$2y$"))).unwrap();
    let with_file = |users| {
        let step = step_with_file(users, 10, Some(path.clone()));
        Chain::build(&[step], &testing::shared())
    };
    let chain = with_file(vec![hashed("c", "three", 4)]).unwrap();
    for (user_pass, want) in [
        ("a:one", "a"),
        ("b:two", "b"),
        ("c:three", "c"),
        ("a:two", "wrong_password"),
    ] {
        assert_eq!(word(&chain, user_pass).await, want);
    }
    let same = with_file(vec![hashed("b", "three", 4)]).unwrap_err();
    assert_eq!(same[0].to_string(), "user \"b\" is defined twice");
    std::fs::write(
        &path,
        format!("a:{a}\nb:{{SHA}}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n"),
    )
    .unwrap();
    let wrong = with_file(vec![]).unwrap_err()[0].to_string();
    assert!(
        wrong.contains("htpasswd:2: the line holds no bcrypt hash")
            && wrong.contains("hash-password"),
        "{wrong}"
    );
    assert!(!wrong.contains("W6ph"));
    std::fs::write(&path, "# nobody\n").unwrap();
    assert_eq!(
        with_file(vec![]).unwrap_err()[0].to_string(),
        "there is no user: nobody could pass"
    );
    std::fs::remove_file(&path).unwrap();
    assert!(
        with_file(vec![]).unwrap_err()[0]
            .to_string()
            .starts_with("cannot read the htpasswd file")
    );
}

/// Medians over 200 tries: an unknown user, a wrong password, a user with a cheaper hash, and one
/// whose password stands in the clear, differ by less than 5 %.
#[tokio::test]
async fn nobody_learns_who_exists() {
    let users = vec![
        hashed("costly", "a", 6),
        hashed("cheap", "b", 4),
        plain("plain", "c"),
    ];
    let chain = build(&testing::shared(), users, 0);
    let names = ["nobody", "costly", "cheap", "plain"];
    // The machine may have other work to do, and hashing gives way to it: three rounds to be
    // undisturbed.
    let mut spread = Vec::new();
    for _ in 0..3 {
        let mut times = [const { Vec::new() }; 4];
        for _ in 0..200 {
            for (name, times) in names.iter().zip(&mut times) {
                let started = Instant::now();
                assert!(ask(&chain, &format!("{name}:wrong")).await.is_err());
                times.push(started.elapsed());
            }
        }
        let medians = times.map(|mut times| {
            times.sort();
            times[times.len() / 2]
        });
        let (least, most) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
        spread.push(most.as_secs_f64() / least.as_secs_f64());
        println!("medians {medians:?}");
        if spread.last().is_some_and(|spread| *spread < 1.05) {
            return;
        }
    }
    // Too busy to tell 5 %. What has to be found would be fourfold, for the cheap hash, or more.
    assert!(
        spread.iter().any(|spread| *spread < 1.25),
        "the medians differ: {spread:?}"
    );
}

/// No sequence of bytes panics, and none passes.
#[tokio::test]
async fn rubbish() {
    let chain = build(&testing::shared(), vec![plain("a", "b")], 0);
    let mut random = fastrand::Rng::with_seed(401);
    for round in 0..20_000 {
        let mut value: Vec<u8> = (0..random.usize(..60)).map(|_| random.u8(..)).collect();
        if round % 2 == 0 {
            value = [b"Basic ", STANDARD.encode(&value).as_bytes()].concat();
        } else if round % 3 == 0 {
            value.splice(..0, *b"Basic ");
        }
        let Ok(value) = HeaderValue::from_bytes(&value) else {
            continue;
        };
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        let outcome = chain.authenticate(&AuthRequest::of(&headers)).await;
        assert_eq!(outcome.unwrap_err().status(), 401);
    }
}

#[tokio::test]
async fn nothing_shows_a_secret() {
    let (user, clear) = (hashed("a", "hunter2", 4), plain("b", "hunter2"));
    let StoredPassword::Bcrypt(hash) = &user.password else {
        panic!()
    };
    let hash = hash.expose().to_owned();
    let shared = testing::shared();
    let chain = build(&shared, vec![user, clear], 10);
    let denial = ask(&chain, "a:hunter3").await.unwrap_err();
    let shown = format!("{chain:?} {shared:?} {denial:?}");
    for secret in ["hunter2", "hunter3", &hash] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
