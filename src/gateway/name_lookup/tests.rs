use std::collections::HashMap;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record};
use tempfile::TempDir;
use tokio::net::UdpSocket;

use super::*;

/// A name server's records: what a name has, with its TTL. A name that is missing here does not
/// exist.
type Zone = HashMap<&'static str, Vec<(RData, u32)>>;

fn v4(address: [u8; 4]) -> RData {
    RData::A(Ipv4Addr::from(address).into())
}

fn v6(address: &str) -> RData {
    RData::AAAA(address.parse().unwrap())
}

fn alias(name: &str) -> RData {
    RData::CNAME(CNAME(Name::from_ascii(name).unwrap()))
}

/// A name server, and what looks names up by way of it. For whatever DNS does not know, the
/// "system" has 127.0.0.9, unless the name begins with `no`.
struct Setup {
    names: NameLookup,
    files: TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Setup {
    async fn new(zone: Option<Zone>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let dns_port = socket.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(serve(socket, zone, asked.clone()));
        let files = TempDir::new().unwrap();
        let names = NameLookup {
            hosts: files.path().join("hosts"),
            resolv_conf: files.path().join("resolv.conf"),
            dns_port,
            system: |host, port| {
                Box::pin(async move {
                    match host.starts_with("no") {
                        true => Err(io::Error::other("Name or service not known")),
                        false => Ok(vec![([127, 0, 0, 9], port).into()]),
                    }
                })
            },
            ..NameLookup::default()
        };
        let setup = Self {
            names,
            files,
            asked,
        };
        setup.write("hosts", "");
        setup.write("resolv.conf", "nameserver 127.0.0.1\n");
        setup
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.files.path().join(file), text).unwrap();
    }

    /// The addresses of a name in order, and their TTL in seconds.
    async fn found(&self, host: &str) -> (Vec<String>, Option<u64>) {
        let answer = self.names.look_up(host, 80).await.unwrap();
        let mut found: Vec<_> = answer.addresses.iter().map(ToString::to_string).collect();
        found.sort_unstable();
        (found, answer.ttl.map(|ttl| ttl.as_secs()))
    }

    fn asked(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.sort_unstable();
        asked.dedup();
        asked
    }
}

