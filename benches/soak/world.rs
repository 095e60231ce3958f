//! What is around the clients: the edge, the issuer, two upstreams, and what happens to them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::JwkSet;
use ring::digest::{SHA256, digest};
use tempfile::TempDir;

use crate::http::Connection;
use crate::process::{Process, free_port};
use crate::record::Record;
use crate::signing::{AUDIENCE, ISSUER, SigningKey};
use crate::upstream::{Answer, Upstream};

pub const API_KEY: &str = "hk_7d1c5a0be2f94f6d8d0c3a51";
/// The program under test, as this profile built it.
const EDGE: &str = env!("CARGO_BIN_EXE_harmony-edge");

const RELOAD_EVERY: Duration = Duration::from_secs(5);
const ROTATE_EVERY: Duration = Duration::from_secs(60);
/// From a key's place in the key set to its first token: unknown keys of bad tokens make the edge
/// fetch long before.
const PUBLISHED_AHEAD: Duration = Duration::from_secs(15);
const RESTART_EVERY: Duration = Duration::from_secs(40);

pub struct World {
    pub edge: Process,
    port: u16,
    management: u16,
    directory: TempDir,
    keys: Arc<Keys>,
    issuer: Option<Upstream>,
    upstreams: Vec<Upstream>,
    counts: Arc<Counts>,
}

/// What clients need to know.
#[derive(Clone)]
pub struct Target {
    pub port: u16,
    pub keys: Arc<Keys>,
}

/// The issuer's keys.
pub struct Keys {
    published: Mutex<Vec<Arc<SigningKey>>>,
    signing: Mutex<Arc<SigningKey>>,
}

#[derive(Default)]
struct Counts {
    reloads: AtomicUsize,
    rotations: AtomicUsize,
    restarts: AtomicUsize,
    fetches: Arc<AtomicUsize>,
}

impl World {
    pub async fn start() -> anyhow::Result<Self> {
        let first = Arc::new(SigningKey::make("k1")?);
        let keys = Arc::new(Keys {
            published: Mutex::new(vec![first.clone()]),
            signing: Mutex::new(first),
        });
        let published = keys.clone();
        let issuer = Upstream::start(Arc::new(move |_: &str| published.set())).await?;
        let large = vec![b'x'; 1_000_000];
        let answer: Answer =
            Arc::new(
                move |target| {
                    if target.contains("large") { large.clone() } else { b"hello\n".to_vec() }
                },
            );
        let upstreams =
            vec![Upstream::start(answer.clone()).await?, Upstream::start(answer).await?];
        let directory = tempfile::tempdir()?;
        let (port, management) = (free_port()?, free_port()?);
        let counts = Arc::new(Counts { fetches: issuer.requests(), ..Counts::default() });
        let file = file_in(directory.path());
        let configuration =
            configuration(0, port, management, &issuer, &upstreams, directory.path());
        std::fs::write(&file, &configuration)?;
        let cores = format!("0-{}", std::thread::available_parallelism()?.get() - 1);
        let command = [EDGE.to_owned(), "-c".to_owned(), file.display().to_string()];
        let edge = tokio::task::spawn_blocking(move || {
            Process::start("harmony-edge", &cores, &command, port)
        })
        .await??;
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(Self {
            edge,
            port,
            management,
            directory,
            keys,
            issuer: Some(issuer),
            upstreams,
            counts,
        })
    }

    pub fn target(&self) -> Target {
        Target { port: self.port, keys: self.keys.clone() }
    }