/// Answers every query from the zone; with none, it is silent.
async fn serve(socket: UdpSocket, zone: Option<Zone>, asked: Arc<Mutex<Vec<String>>>) {
    let mut datagram = [0; 1500];
    while let Ok((length, client)) = socket.recv_from(&mut datagram).await {
        let query = Message::from_vec(&datagram[..length]).unwrap();
        let question = query.queries[0].clone();
        let name = question.name().to_ascii().to_lowercase();
        let name = name.trim_end_matches('.');
        asked.lock().unwrap().push(name.to_owned());
        let Some(zone) = &zone else { continue };
        let mut response = query.clone().into_response();
        match zone.get(name) {
            None => response.metadata.response_code = ResponseCode::NXDomain,
            Some(records) => {
                let mut owner = question.name().clone();
                for (data, ttl) in records {
                    let alias = match data {
                        RData::CNAME(target) => Some(target.0.clone()),
                        data if data.record_type() != question.query_type() => continue,
                        _ => None,
                    };
                    response.add_answer(Record::from_rdata(owner.clone(), *ttl, data.clone()));
                    owner = alias.unwrap_or(owner);
                }
            }
        }
        socket
            .send_to(&response.to_vec().unwrap(), client)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn both_families_and_the_least_ttl_of_all_records() {
    let setup = Setup::new(Some(HashMap::from([
        (
            "a.test",
            vec![
                (v4([10, 0, 0, 1]), 60),
                (v4([10, 0, 0, 2]), 60),
                (v6("fd00::1"), 45),
            ],
        ),
        (
            "alias.test",
            vec![(alias("target.test."), 20), (v4([10, 0, 0, 3]), 300)],
        ),
        ("six.test", vec![(v6("fd00::6"), 0)]),
    ])))
    .await;
    let all = ["10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"].map(str::to_owned);
    assert_eq!(setup.found("a.test").await, (all.into(), Some(45)));
    let one = |address: &str| vec![address.to_owned()];
    assert_eq!(
        setup.found("alias.test").await,
        (one("10.0.0.3:80"), Some(20))
    );
    assert_eq!(
        setup.found("six.test").await,
        (one("[fd00::6]:80"), Some(0))
    );
}

#[tokio::test]
async fn an_answer_is_asked_for_each_time() {
    let zone = HashMap::from([("a.test", vec![(v4([10, 0, 0, 1]), 300)])]);
    let setup = Setup::new(Some(zone)).await;
    for _ in 0..2 {
        setup.found("a.test").await;
        assert_eq!(setup.asked(), ["a.test"]);
    }
}

#[tokio::test]
async fn what_dns_does_not_know_is_for_the_system() {
    let zone = HashMap::from([("empty.test", vec![])]);
    let setup = Setup::new(Some(zone)).await;
    for host in ["printer.local", "gone.test", "empty.test"] {
        let from_system = (vec!["127.0.0.9:80".to_owned()], None);
        assert_eq!(setup.found(host).await, from_system, "{host}");
    }
    let error = setup.names.look_up("nobody.test", 80).await.unwrap_err();
    assert_eq!(error.to_string(), "Name or service not known");
    std::fs::remove_file(setup.files.path().join("resolv.conf")).unwrap();
    setup.asked();
    assert_eq!(setup.found("a.test").await.0, ["127.0.0.9:80"]);
    setup.write("resolv.conf", "# none\n");
    assert_eq!(setup.found("a.test").await.0, ["127.0.0.9:80"]);
    assert!(setup.asked().is_empty());
}

#[tokio::test]
async fn silent_name_servers_do_not_keep_the_system_waiting() {
    let setup = Setup::new(None).await;
    let begun = std::time::Instant::now();
    assert_eq!(setup.found("printer.local").await.0, ["127.0.0.9:80"]);
    let took = begun.elapsed();
    assert!(HEAD_START <= took && took < 3 * HEAD_START, "{took:?}");
}

#[tokio::test]
async fn the_hosts_file_comes_first_and_is_read_anew() {
    let setup = Setup::new(Some(HashMap::from([(
        "a.test",
        vec![(v4([10, 0, 0, 1]), 60)],
    )])))
    .await;
    assert_eq!(setup.found("a.test").await.0, ["10.0.0.1:80"]);
    setup.write(
        "hosts",
        "# a.test\n127.0.0.1 localhost\n10.0.0.7\tb.test A.Test # 10.0.0.8 a.test\n\
         fd00::7 a.test.\nx a.test\n10.0.0.9 xa.test\n",
    );
    let both = vec!["10.0.0.7:80".to_owned(), "[fd00::7]:80".to_owned()];
    setup.asked();
    assert_eq!(setup.found("a.test").await, (both, None));
    assert!(setup.asked().is_empty());
    setup.write("hosts", "");
    assert_eq!(setup.found("a.test").await.0, ["10.0.0.1:80"]);
}

#[tokio::test]
async fn localhost_never_goes_to_dns() {
    let zone = HashMap::from([("localhost", vec![(v4([10, 0, 0, 1]), 60)])]);
    let setup = Setup::new(Some(zone)).await;
    for host in ["localhost", "app.localhost"] {
        let (found, _) = setup.found(host).await;
        assert_eq!(found, ["127.0.0.1:80", "[::1]:80"], "{host}");
    }
    setup.write("hosts", "127.0.0.1 localhost\n");
    assert_eq!(setup.found("localhost").await.0, ["127.0.0.1:80"]);
    assert!(setup.asked().is_empty());
}

#[tokio::test]
async fn the_search_list_and_ndots_are_those_of_resolv_conf() {
    let zone = HashMap::from([
        ("app.two.test", vec![(v4([10, 0, 0, 2]), 60)]),
        ("db.app.one.test", vec![(v4([10, 0, 0, 3]), 60)]),
        ("db.app", vec![(v4([10, 0, 0, 4]), 60)]),
    ]);
    let setup = Setup::new(Some(zone)).await;
    setup.write(
        "resolv.conf",
        "nameserver 127.0.0.1\nsearch one.test two.test\n",
    );
    assert_eq!(setup.found("app").await.0, ["10.0.0.2:80"]);
    assert_eq!(setup.asked(), ["app.one.test", "app.two.test"]);
    assert_eq!(
        setup.found("db.app").await.0,
        ["10.0.0.4:80"],
        "a dot: as it stands first"
    );
    setup.write(
        "resolv.conf",
        "nameserver 127.0.0.1\nsearch one.test two.test\noptions ndots:5\n",
    );
    assert_eq!(setup.found("db.app").await.0, ["10.0.0.3:80"]);
}