    /// Everything that happens, for as long as it is polled.
    pub fn events(&mut self, record: Arc<Record>) -> impl Future<Output = ()> + use<> {
        let issuer = self.issuer.take();
        let mut upstreams = std::mem::take(&mut self.upstreams);
        let texts: Vec<String> = issuer
            .iter()
            .flat_map(|issuer| {
                (0..2).map(|number| {
                    configuration(
                        number,
                        self.port,
                        self.management,
                        issuer,
                        &upstreams,
                        self.directory.path(),
                    )
                })
            })
            .collect();
        let (file, keys, counts) =
            (file_in(self.directory.path()), self.keys.clone(), self.counts.clone());
        async move {
            let reloads = async {
                for text in texts.iter().cycle() {
                    tokio::time::sleep(RELOAD_EVERY).await;
                    let new = file.with_extension("new");
                    if std::fs::write(&new, text)
                        .and_then(|()| std::fs::rename(&new, &file))
                        .is_ok()
                    {
                        counts.reloads.fetch_add(1, Ordering::Relaxed);
                    }
                }
            };
            let rotations = async {
                for number in 2.. {
                    tokio::time::sleep(ROTATE_EVERY - PUBLISHED_AHEAD).await;
                    let made = tokio::task::spawn_blocking(move || {
                        SigningKey::make(&format!("k{number}"))
                    })
                    .await;
                    let Ok(Ok(key)) = made else { continue };
                    let key = Arc::new(key);
                    keys.publish(key.clone());
                    tokio::time::sleep(PUBLISHED_AHEAD).await;
                    keys.sign_with(key);
                    counts.rotations.fetch_add(1, Ordering::Relaxed);
                }
            };
            let restarts = async {
                for number in 0.. {
                    tokio::time::sleep(RESTART_EVERY).await;
                    let at = number % upstreams.len();
                    record.excuse_until(Instant::now() + Duration::from_secs(8));
                    match upstreams[at].restart().await {
                        Ok(()) => drop(counts.restarts.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => println!("{error:#}"),
                    }
                    record.excuse_until(Instant::now() + Duration::from_secs(2));
                }
            };
            // The issuer lives as long as this does.
            let _issuer = issuer;
            tokio::join!(reloads, rotations, restarts);
        }
    }

    /// What happened, by our counts and by those of the edge.
    pub async fn tell(&self) -> anyhow::Result<String> {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        let generation = self.metric("harmony_config_generation").await?;
        Ok(format!(
            "{} reloads (the edge counts {generation}), {} rotations of the key ({} fetches), {} \
             restarts of an upstream",
            count(&self.counts.reloads),
            count(&self.counts.rotations),
            count(&self.counts.fetches),
            count(&self.counts.restarts),
        ))
    }

    async fn metric(&self, name: &str) -> anyhow::Result<String> {
        let text = Connection::open(self.management).await?.get_text("/metrics").await?;
        let line = text.lines().find(|line| line.starts_with(name));
        Ok(line.and_then(|line| line.rsplit(' ').next()).unwrap_or("nothing").to_owned())
    }
}

impl Keys {
    /// The key that tokens are signed with now.
    pub fn signing(&self) -> Arc<SigningKey> {
        self.signing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn sign_with(&self, key: Arc<SigningKey>) {
        *self.signing.lock().unwrap_or_else(PoisonError::into_inner) = key;
    }

    /// Adds a key; the one that signs stays, and all others go.
    fn publish(&self, key: Arc<SigningKey>) {
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = vec![self.signing(), key];
    }

    fn set(&self) -> Vec<u8> {
        let published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        serde_json::to_vec(&JwkSet { keys: published.iter().map(|key| key.jwk.clone()).collect() })
            .unwrap_or_default()
    }
}

/// A key that the issuer never had.
pub fn unknown() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    #[allow(clippy::expect_used, reason = "without it there is no soak")]
    KEY.get_or_init(|| SigningKey::make("unknown").expect("a key"))
}

fn file_in(directory: &Path) -> PathBuf {
    directory.join("harmony.toml")
}

/// Each number is another configuration, with a pipeline of its own.
fn configuration(
    number: usize,
    port: u16,
    management: u16,
    issuer: &Upstream,
    upstreams: &[Upstream],
    directory: &Path,
) -> String {
    let hash: String = digest(&SHA256, API_KEY.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let urls: Vec<String> =
        upstreams.iter().map(|upstream| format!("http://127.0.0.1:{}", upstream.port)).collect();
    let (state, issuer) = (directory.join("state"), issuer.port);
    format!(
        "[proxy]\nid = \"soak\"\nstate_dir = {state:?}\n\
         [network.public.http]\nbind_address = \"127.0.0.1\"\nbind_port = {port}\n\
         [network.management.http]\nbind_address = \"127.0.0.1\"\nbind_port = {management}\n\
         [management]\nenabled = true\nnetwork = \"management\"\n\
         [pipelines.api]\nnetworks = [\"public\"]\nendpoints = [\"api\"]\n\
         middleware = [\"jwt\", \"key\"]\nbackends = [\"app\"]\n\
         [endpoints.api]\nservice = \"http\"\npath_prefix = \"/api\"\n\
         [backends.app]\nservice = \"http\"\n[backends.app.options]\nupstreams = {urls:?}\n\
         eject_secs = 1\n\
         [middleware.jwt]\ntype = \"jwt-auth\"\noptional = true\n\
         config = {{ jwks_url = \"http://127.0.0.1:{issuer}/jwks.json\", issuer = \"{ISSUER}\", \
         audience = \"{AUDIENCE}\", jwks_cooldown_secs = 5 }}\n\
         [middleware.key]\ntype = \"api-key\"\nconfig = {{ keys = [\"{hash}\"] }}\n\
         [pipelines.more{number}]\nnetworks = [\"public\"]\nendpoints = [\"more{number}\"]\n\
         middleware = []\nbackends = [\"more{number}\"]\n\
         [endpoints.more{number}]\nservice = \"http\"\npath_prefix = \"/more{number}\"\n\
         [backends.more{number}]\nservice = \"echo\"\n"
    )
}
